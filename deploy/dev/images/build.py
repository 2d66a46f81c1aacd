"""Build the test images and the product image with buildah, without any image from the internet.

    python -m deploy.dev.images.build --registry 127.0.0.1:5000            # the twelve shapes, pushed
    python -m deploy.dev.images.build --registry 127.0.0.1:5000 --product  # and the repository's own Dockerfile

The bases come from Debian itself: ``mmdebstrap`` for Debian, and BusyBox compiled from Debian's source package, because
Debian's binary is built without ``adduser``. They get the names that the Dockerfiles ask for, in a storage of our own
under the cache: a ``debian:bookworm-slim`` made here must never be found by somebody's other builds.

Everything is kept in ``${NONROOT_CACHE:-${XDG_CACHE_HOME:-~/.cache}/nonroot-webhook}/images``. What is there and was
made from the same files and the same base is not made again; remove the folder for fresh bases. Needed programs, by their
Debian package: mmdebstrap, buildah, skopeo; gcc, make, libc6-dev and bzip2 for BusyBox.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROJECT = "nonroot-test"

DEBIAN = "localhost/debian:bookworm-slim"
BUSYBOX = "localhost/busybox:1.35"
PYTHON_BUILD = "localhost/nonroot-base:python-build-bookworm"
PYTHON_RUNTIME = "localhost/nonroot-base:python-runtime-bookworm"

NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""This machine's architecture, in the words of images."""

SYSTEM_UIDS = range(100, 1000)
"""The uids that ``useradd -r`` chooses from, by Debian's login.defs."""


class BuildError(Exception):
    """Something could not be built or pushed; the text says which program said what."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """One Dockerfile of this folder, and what has to come out of it."""

    name: str
    """The folder."""
    user: str
    """``config.User``, to the letter."""
    uid: int | None
    """The uid of the process; None where no runtime can start it, or where only the image knows (see `chosen`)."""
    base: str = DEBIAN
    chosen: bool = False
    """The UID was chosen by useradd during the build: any system UID is right, and the image is the only source."""


SHAPES: tuple[Shape, ...] = (
    Shape("a-useradd-uid", "appuser", 1000),
    Shape("b-groupadd-system", "invtl", None, chosen=True),
    Shape("c-adduser-busybox", "appuser", 1000, base=BUSYBOX),
    Shape("d-addgroup-system", "app", 1001),
    Shape("e-numeric", "1001", 1001),
    Shape("f-no-user", "", 0),
    Shape("g-root", "root", 0),
    Shape("h-no-such-user", "nosuch", None),
    Shape("i-numeric-group", "1001:1001", 1001),
    Shape("j-named-root", "toor", 0),
    Shape("k-supplementary", "web:extra", 1500),
    Shape("l-writer", "writer", 1003),
)


@dataclasses.dataclass(frozen=True)
class Built:
    """An image in our storage."""

    name: str
    """The shape's folder name, or the product's tag."""
    reference: str
    """Its name in the storage, with a tag that is a hash of everything it was made from."""
    id: str
    """Digest of the image's config, without ``sha256:``."""
    user: str
    """``config.User``."""
    uid: int | None
    """The output of ``id -u`` in a container of this image, run as its USER; None where it cannot run."""
    passwd: str
    """The line of /etc/passwd that USER names, as it is in the image; empty if there is none."""


@dataclasses.dataclass(frozen=True)
class Pushed:
    """An image in a registry."""

    reference: str
    """``HOST:PORT/repository:tag``."""
    digest: str
    """Of the manifest, with ``sha256:``."""
    compressed: int
    """Bytes of all layer blobs: what a node pulls."""

    @property
    def pinned(self) -> str:
        """The same image by digest."""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


# --- the bases -------------------------------------------------------------------------------------------------------


def default_cache() -> Path:
    """The folder of everything that is kept, outside the repository."""
    if explicit := os.environ.get("NONROOT_CACHE"):
        return Path(explicit) / "images"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "nonroot-webhook" / "images"


def debian_base(cache: Path) -> str:
    """Make the Debian that the shapes are built on: no Perl, no documentation, but adduser, useradd and apt."""
    # `adduser` is a dependency of bookworm's apt; it is named because shape d is about it.
    return _debian(cache, DEBIAN, variant="minbase", packages=("adduser",))


