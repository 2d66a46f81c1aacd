"""containerd's host files: what they mean, what is refused, and that registries over TLS are asked as they say."""

import ssl
from pathlib import Path

import pytest

from deploy.dev.registry import Login, Registry, Status
from tests.support.authority import Authority
from tests.unit.registry.samples import NAMED, Connect, Secrets, docker_config, secret
from webhook.errors import InvalidSetting
from webhook.registry.certs_d import HostFiles, load
from webhook.registry.settings import ANY_REGISTRY, ClientCertificate, Host


def written(folder: Path, **files: str) -> HostFiles:
    """Host files in folders, whose names are given with `__` for a dot; `plain` is insecure."""
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.mkdir(exist_ok=True)
        (path / "hosts.toml").write_text(text)
    return load(folder, {"plain:5000"})


def test_hosts_are_asked_in_the_order_of_the_file_then_the_server(tmp_path: Path) -> None:
    """With what each may be asked, and where its API is."""
    found = written(
        tmp_path,
        docker__io="""
            server = "https://registry-1.docker.io"
            [host."https://b.corp"]
            capabilities = ["pull", "resolve"]
            [host."https://a.corp:8443/api/v2/hub"]
            capabilities = ["Pull"]
            override_path = true
            dial_timeout = "5s"
            [host."c.corp/prefix/"]
            [host."https://d.corp/v2"]
            [host."https://E.corp"]
            override_path = true
            [host."https://up.corp"]
            capabilities = ["push"]
            [host."http://plain:5000"]
            [host."https://[fd00::1]:5000"]
            [host."https://F.corp:443//v2//x/"]
            capabilities = ["pull", "resolve", "referrers"]
            override_path = true
            [host."https://later.corp"]
            capabilities = ["referrers"]
        """,
    )
    assert found.hosts["docker.io"] == (
        Host("b.corp"),
        Host("a.corp:8443", "/api/v2/hub", resolves=False),
        Host("c.corp", "/prefix/v2"),
        Host("d.corp"),
        Host("e.corp", ""),
        Host("plain:5000"),
        Host("[fd00::1]:5000"),
        Host("f.corp", "/v2/x"),
        Host("registry-1.docker.io"),
    )


def test_folders_name_registries(tmp_path: Path) -> None:
    """With ports in either spelling, and one for all others; without a server the registry itself is the last."""
    mirrored = '[host."https://m.corp"]'
    names = ("a.io", "b.io_5000_", "c.io:5000", "D.io_5001_", "D.io:5001", "_default", ".hidden")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.toml").write_text(mirrored)
    (tmp_path / "D.io_5001_" / "hosts.toml").write_text("")
    (tmp_path / "a file").write_text("")
    both = (Host("m.corp"), Host())
    assert load(tmp_path, ()).hosts == {
        "a.io": both, "b.io:5000": both, "c.io:5000": both, "d.io:5001": (Host(),), ANY_REGISTRY: both,
    }  # fmt: skip


def test_tls_is_kept_by_host(tmp_path: Path) -> None:
    """In every form that containerd takes; paths are relative to the file."""
    for name in ("one", "two"):
        (tmp_path / "a.io").mkdir(exist_ok=True)
        (tmp_path / "a.io" / f"{name}.pem").write_text(f"{name}\n")
    found = written(
        tmp_path,
        a__io=f"""
            ca = "one.pem"
            client = [["client.cert", "client.key"]]
            [host."https://m.corp"]
            ca = ["one.pem", "{tmp_path}/a.io/two.pem"]
            client = "both.pem"
            [host."https://n.corp"]
            client = ["both.pem"]
        """,
        docker__io='ca = "../a.io/two.pem"',
    )
    assert found.authorities == {"a.io": "one\n", "m.corp": "one\ntwo\n", "registry-1.docker.io": "two\n"}
    folder = tmp_path / "a.io"
    assert found.client_certificates == {
        "a.io": ClientCertificate(folder / "client.cert", folder / "client.key"),
        "m.corp": ClientCertificate(folder / "both.pem"),
        "n.corp": ClientCertificate(folder / "both.pem"),
    }


def test_a_folder_without_a_host_file_is_dockers(tmp_path: Path) -> None:
    """Certificates by their names' ends."""
    folder = tmp_path / "a.io"
    folder.mkdir()
    for name in ("x.crt", "y.crt", "c.cert", "c.key"):
        (folder / name).write_text(name)
    found = load(tmp_path, ())
    assert found == HostFiles(
        {"a.io": (Host(),)},
        {"a.io": "x.crty.crt"},
        {"a.io": ClientCertificate(folder / "c.cert", folder / "c.key")},
    )
    (folder / "c.key").unlink()
    assert load(tmp_path, ()).client_certificates == {"a.io": ClientCertificate(folder / "c.cert")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[host."https://m"]\nskip_verify = true', "https://m: skip_verify is not taken, anybody could answer then"),
        ("skip_verify = true", "the registry itself: skip_verify is not taken"),
        ('[host."https://m"]\n[host."https://m".header]\nx = "hunter2"', "header is not taken"),
        ('server = "https://[::1"', "no address of a host"),
        ('[host."http://m"]', "http://m is over plain HTTP and not listed under insecure"),
        ('server = "https://plain:5000"', "https://plain:5000 is over TLS and listed under insecure"),
        ('server = "ftp://m"', "no address of a host"),
        ('server = "https://u:p@m"', "no address of a host"),
        ('server = "https://m?x=1"', "no address of a host"),
        ('server = "https://"', "no address of a host"),
        ('client = ["a", "b"]', "several client certificates"),
        ('client = [["a"]]', r"client\[0\]"),
        ('ca = "gone.pem"', "cannot read .*gone.pem: No such file"),
        ("cas = 1", "there is no field 'cas'; did you mean ca"),
        ("host = [", "is no TOML"),
        ("host = " + "[" * 100_000, "is no TOML"),
        ("server = 7", "server: must be a string"),
    ],
)
def test_what_cannot_be_followed_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """File, host and reason are named."""
    with pytest.raises(InvalidSetting, match=says) as caught:
        written(tmp_path, a__io=text)
    assert "a.io" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """One host has one CA; and none that would hold for every registry that an image may name."""
    (tmp_path / "ca.pem").write_text("1")
    (tmp_path / "other.pem").write_text("2")
    with pytest.raises(InvalidSetting, match=r"m\.corp has another CA"):
        written(tmp_path, **{
            name: f'[host."https://m.corp"]\nca = "../{pem}.pem"' for name, pem in (("a__io", "ca"), ("b__io", "other"))
        })  # fmt: skip
    (tmp_path / "b.io" / "hosts.toml").unlink()
    with pytest.raises(InvalidSetting, match="would hold for whatever an image names"):
        written(tmp_path, _default='ca = "../ca.pem"')
    with pytest.raises(InvalidSetting, match=r"gone: .*correct the path"):
        load(tmp_path / "gone", ())


