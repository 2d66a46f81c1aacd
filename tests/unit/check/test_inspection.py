"""nonroot inspect: who an image runs as, wherever it comes from, and how honest the answer is where that is not known."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from click.testing import CliRunner

from deploy.dev.oci import (
    Content,
    accounts_layer,
    directory,
    file,
    image,
    index,
    layer,
    owned,
    raw_layer,
    tar,
    whiteout,
)
from tests.support.layouts import archive, docker_files, folder, oci_files
from webhook.cli.main import main
from webhook.cli.output import inspection

PASSWD = ("root:x:0:0::/root:/bin/sh", "app:x:1500:1600::/home/app:/bin/sh")
BASE = accounts_layer(*PASSWD, groups=["app:x:1600:", "extra:x:1700:app"])
APP = image(BASE, layer(file("srv/app", "x")), user="app", settings={"ExposedPorts": {"80/tcp": {}, "8080/tcp": {}}})
ARM = image(BASE, user="1500", architecture="arm64")
ROOT = image(BASE, settings={"Entrypoint": ["/usr/bin/gosu", "app"], "Volumes": {"/data": {}}})


def inspect(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(main, ["inspect", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def inspected(*arguments: str) -> Any:
    """The JSON, which its schema describes."""
    code, text = inspect(*arguments, "-o", "json")
    document = json.loads(text)
    _validator().validate(document)
    return code, document


@cache
def _validator() -> Any:
    """Of the schema, which is checked once: that takes far longer than a document."""
    schema = json.loads(inspection.SCHEMA.read_bytes())
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def test_a_layout_is_printed_platform_by_platform(tmp_path: Path) -> None:
    """The name through the image's own files, the number as it stands, and what it cost."""
    reference = f"oci:{folder(tmp_path / 'x', oci_files({'': index(APP, ARM)}))}"
    code, result = inspected(reference)
    assert code == 0
    assert (result["version"], result["image"], result["digest"]) == (1, reference, index(APP, ARM).digest)
    amd, arm = result["platforms"]
    assert {key: amd[key] for key in ("platform", "user", "uid", "gid", "groups", "home", "source", "problem")} == {
        "platform": "linux/amd64", "user": "app", "uid": 1500, "gid": 1600, "groups": [1600, 1700], "home": "/home/app",
        "source": "passwd", "problem": "",
    }  # fmt: skip
    assert amd["kubelet"].startswith("container has runAsNonRoot and image has non-numeric user (app)")
    assert [each["rule"] for each in amd["findings"]] == ["named-user"]
    assert [note.partition(":")[0] for note in amd["notes"]] == ["exposes port 80/tcp"]
    assert (arm["uid"], arm["source"], arm["kubelet"], arm["findings"]) == (1500, "number", None, [])
    assert arm["groups"] == [1600, 1700]
    assert result["cost"]["requests"] == 0
    assert result["cost"]["bytes_image"] > 0


def test_root_is_said_to_be_root_and_what_would_trip_a_non_root_process(tmp_path: Path) -> None:
    """No USER, gosu at the entrance, a declared volume."""
    _, result = inspected(f"oci:{folder(tmp_path, oci_files({'': ROOT}))}")
    (platform,) = result["platforms"]
    assert (platform["user"], platform["uid"], platform["source"]) == ("", 0, "none")
    assert platform["kubelet"] == "container has runAsNonRoot and image will run as root"
    assert [each["rule"] for each in platform["findings"]] == ["root-image"]
    assert [note.split(",")[0].split(":")[0] for note in platform["notes"]] == [
        "starts with gosu",
        "declares the volumes /data",
        "the volume /data is in no layer",
    ]


LAYERED = image(
    BASE,
    layer(owned(directory("data"), 1500, 0), directory("srv"), owned(file("bin/su"), 0, 0, 0o4755)),
    layer(file("etc/passwd", "app:x:1500:1600::/:\n"), file("etc/group", "app:x:1600:\n"), whiteout("bin/none")),
    layer(owned(file("bin/ping"), 0, 4, 0o2755)),
    user="app",
    settings={"WorkingDir": "/srv", "Volumes": {"/data": {}, "/logs": {}}},
)


def _check_layers(platform: Any) -> None:
    """What LAYERED's layers say."""
    assert platform["passwd_layer"] == {"digest": LAYERED.blobs[3].digest, "number": 3, "of": 4}
    assert platform["directories"] == [
        {"path": "/srv", "role": "workingDirectory", "present": True, "uid": 0, "gid": 0, "mode": "0755"},
        {"path": "/data", "role": "volume", "present": True, "uid": 1500, "gid": 0, "mode": "0755"},
        {"path": "/logs", "role": "volume", "present": False, "uid": 0, "gid": 0, "mode": "0755"},
    ]
    assert platform["setuid"] == {
        "count": 2,
        "first": [
            {"path": "/bin/ping", "uid": 0, "gid": 4, "mode": "2755"},
            {"path": "/bin/su", "uid": 0, "gid": 0, "mode": "4755"},
        ],
    }
    assert platform["bytes_image"] == sum(len(blob.data) for blob in LAYERED.blobs)
    assert platform["unread"] == ""