def python_bases(cache: Path, architecture: str = NATIVE) -> tuple[str, str]:
    """Make what the product's Dockerfile takes as BUILD_BASE and RUNTIME_BASE: the same python3; venv and strip only to build."""
    common = ("ca-certificates", "python3")
    suffix = "" if architecture == NATIVE else f"-{architecture}"

    def base(name: str, *packages: str) -> str:  # no apt in the image that ships
        return _debian(cache, name + suffix, variant="essential", packages=packages, architecture=architecture)

    return base(PYTHON_BUILD, *common, "python3-venv", "binutils"), base(PYTHON_RUNTIME, *common)


def _debian(cache: Path, name: str, *, variant: str, packages: Sequence[str], architecture: str = NATIVE) -> str:
    def make(target: Path) -> None:
        debian_rootfs(target / "rootfs.tar", variant=variant, packages=packages, architecture=architecture)

    return _base(cache, name, recipe=_mmdebstrap(variant, packages, architecture), make=make, architecture=architecture)


def debian_rootfs(target: Path, *, variant: str, packages: Sequence[str], architecture: str = NATIVE) -> None:
    """Write the root file system of a Debian as a tar archive."""
    _run([*_mmdebstrap(variant, packages, architecture), str(target)])


def _mmdebstrap(variant: str, packages: Sequence[str], architecture: str) -> list[str]:
    excluded = ("doc/*", "man/*", "info/*", "locale/*", "i18n/*", "lintian/*", "bug/*")
    return [
        "mmdebstrap",
        "--quiet",
        *_foreign("--architectures", architecture),
        f"--variant={variant}",
        # "usr-is-merged" instead of "usrmerge", which would bring all of Perl.
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        f"--include={','.join((*packages, 'usr-is-merged'))}",
        *(f"--dpkgopt=path-exclude=/usr/share/{path}" for path in excluded),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        '--customize-hook=rm -rf "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/log/*',
        "--skip=output/dev",  # device nodes are the runtime's business
        "bookworm",
    ]


def _foreign(option: str, architecture: str) -> list[str]:
    """The option that asks for another machine's architecture; nothing where it is this one's."""
    return [] if architecture == NATIVE else [f"{option}={architecture}"]


def busybox_base(cache: Path) -> str:
    """Make a root file system of one BusyBox, its links, and the three account files."""

    def make(target: Path) -> None:
        _need("gcc", "make", "bzip2")
        binary = _compile_busybox(_busybox_source(cache, target))
        applets = _run([str(binary), "--list"]).split()
        _busybox_rootfs(target / "rootfs.tar", binary.read_bytes(), applets)

    return _base(cache, BUSYBOX, recipe=_BUSYBOX_CONFIG, make=make)


_BUSYBOX_CONFIG = (
    *("STATIC", "LFS", "LONG_OPTS", "BUSYBOX", "SHOW_USAGE", "FEATURE_INSTALLER"),
    *("USE_BB_PWD_GRP", "USE_BB_SHADOW", "USE_BB_CRYPT", "USE_BB_CRYPT_SHA", "FEATURE_SHADOWPASSWDS"),
    *("ADDUSER", "FEATURE_ADDUSER_LONG_OPTIONS", "FEATURE_ADDUSER_TO_GROUP"),
    *("ADDGROUP", "FEATURE_ADDGROUP_LONG_OPTIONS", "FEATURE_CHECK_NAMES"),
    # BusyBox's own defaults, which "allnoconfig" sets to zero: without them adduser hands out UID 1.
    *("FIRST_SYSTEM_ID=100", "LAST_SYSTEM_ID=999", "LAST_ID=60000"),
    *("ASH", "SH_IS_ASH", "ASH_TEST", "ASH_ECHO", "ASH_PRINTF"),
    *(
        "CAT",
        "CHMOD",
        "CHOWN",
        "CP",
        "DATE",
        "FEATURE_FANCY_SLEEP",
        "GREP",
        "ID",
        "LS",
        "MKDIR",
        "RM",
        "SLEEP",
        "TOUCH",
    ),
)