# Asked over TLS.


def settings(files: HostFiles, *hosts: str) -> dict[str, object]:
    """What a client is given; these may be on loopback."""
    return {
        "insecure": frozenset(),
        "allowed": frozenset(hosts),
        "hosts": files.hosts,
        "authorities": files.authorities,
        "client_certificates": files.client_certificates,
    }


async def test_a_mirror_is_asked_under_its_own_path_and_ca(tmp_path: Path, connect: Connect) -> None:
    """With the operator's credentials for it; the registry itself is asked when it fails, with the Pod's."""
    (tmp_path / "ca").mkdir()
    (tmp_path / "certs.d").mkdir()
    authority = Authority(tmp_path / "ca")
    async with Registry(Login({"u": "p"}), tls=authority.context) as home, Registry(tls=authority.context) as mirror:
        home.push("team/app:1", NAMED)
        mirror.push("proxy/team/app:1", NAMED)
        text = f"""
            ca = "{authority.certificate}"
            [host."https://{mirror.host}/v2/proxy"]
            override_path = true
            ca = "{authority.certificate}"
        """
        files = written(tmp_path / "certs.d", **{home.host.replace(".", "__").replace(":", "_") + "_": text})
        pod = Secrets(s=secret(home.host, "u", "p"))
        client = connect(pod, docker_config(mirror.host, "m", "m"), **settings(files, home.host, mirror.host))
        reference = f"{home.host}/team/app:1"
        found = await client.image(reference, namespace="a", pull_secrets=("s",))
        assert found.platforms
        assert home.requests == []
        assert {each.path.partition("/team/")[0] for each in mirror.requests} == {"/v2/proxy"}
        assert {each.query["ns"] for each in mirror.requests} == {home.host}
        mirror.lie(Status(503))
        client.clock.now += 400
        assert (await client.image(reference, namespace="a", pull_secrets=("s",))).age == 0
        assert home.asked("HEAD") > 0
        assert not any("ns" in each.query for each in home.requests)


async def test_only_hosts_that_resolve_are_asked_for_tags(tmp_path: Path, connect: Connect) -> None:
    """Those that only pull have digests; where nobody is left, that is said."""
    authority = Authority(tmp_path)
    async with Registry(tls=authority.context) as mirror:
        by_digest = mirror.push("team/app:1", NAMED).partition("@")[2]
        text = f"""
            server = "https://{mirror.host}"
            ca = "{authority.certificate}"
            capabilities = ["pull"]
        """
        files = written(tmp_path, home__invalid=text)
        client = connect(**settings(files, mirror.host))
        await client.image(f"home.invalid/team/app@{by_digest}")
        detail = await client.detail("home.invalid/team/app:1")
        assert detail == "the settings name no host that resolves tags of home.invalid"


async def test_where_every_host_is_a_mirror_its_failure_is_the_answer(registry: Registry, connect: Connect) -> None:
    """Whatever it is."""
    client = connect(hosts={"home.invalid": (Host(registry.host),)})
    assert await client.cause("home.invalid/team/app:1") == "notFound"
    registry.lie(Status(503))
    client.clock.now += 60
    assert await client.cause("home.invalid/team/app:1") == "unreachable"


async def test_a_client_certificate_is_shown_to_its_host_alone(tmp_path: Path, connect: Connect) -> None:
    """A registry that wants one refuses us without it."""
    authority = Authority(tmp_path)
    authority.context.load_verify_locations(authority.certificate)
    authority.context.verify_mode = ssl.CERT_REQUIRED
    async with Registry(tls=authority.context) as demanding:
        demanding.push("team/app:1", NAMED)
        reference, trusting = f"{demanding.host}/team/app:1", f'ca = "{authority.certificate}"\n'
        folder = demanding.host.replace(".", "__").replace(":", "_") + "_"
        (tmp_path / "without").mkdir()
        (tmp_path / "with").mkdir()
        without = written(tmp_path / "without", **{folder: trusting})
        assert await connect(**settings(without, demanding.host)).cause(reference) == "unreachable"
        pair = f'client = [["{authority.certificate}", "{authority.key}"]]'
        shown = written(tmp_path / "with", **{folder: trusting + pair})
        await connect(**settings(shown, demanding.host)).image(reference)
