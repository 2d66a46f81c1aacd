"""Models of twenty official images that are used most: their accounts, owners, volumes and how they start.

Accounts, owners, modes, volumes, WORKDIR and ENTRYPOINT were compared with the Dockerfiles of docker-library postgres 15
(bookworm), mongo 4.4, mysql 8.4, rabbitmq 3.13, cassandra 5.0, ghost 6 and httpd 2.4, MariaDB/mariadb-docker 11.4,
influxdata/influxdata-docker 2.7, apache/couchdb-docker 3.2.3, neo4j/docker-neo4j 2024 and 31z4/zookeeper-docker 3.9.4; of neo4j
and couchdb the start scripts as well. The others were modelled from memory: redis (its alpine variant), wordpress, tomcat, python
and memcached of docker-library, nginx/docker-nginx, apache/solr-docker and elastic/dockerfiles. The programs are busybox: each
start script steps down as the image's own does, and the last program writes a file into every volume.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.dev import oci

PROGRAM = "bin/busybox"
TINI = '#!/bin/busybox sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'
ROOT = "root:x:0:0:root:/root:/bin/sh"


class Owned(msgspec.Struct, frozen=True):
    """A directory of the image with its owner."""

    path: str
    uid: int
    gid: int
    mode: int = 0o755


class Suggested(msgspec.Struct, frozen=True):
    """What is to be suggested for the image; `sure`: with high confidence."""

    uid: int
    gid: int
    fs_group: int | None
    sure: bool = True


class Model(msgspec.Struct, frozen=True):
    """One image. `steps` is the line by which its start script goes on as somebody else; "" where there is no script.

    `init` are the words of the ENTRYPOINT before the script, and `link` is a symbolic link by which it is named there.
    """

    name: str
    accounts: tuple[str, ...]
    directories: tuple[Owned, ...] = ()
    volumes: tuple[str, ...] = ()
    script: str = "/usr/local/bin/docker-entrypoint.sh"
    link: str = ""
    init: tuple[str, ...] = ()
    steps: str = ""
    working_directory: str = ""
    user: str = ""
    ports: tuple[str, ...] = ()
    suggested: Suggested | None = None

    def content(self, base: oci.Layer, architecture: str) -> oci.Content:
        """The image, on a layer that has busybox."""
        settings: dict[str, object] = {
            "Env": ["PATH=/usr/local/bin:/bin"],
            "Cmd": ["/bin/busybox", "sh", "-c", self._program()],
            "Volumes": {path: {} for path in self.volumes},
            "ExposedPorts": {port: {} for port in self.ports},
        }
        entries = [oci.owned(oci.directory(each.path[1:]), each.uid, each.gid, each.mode) for each in self.directories]
        if self.steps:
            named = self.link or (self.script.rpartition("/")[2] if "/bin/" in self.script else self.script)
            settings["Entrypoint"] = [*self.init, named]
            entries.append(oci.owned(oci.file(self.script[1:], self._script()), 0, 0, 0o755))
            if self.link:
                entries.append(oci.symlink(self.link[1:], self.script[1:]))
            if self.init:
                entries.append(oci.owned(oci.file(f"bin/{self.init[0]}", TINI), 0, 0, 0o755))
        if self.working_directory:
            settings["WorkingDir"] = self.working_directory
        return oci.image(
            base,
            oci.accounts_layer(ROOT, *self.accounts),
            *([oci.layer(*entries)] if entries else []),
            user=self.user or None,
            architecture=architecture,
            settings=settings,
        )

    def _script(self) -> str:
        """As they all are: root gives the volumes away and steps down, and anybody else goes on at once."""
        return (
            "#!/bin/busybox sh\nset -e\n"
            'if [ "$(/bin/busybox id -u)" = 0 ]; then\n'
            f"\t/bin/busybox chown -R {self.accounts[0].partition(':')[0]} {' '.join(self.volumes)}\n"
            f"\t{self.steps}\nfi\n"
            'exec "$@"\n'
        )

    def _program(self) -> str:
        """Writes into every volume, and says as whom."""
        writes = "".join(f"echo x > {path}/written || exit 3; " for path in self.volumes)
        return f"{writes}exec /bin/busybox grep -E '^(Uid|Gid):' /proc/self/status > /dev/termination-log"


def busybox(path: Path) -> oci.Layer:
    """A layer that has it."""
    return oci.layer(oci.owned(oci.file(PROGRAM, path.read_bytes()), 0, 0, 0o755))


def _gosu(user: str, script: str = '"$BASH_SOURCE"') -> str:
    return f'exec gosu {user} {script} "$@"'


def _database(name: str, user: str, uid: int, paths: Sequence[str], steps: str, **more: object) -> Model:
    """A server that keeps its data in volumes of its own account, and steps down to it."""
    gid = int(str(more.pop("gid", uid)))
    mode = int(str(more.pop("mode", 0o755)))
    others = tuple(Owned(str(more[key]), uid, gid) for key in ("working_directory",) if key in more)
    fields = {
        "accounts": (f"{user}:x:{uid}:{gid}::{paths[0]}:/bin/sh",),
        "directories": (*others, *(Owned(path, uid, gid, mode) for path in paths)),
        "volumes": tuple(paths),
        "steps": steps,
        "suggested": Suggested(uid, gid, gid),
    }
    return Model(name, **{**fields, **more})  # type: ignore[arg-type]  # by the names of the fields


WWW = "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin"

MODELS = (
    _database("redis", "redis", 999, ["/data"], _gosu("redis", '"$0"'), gid=1000, working_directory="/data"),
    _database("postgres", "postgres", 999, ["/var/lib/postgresql/data"], _gosu("postgres"), mode=0o1777),
    _database("mysql", "mysql", 999, ["/var/lib/mysql"], _gosu("mysql"), mode=0o1777, ports=("3306/tcp", "33060/tcp")),
    _database("mariadb", "mysql", 999, ["/var/lib/mysql"], _gosu("mysql", '"${BASH_SOURCE[0]}"')),
    _database("mongo", "mongodb", 999, ["/data/db", "/data/configdb"], _gosu("mongodb"), ports=("27017/tcp",)),
    _database("rabbitmq", "rabbitmq", 999, ["/var/lib/rabbitmq"], _gosu("rabbitmq"), gid=999, mode=0o1777),
    _database("cassandra", "cassandra", 999, ["/var/lib/cassandra"], _gosu("cassandra"), mode=0o1777),
    _database(
        "ghost",
        "node",
        1000,
        ["/var/lib/ghost/content"],
        _gosu("node"),
        mode=0o1777,
        working_directory="/var/lib/ghost",
    ),
    _database(
        "zookeeper",
        "zookeeper",
        1000,
        ["/data", "/datalog", "/logs"],
        _gosu("zookeeper", '"$0"'),
        script="/docker-entrypoint.sh",
        working_directory="/apache-zookeeper-3.9.4-bin",
    ),
    _database(
        "influxdb",
        "influxdb",
        1000,
        ["/var/lib/influxdb2", "/etc/influxdb2"],
        _gosu("influxdb"),
        script="/entrypoint.sh",
    ),
    _database(
        "neo4j",
        "neo4j",
        7474,
        ["/data", "/logs"],
        'exec_cmd="exec su-exec neo4j:neo4j"\n\t$exec_cmd "$@"',
        mode=0o777,
        script="/startup/docker-entrypoint.sh",
        init=("tini", "-g", "--"),
        working_directory="/var/lib/neo4j",
    ),
    _database(
        "couchdb",
        "couchdb",
        5984,
        ["/opt/couchdb/data"],
        'exec setpriv --reuid=couchdb --regid=couchdb --clear-groups "$@"',
        mode=0o777,
        link="/docker-entrypoint.sh",
        init=("tini", "--"),
    ),
    # Apache opens port 80 as root: who owns the volume is who its workers are.
    Model(
        "wordpress",
        (WWW,),
        (Owned("/var/www/html", 33, 33, 0o1777),),
        ("/var/www/html",),
        working_directory="/var/www/html",
        ports=("80/tcp",),
        suggested=Suggested(33, 33, 33, sure=False),
    ),
    # Nothing of these says whom they are made for.
    Model("nginx", ("nginx:x:101:101::/nonexistent:/bin/false",), ports=("80/tcp",)),
    # Its WORKDIR belongs to its workers; its master opens port 80 and writes below it as root.
    Model(
        "httpd",
        (WWW,),
        (Owned("/usr/local/apache2", 33, 33), Owned("/usr/local/apache2/logs", 0, 0)),
        working_directory="/usr/local/apache2",
        ports=("80/tcp",),
    ),
    Model(
        "tomcat",
        (WWW,),
        (Owned("/usr/local/tomcat", 0, 0),),
        working_directory="/usr/local/tomcat",
        ports=("8080/tcp",),
    ),
    Model("python", (WWW,)),
    # These have a USER of their own.
    Model("memcached", ("memcache:x:11211:11211::/nonexistent:/bin/false",), user="memcache"),
    Model(
        "solr", ("solr:x:8983:8983::/var/solr:/bin/sh",), (Owned("/var/solr", 8983, 8983),), ("/var/solr",), user="8983"
    ),
    Model(
        "elasticsearch",
        ("elasticsearch:x:1000:1000::/usr/share/elasticsearch:/bin/sh",),
        (Owned("/usr/share/elasticsearch/data", 1000, 0, 0o775),),
        working_directory="/usr/share/elasticsearch",
        user="1000:0",
    ),
)