def test_every_layer_is_read_for_what_a_process_of_that_user_trips_over(tmp_path: Path) -> None:
    """Which layer made the user; whose the directories are; which programs change the user."""
    reference = f"oci:{folder(tmp_path, oci_files({'': LAYERED}))}"
    (platform,) = inspected(reference)[1]["platforms"]
    _check_layers(platform)
    assert platform["notes"][1:] == [
        "the working directory /srv belongs to uid 0 gid 0, mode 0755: uid 1500 cannot write there",
        "the volume /logs is in no layer, so that the runtime makes it, as root's: uid 1500 cannot write there",
        "has 2 setuid or setgid programs (/bin/ping, /bin/su), which allowPrivilegeEscalation: false makes powerless",
    ]
    lines = inspect(reference)[1].splitlines()
    assert f"    /etc/passwd comes from layer 3 of 4, {LAYERED.blobs[3].digest}" in lines


def test_both_formats_have_what_the_image_needs_and_is_made_for(tmp_path: Path) -> None:
    """A file capability with its consequence, and of a root image the uid that it steps down to."""
    bind = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04" + "\x00" * 14}
    made = image(
        accounts_layer("root:x:0:0::/root:/bin/sh", "redis:x:999:1000::/home/redis:/bin/sh"),
        layer(
            msgspec.structs.replace(owned(file("coredns", "x"), 0, 0, 0o755), pax=bind),
            owned(file("usr/local/bin/docker-entrypoint.sh", 'exec gosu redis "$0" "$@"\n'), 0, 0, 0o755),
            owned(directory("data"), 999, 1000),
        ),
        settings={"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["redis-server"], "Volumes": {"/data": {}}},
    )
    reference = f"oci:{folder(tmp_path / 'x', oci_files({'': made}))}"
    _, result = inspected(reference)
    (platform,) = result["platforms"]
    assert platform["file_capabilities"] == [
        {"path": "/coredns", "capabilities": ["NET_BIND_SERVICE"], "effective": True}
    ]
    assert platform["steps_down"] == [
        {"script": "/usr/local/bin/docker-entrypoint.sh", "tool": "gosu", "user": "redis"}
    ]
    suggested = platform["suggestion"]
    assert {key: suggested[key] for key in ("uid", "gid", "fs_group", "confidence")} == {
        "uid": 999,
        "gid": 1000,
        "fs_group": 1000,
        "confidence": "high",
    }
    _, text = inspect(reference)
    assert (
        "    note: /coredns carries the capability NET_BIND_SERVICE: under capabilities.drop ALL it cannot be executed "
        "unless capabilities.add names it\n"
    ) in text
    assert (
        "    note: /usr/local/bin/docker-entrypoint.sh changes to redis by gosu, which needs root; a script that first asks "
        "who it is does so as root alone\n"
    ) in text
    assert (
        "    made for: redis is uid 999 in /etc/passwd, owns /data, "
        "docker-entrypoint.sh steps down to it by gosu: runAsUser 999, runAsGroup 1000, fsGroup 1000 (high confidence)\n"
    ) in text


def test_an_image_for_windows_alone_has_no_uid(tmp_path: Path) -> None:
    """Whatever the nodes are said to be; and the kubelet there looks for one name alone."""
    made = image(layer(file("Files/app.exe", "x")), user="", os="windows")
    reference = f"oci:{folder(tmp_path / 'x', oci_files({'': made}))}"
    code, output = inspected(reference)
    (platform,) = output["platforms"]
    assert (code, platform["uid"], platform["kubelet"], platform["findings"]) == (0, None, None, [])
    assert "no USER, a Windows user" in inspect(reference)[1]


def test_a_group_in_user_is_said_to_be_ignored(tmp_path: Path) -> None:
    """Kubernetes takes the group of /etc/passwd."""
    reference = f"oci:{folder(tmp_path / 'x', oci_files({'': image(BASE, user='1001:100')}))}"
    _, output = inspected(reference)
    (note,) = [each for each in output["platforms"][0]["notes"] if "ignores" in each]
    assert note == (
        'Kubernetes ignores ":100" of its USER: the group is that of /etc/passwd, else 0; a policy with runAsGroup: FromImage '
        "injects it"
    )


def test_a_quick_look_reads_no_more_than_the_user_needs(tmp_path: Path) -> None:
    """Fewer bytes, the same user."""
    reference = f"oci:{folder(tmp_path, oci_files({'': LAYERED}))}"
    whole, quick = inspected(reference)[1], inspected(reference, "--quick")[1]
    documents = len(LAYERED.manifest.data) + (tmp_path / "index.json").stat().st_size
    assert whole["cost"]["bytes_read"] == whole["cost"]["bytes_image"] + documents  # nothing is transferred twice
    assert quick["cost"]["bytes_read"] < whole["cost"]["bytes_read"]
    (platform,) = quick["platforms"]
    assert (platform["uid"], platform["passwd_layer"], platform["directories"], platform["setuid"]) == (
        1500, None, None, None,
    )  # fmt: skip


def test_layers_that_cannot_all_be_read_leave_the_rest_of_the_output(tmp_path: Path) -> None:
    """The accounts lie above the damaged layer: the user is known, the owners are not, and that is exit code 3."""
    files = oci_files({"": LAYERED})
    (tmp_path / "x").mkdir()
    base = f"blobs/{LAYERED.blobs[1].digest.replace(':', '/')}"
    reference = f"oci:{folder(tmp_path / 'x', {**files, base: files[base] + b'x'})}"
    code, result = inspected(reference)
    (platform,) = result["platforms"]
    assert code == 3
    assert (platform["uid"], platform["problem"]) == (1500, "")
    assert (platform["directories"], platform["setuid"]) == (None, None)
    assert "bytes where" in platform["unread"]
    assert "the layers could not all be read" in inspect(reference)[1]


@pytest.mark.parametrize("prefix", ["", "./"])
def test_archives_are_read_without_unpacking(tmp_path: Path, prefix: str) -> None:
    """An OCI layout in a tar archive, by name where there are several."""
    path = archive(tmp_path / "x.tar", oci_files({"a": APP, "b": ROOT}), prefix)
    assert inspected(f"oci-archive:{path}:a")[1]["platforms"][0]["uid"] == 1500
    assert inspected(f"oci-archive:{path}:b")[1]["platforms"][0]["uid"] == 0
    for reference, reason in (
        (f"oci-archive:{path}", "holds 2 images; add :NAME, of a, b"),
        (f"oci-archive:{path}:c", "it has a, b"),
    ):
        code, result = inspected(reference)
        assert code == 3
        assert reason in result["error"]["detail"]


def test_what_docker_save_writes_is_read(tmp_path: Path) -> None:
    """The config's digest is the image's id; layers are the tar archives themselves."""
    contents = tar(file("etc/passwd", "\n".join(PASSWD) + "\n"))
    config = {
        "os": "linux", "architecture": "amd64", "config": {"User": "app"},
        "rootfs": {"type": "layers", "diff_ids": [raw_layer(contents).diff_id]},
    }  # fmt: skip
    path = archive(tmp_path / "x.tar", docker_files(config, [("1/layer.tar", contents)], ["team/app:1"]))
    for reference in (f"docker-archive:{path}", f"docker-archive:{path}:team/app:1"):
        code, result = inspected(reference)
        assert (code, result["platforms"][0]["uid"]) == (0, 1500)
        assert result["digest"].startswith("sha256:")
    assert inspected(f"docker-archive:{path}:team/app:2")[0] == 3
    other = archive(
        tmp_path / "y.tar", docker_files(config, [("1/layer.tar", tar(file("etc/passwd", "app:x:7:7:::")))], None)
    )
    code, result = inspected(f"docker-archive:{other}")
    assert code == 3
    assert "diff_id" in result["platforms"][0]["problem"]


def _lied(content: Content, change: bytes) -> dict[str, bytes]:
    files = oci_files({"": content})
    name = f"blobs/{content.blobs[1].digest.replace(':', '/')}"
    return {**files, name: files[name] + change}


@pytest.mark.parametrize(
    ("files", "where"),
    [
        (_lied(APP, b""), None),
        (_lied(APP, b"x"), "platform"),
        ({"index.json": b"{}"}, "image"),
        ({"index.json": b"[]"}, "image"),
        ({"index.json": b"{"}, "image"),
        ({"oci-layout": b"{}"}, "image"),
        ({**oci_files({"": APP}), "blobs/" + APP.digest.replace(":", "/"): b"{}"}, "image"),
        ({"index.json": b'{"manifests":[{"digest":"sha256:../../../etc/passwd","size":1}]}'}, "image"),
    ],
)
def test_broken_layouts_are_unknown_and_say_why(tmp_path: Path, files: dict[str, bytes], where: str | None) -> None:
    """A digest that lies, an index that is none; never a stack trace, never a guess."""
    code, result = inspected(f"oci:{folder(tmp_path, files)}")
    assert code == (3 if where else 0)
    assert (result["error"] is not None) == (where == "image")
    if where == "platform":
        assert "bytes where" in result["platforms"][0]["problem"]


@pytest.mark.parametrize("reference", ["oci:/nowhere", "oci-archive:/nowhere", "docker-archive:/etc/hostname"])
def test_a_file_that_is_not_there_is_wrong_usage(reference: str) -> None:
    """Exit code 2 and one line."""
    code, text = inspect(reference)
    assert code == 2
    assert text.startswith("nonroot: ")


def test_the_published_schema_is_that_of_the_types() -> None:
    """Whoever changes the types publishes it anew."""
    assert inspection.SCHEMA.read_bytes() == inspection.schema(), "run: python -m webhook.cli.output.inspection"