def _busybox_source(cache: Path, target: Path) -> Path:
    """Fetch and unpack the source package, verified by apt, from the mirror that the Debian base came from."""
    sources = in_image(cache, debian_base(cache), "cat", "/etc/apt/sources.list").stdout
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = [f"deb-src [signed-by={keyring}] {line[4:]}" for line in sources.splitlines() if line.startswith("deb ")]
    (target / "sources.list").write_text("\n".join(lines) + "\n")
    for folder in ("lists/partial", "archives/partial"):
        (target / folder).mkdir(parents=True)
    apt = [
        "apt-get",
        "-qq",
        "-o",
        f"Dir::Etc::sourcelist={target}/sources.list",
        "-o",
        "Dir::Etc::sourceparts=/dev/null",
    ]
    apt += ["-o", f"Dir::State::lists={target}/lists", "-o", f"Dir::Cache={target}", "-o", "APT::Sandbox::User=root"]
    _run([*apt, "update"])
    _run([*apt, "source", "--download-only", "busybox"], cwd=target)
    (archive,) = target.glob("busybox_*.orig.tar.*")
    _run(["tar", "-xf", str(archive)], cwd=target)
    (source,) = (path for path in target.glob("busybox-*") if path.is_dir())
    return source


def _compile_busybox(source: Path) -> Path:
    _run(["make", "allnoconfig"], cwd=source)
    config = source / ".config"
    wanted = [f"CONFIG_{option}" if "=" in option else f"CONFIG_{option}=y" for option in _BUSYBOX_CONFIG]
    names = {line.partition("=")[0] for line in wanted}
    kept = [line for line in config.read_text().splitlines() if not names.intersection(line.replace("=", " ").split())]
    config.write_text("\n".join([*kept, *wanted]) + "\n")
    _run(["make", "oldconfig"], cwd=source, stdin="\n" * 500)
    _run(["make", f"-j{os.cpu_count() or 1}", "busybox"], cwd=source)
    return source / "busybox"


def _busybox_rootfs(target: Path, binary: bytes, applets: Iterable[str]) -> None:
    files = {
        "bin/busybox": (0o755, binary),
        "etc/passwd": (0o644, b"root:x:0:0:root:/root:/bin/sh\n"),
        "etc/group": (0o644, b"root:x:0:\n"),
        "etc/shadow": (0o640, b"root:*:::::::\n"),
    }
    folders = {"bin": 0o755, "etc": 0o755, "home": 0o755, "root": 0o700, "tmp": 0o1777, "usr": 0o755}
    with tarfile.open(target, "w") as tar:
        for name, mode in folders.items():
            tar.addfile(_entry(name, mode, tarfile.DIRTYPE))
        for name, (mode, content) in files.items():
            entry = _entry(name, mode, tarfile.REGTYPE)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for applet in applets:
            if applet != "busybox":
                entry = _entry(f"bin/{applet}", 0o777, tarfile.SYMTYPE)
                entry.linkname = "busybox"
                tar.addfile(entry)


