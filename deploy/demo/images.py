"""One small image for each way in which people write USER, as OCI content: what `docker build` would have left behind."""

import msgspec

from deploy.dev.oci import Content, Layer, accounts_layer, directory, file, image, layer

DEBIAN = ("root:x:0:0:root:/root:/bin/bash", "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin")
ALPINE = ("root:x:0:0:root:/root:/bin/ash", "guest:x:405:100:guest:/dev/null:/sbin/nologin")


class Example(msgspec.Struct, frozen=True):
    """A Dockerfile's last lines, the image that they make, and the uid under which it must be admitted (None: refused)."""

    name: str
    dockerfile: str
    content: Content
    uid: int | None


def _application() -> Layer:
    return layer(directory("app"), file("app/main.py", "print('hello')\n"))


def _debian(*users: str, user: str | None, groups: tuple[str, ...] = ()) -> Content:
    base = accounts_layer(*DEBIAN)
    added = accounts_layer(*DEBIAN, *users, groups=("root:x:0:", *groups))
    return image(base, *([added] if users else []), _application(), user=user)


EXAMPLES = (
    Example(
        "python-slim",
        "RUN useradd -m -u 1000 appuser\nUSER appuser",
        _debian("appuser:x:1000:1000::/home/appuser:/bin/sh", user="appuser", groups=("appuser:x:1000:",)),
        1000,
    ),
    Example(
        "multi-stage",
        "RUN groupadd -r invtl && useradd -r -g invtl invtl\nUSER invtl",
        _debian("invtl:x:998:999::/home/invtl:/bin/sh", user="invtl", groups=("invtl:x:999:",)),
        998,
    ),
    Example(
        "alpine",
        "RUN adduser -D appuser\nUSER appuser",
        image(
            accounts_layer(*ALPINE),
            accounts_layer(*ALPINE, "appuser:x:1000:1000::/home/appuser:/bin/ash"),
            user="appuser",
        ),
        1000,
    ),
    Example(
        "system-user",
        "RUN addgroup --gid 1001 --system app && adduser … --uid 1001 --system --group app\nUSER app",
        _debian("app:x:1001:1001::/nonexistent:/bin/false", user="app", groups=("app:x:1001:",)),
        1001,
    ),
    Example("numeric", "USER 1001", _debian(user="1001"), 1001),
    Example("numeric-group", "USER 1001:1001", _debian(user="1001:1001"), 1001),
    Example("no-user", "", _debian(user=None), None),
    Example("root", "USER root", _debian(user="root"), None),
    Example("no-such-user", "USER ghost", _debian(user="ghost"), None),
    Example(
        "root-in-disguise",
        "RUN useradd -o -u 0 admin\nUSER admin",
        _debian("admin:x:0:0::/:/bin/sh", user="admin"),
        None,
    ),
)