def _entry(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type = mode, kind
    return entry


def _base(
    cache: Path, name: str, *, recipe: Sequence[str], make: Callable[[Path], None], architecture: str = NATIVE
) -> str:
    """Import ``rootfs.tar`` as `name`, unless the same recipe was imported before."""
    made = f"localhost/nonroot-base-recipe:{name.rpartition('/')[2].replace(':', '-')}-{_hash(recipe)}"
    with _locked(cache, "base-" + _hash([name])):
        known = _images(cache)
        if made not in known:
            with _scratch(cache) as folder:
                make(folder)
                context = folder / "context"
                context.mkdir()
                (folder / "rootfs.tar").rename(context / "rootfs.tar")
                path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                (context / "Dockerfile").write_text(f'FROM scratch\nADD rootfs.tar /\n{path}\nCMD ["sh"]\n')
                options = ["--layers=false", *_foreign("--arch", architecture), "--tag", made]
                _buildah(cache, "build", *options, str(context))
            known = _images(cache)
        if known.get(name) != known[made]:
            _buildah(cache, "tag", made, name)
    return name


# --- the shapes ------------------------------------------------------------------------------------------------------


def build_all(cache: Path | None = None, *, only: Iterable[str] = ()) -> dict[str, Built]:
    """Build every shape, or those whose letter or folder is in `only`; the answer is by folder name, in their order."""
    cache = cache or default_cache()
    wanted = set(only)
    shapes = [shape for shape in SHAPES if not wanted or wanted & {shape.name, shape.name[0]}]
    for base in dict.fromkeys(shape.base for shape in shapes):
        debian_base(cache) if base == DEBIAN else busybox_base(cache)
    known = _images(cache)
    return {shape.name: _build_shape(cache, shape, known) for shape in shapes}


def _build_shape(cache: Path, shape: Shape, known: Mapping[str, str]) -> Built:
    context = HERE / shape.name
    reference = f"localhost/{PROJECT}/{shape.name}:{_hash([known[shape.base], *contents(context)])}"
    with _locked(cache, shape.name):
        if reference not in known:
            _buildah(cache, "build", "--pull-never", "--layers", "--tag", reference, str(context))
            known = _images(cache)
        built = _examine(cache, shape.name, reference, known[reference])
    _check(shape, built)
    return built


def _examine(cache: Path, name: str, reference: str, image: str) -> Built:
    """Ask the image itself, by running it, once: the tests compare our own resolution with this."""
    record = cache / "records" / f"{image}.json"
    if record.exists():
        return Built(**{**json.loads(record.read_text()), "name": name, "reference": reference})
    inspected = json.loads(_buildah(cache, "inspect", "--type", "image", image))
    user = str(inspected["OCIv1"]["config"].get("User", ""))
    number = in_image(cache, image, "id", "-u")
    passwd = in_image(cache, image, "cat", "/etc/passwd", user="0").stdout.splitlines()
    line = next((line for line in passwd if line.split(":")[0] == user.partition(":")[0]), "")
    uid = int(number.stdout) if number.returncode == 0 else None
    built = Built(name=name, reference=reference, id=image, user=user, uid=uid, passwd=line)
    _write(record, json.dumps(dataclasses.asdict(built)))
    return built


def _check(shape: Shape, built: Built) -> None:
    right = built.uid in SYSTEM_UIDS if shape.chosen else built.uid == shape.uid
    if built.user != shape.user or not right:
        raise BuildError(f"{shape.name}: expected USER {shape.user!r} and uid {shape.uid}, got {built}")


# --- the product -----------------------------------------------------------------------------------------------------


def build_product(
    tag: str = "localhost/nonroot-webhook:dev",
    *,
    cache: Path | None = None,
    bases: tuple[str, str] | None = None,
    version: str = "0.0.0+test",
    revision: str = "",
    source: Path = ROOT,
    architecture: str = NATIVE,
) -> Built:
    """Build the repository's own Dockerfile on `bases` (build, runtime), by default the two that are made here.

    The kernel must know how to run the programs of another architecture (`deploy.rehearsal.emulation`).
    The only step that needs a package index. pip inside the build uses this machine's own pip configuration and
    certificate authorities, handed over as build secrets: nothing of them is in the repository or in a layer.
    """
    cache = cache or default_cache()
    build_base, runtime_base = bases or python_bases(cache, architecture)
    known = _images(cache)
    made_from = [known.get(build_base, build_base), known.get(runtime_base, runtime_base), version]
    made_from += [*_product_contents(source), *([revision] if revision else [])]
    exact = f"localhost/nonroot-webhook-build:{_hash(made_from)}"
    with _locked(cache, "product"):
        if exact not in known:
            with _scratch(cache) as folder:
                arguments = {"BUILD_BASE": build_base, "RUNTIME_BASE": runtime_base, "VERSION": version}
                arguments |= {"REVISION": revision} if revision else {}
                command = ["build", "--pull-never", "--layers", *_foreign("--arch", architecture), "--tag", exact]
                # Docker's format, because the OCI one has no place for HEALTHCHECK.
                command += ["--format", "docker", *_pip_secrets(folder)]
                command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
                _buildah(cache, *command, str(source))
            known = _images(cache)
        if known.get(tag) != known[exact]:
            _buildah(cache, "tag", exact, tag)
        return _examine(cache, tag, tag, known[exact])


def _product_contents(source: Path) -> Iterator[str]:
    """Yield what may enter the image: the exceptions of .dockerignore, so that there is one list and not two."""
    ignore = source / ".dockerignore"
    yield from (f"{file.name}:{_digest(file)}" for file in (ignore, source / "Dockerfile"))
    for line in ignore.read_text().splitlines():
        if line.startswith("!"):
            path = source / line[1:].strip("/ ")
            yield from contents(path) if path.is_dir() else [f"{path.name}:{_digest(path) if path.exists() else ''}"]


def _pip_secrets(folder: Path) -> list[str]:
    """Write this machine's pip configuration as build secrets; none of them is there on a machine without any."""
    settings = {key: value for key, value in _pip_settings().items() if key in _PIP_KEYS}
    environment = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
    bundles = [settings.pop("cert", ""), *(os.environ.get(name, "") for name in environment)]
    secrets = []
    if bundle := next((path for path in bundles if path and Path(path).is_file()), None):
        settings["cert"] = "/run/secrets/ca_bundle"
        secrets += ["--secret", f"id=ca_bundle,src={bundle}"]
    if settings:
        lines = (f"{key} = {value}".replace("\n", "\n    ") for key, value in settings.items())
        configuration = folder / "pip.conf"
        configuration.write_text("[global]\n" + "\n".join(lines) + "\n")
        secrets += ["--secret", f"id=pip_conf,src={configuration}"]
    return secrets


# What reaches an index. `find-links` and the like name folders that do not exist inside a build.
_PIP_KEYS = ("cert", "default-timeout", "extra-index-url", "index-url", "proxy", "retries", "timeout", "trusted-host")


_PIP_SECTIONS = ("global", "install", ":env:")  # the weakest first


def _pip_settings() -> dict[str, str]:
    """Read pip's own account of its configuration: all files and variables, the stronger ones last."""
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: list[tuple[int, str, str]] = []
    for line in answer.stdout.splitlines():
        place, _, value = line.partition("=")
        section, _, key = place.rpartition(".")
        if section in _PIP_SECTIONS:
            found.append((_PIP_SECTIONS.index(section), key, str(ast.literal_eval(value))))
    return {key: value for _, key, value in sorted(found)}


# --- pushing ---------------------------------------------------------------------------------------------------------


def push(image: str, registry: str, insecure: bool = True, *, cache: Path | None = None) -> Pushed:
    """Push an image of our storage under its own repository and tag; nothing is sent that is there already."""
    cache = cache or default_cache()
    target = f"{registry}/{image.removeprefix('localhost/')}"
    verify = f"--tls-verify={str(not insecure).lower()}"
    local = _images(cache)[image]
    manifest = _remote_manifest(target, verify)
    if manifest is None or _config_digest(manifest) != f"sha256:{local}":
        _buildah(cache, "push", "--quiet", verify, image, f"docker://{target}")
        manifest = _remote_manifest(target, verify)
    if manifest is None:
        raise BuildError(f"{target}: pushed, and the registry does not have it")
    size = sum(int(layer["size"]) for layer in json.loads(manifest)["layers"])
    return Pushed(reference=target, digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}", compressed=size)


def push_all(
    images: Iterable[Built], registry: str, insecure: bool = True, *, cache: Path | None = None
) -> dict[str, Pushed]:
    """Push several, by name; the first alone, because the others share its base and would all compress it."""
    first, *others = images
    pushed = {first.name: push(first.reference, registry, insecure, cache=cache)}
    with ThreadPoolExecutor(max_workers=4) as pool:
        results = pool.map(lambda image: push(image.reference, registry, insecure, cache=cache), others)
        pushed.update(zip((image.name for image in others), results, strict=True))
    return pushed


def export(image: str, destination: str, *, cache: Path | None = None) -> None:
    """Copy an image of our storage to any place that containers/image knows, such as docker-archive:PATH:NAME."""
    _buildah(cache or default_cache(), "push", "--quiet", image, destination)


def export_index(images: Sequence[str], destination: str, *, cache: Path | None = None) -> None:
    """Join images of several architectures in one index, and copy all to a place such as dir:PATH."""
    cache = cache or default_cache()
    name = f"localhost/nonroot-index:{_hash(images)}"
    with _locked(cache, "index"):
        _buildah(cache, "manifest", "create", name, *images)
        try:
            _buildah(cache, "manifest", "push", "--all", "--quiet", name, destination)
        finally:
            _buildah(cache, "manifest", "rm", name)


def _remote_manifest(target: str, verify: str) -> bytes | None:
    _need("skopeo")
    command = ["skopeo", "inspect", "--raw", verify, f"docker://{target}"]
    answer = subprocess.run(command, capture_output=True, check=False)
    return answer.stdout if answer.returncode == 0 else None


def _config_digest(manifest: bytes) -> str:
    return str(json.loads(manifest).get("config", {}).get("digest"))


# --- buildah ---------------------------------------------------------------------------------------------------------


def _buildah(cache: Path, *arguments: str) -> str:
    return _run([*_buildah_command(cache), *arguments])


def _buildah_command(cache: Path) -> list[str]:
    _need("buildah")
    # The run root holds mount counts, which must not survive a reboot.
    volatile = (path for path in ("/run", os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()) if path)
    run_root = next(path for path in volatile if os.access(path, os.W_OK))
    run_root += f"/nonroot-images-{_hash([str(cache.resolve())])}"
    storage = ["buildah", "--root", str(cache / "storage"), "--runroot", run_root]
    return [*storage, "--storage-driver", _storage_driver(cache, storage)]


def _storage_driver(cache: Path, storage: Sequence[str]) -> str:
    """Choose overlay where it truly mounts (not: in a container on overlay), else vfs; once, as a storage keeps its driver."""
    choice = cache / "storage-driver"
    with contextlib.suppress(FileNotFoundError):
        return choice.read_text()
    with _locked(cache, "storage-driver"):
        if not choice.exists():
            chosen = "overlay"
            with _scratch(cache) as folder:
                (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
                trial = [
                    *storage,
                    "--storage-driver",
                    chosen,
                    "build",
                    "--quiet",
                    "--tag",
                    "localhost/trial",
                    str(folder),
                ]
                if subprocess.run(trial, capture_output=True, env=_environment(), check=False).returncode:
                    shutil.rmtree(cache / "storage", ignore_errors=True)
                    chosen = "vfs"
            _write(choice, chosen)
    return choice.read_text()


def _images(cache: Path) -> dict[str, str]:
    """Return every name in the storage with its image's ID."""
    listed = json.loads(_buildah(cache, "images", "--json", "--no-trunc") or "null") or []
    return {name: str(image["id"]).removeprefix("sha256:") for image in listed for name in image.get("names") or ()}


def in_image(cache: Path, image: str, *command: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a container of the image, as its own USER unless told otherwise.

    Its output comes through a file. buildah's process between the two passes a pipe on in a goroutine, and exits with the
    command's status as soon as the command has ended, without waiting for that (containers/buildah,
    chroot/run_common.go, runUsingChrootMain): on a busy machine the output is lost, and the status says success.
    """
    container = _buildah(cache, "from", "--pull-never", image).strip()
    try:
        with _scratch(cache) as folder:
            printed = folder / "printed"
            printed.touch()
            printed.chmod(0o666)  # by whoever USER is
            run = [
                *_buildah_command(cache),
                "run",
                f"--volume={printed}:/printed",
                *(["--user", user] if user is not None else []),
                container,
                "--",
                *("sh", "-c", 'exec "$@" >/printed', "sh"),
                *command,
            ]
            done = subprocess.run(run, capture_output=True, text=True, env=_environment(), check=False)
            done.stdout = printed.read_text()
            return done
    finally:
        _buildah(cache, "rm", container)


# --- small things ----------------------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    # chroot: no runtime, no cgroups, no new network; a build needs nothing more, and it works inside containers too.
    return {"BUILDAH_ISOLATION": "chroot", **os.environ, "LC_ALL": "C.UTF-8"}


def _run(command: Sequence[str], *, cwd: Path | None = None, stdin: str = "") -> str:
    _need(command[0])
    done = subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, text=True, env=_environment(), check=False
    )
    if done.returncode:
        said = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-30:])
        raise BuildError(f"{' '.join(command)}\nended with {done.returncode}:\n{said}")
    return done.stdout


def _need(*programs: str) -> None:
    if missing := [program for program in programs if shutil.which(program) is None]:
        packages = "mmdebstrap buildah skopeo gcc make libc6-dev bzip2"
        raise BuildError(f"not found: {', '.join(missing)}; on Debian: apt-get install {packages}")


def contents(folder: Path) -> list[str]:
    """One line for each file below a folder: its path, its mode and a digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [f"{path.relative_to(folder)}:{path.stat().st_mode & 0o777:o}:{_digest(path)}" for path in files]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _write(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.rename(path)


@contextlib.contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """Let one process at a time make a thing; the others find it made."""
    folder = cache / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as folder:
        yield Path(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, push if a registry is named, and print one line per image."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dev.images.build", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--registry", metavar="HOST:PORT", help="push there")
    parser.add_argument("--secure", action="store_true", help="the registry speaks TLS (default: plain HTTP)")
    parser.add_argument("--only", metavar="LETTER", nargs="+", default=[], help="these shapes only")
    parser.add_argument("--product", action="store_true", help="the project's own image as well")
    chosen = parser.parse_args(arguments)
    cache = default_cache()
    try:
        images = list(build_all(cache, only=chosen.only).values())
        images += [build_product(cache=cache)] if chosen.product else []
        pushed = push_all(images, chosen.registry, not chosen.secure, cache=cache) if chosen.registry and images else {}
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for image in images:
        there = pushed.get(image.name)
        where = f"{there.reference}  {there.digest}  {there.compressed / 1e6:.1f} MB" if there else image.reference
        print(f"USER {image.user or '(none)':<12} uid {'-' if image.uid is None else image.uid:<6} {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
