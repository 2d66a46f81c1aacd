"""HTTPS_PROXY, HTTP_PROXY and NO_PROXY mean what they mean to Go programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import InvalidSetting
from webhook.http.proxies import Proxies

PROXY = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("10.0.0.0/8", "10.1.2.3", None, True),
        ("10.0.0.0/8", "10.1.2.3", 5000, True),
        ("10.1.2.3/8", "10.9.9.9", None, True),
        ("10.0.0.0/8", "11.1.2.3", None, False),
        ("10.0.0.0/8", "registry.corp", None, False),
        ("10.0.0.0/33", "10.1.2.3", None, False),
        ("fd00::/8", "fd00::1", 5000, True),
        ("10.1.2.3", "10.1.2.3", 5000, True),
        ("10.1.2.3:5000", "10.1.2.3", 5000, True),
        ("10.1.2.3:5000", "10.1.2.3", 5001, False),
        ("10.1.2.3", "::ffff:10.1.2.3", None, True),
        ("fd00::1", "fd00::1", 5000, True),
        ("[fd00::1]", "fd00::1", 5000, True),
        ("[fd00::1]:5000", "fd00::1", 5000, True),
        ("[fd00::1]:5000", "fd00::1", 443, False),
        ("registry.corp", "registry.corp", 5000, True),
        ("registry.corp:5000", "registry.corp", 5000, True),
        ("registry.corp:5000", "registry.corp", None, False),
        ("registry.corp:443", "registry.corp", None, True),
        ("corp", "registry.corp", None, True),
        ("corp", "corp", None, True),
        ("corp", "mycorp", None, False),
        (".corp", "registry.corp", None, True),
        (".corp", "corp", None, False),
        ("*.corp", "registry.corp", None, True),
        ("*.corp", "corp", None, False),
        ("*.corp:5000", "registry.corp", 5000, True),
        ("REGISTRY.corp", "Registry.Corp", None, True),
        ("*", "registry.corp", None, True),
        ("other.corp, *", "10.1.2.3", None, True),
        ("", "registry.corp", None, False),
        (",:5000,[,]", "registry.corp", 5000, False),
        ("3", "10.1.2.3", None, False),
        ("", "localhost", 5000, True),
        ("", "127.9.9.9", 5000, True),
        ("", "::1", 5000, True),
        ("", "localhost.corp", None, False),
    ],
)
def test_who_is_asked_directly(no_proxy: str, host: str, port: int | None, direct: bool) -> None:
    """Networks, ports, brackets, domains; and never a proxy for this machine itself."""
    proxies = Proxies({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert proxies.find("https", host, port) == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("value", "url", "server"),
    [
        ("http://proxy.corp:3128", "http://proxy.corp:3128", ("proxy.corp", 3128)),
        ("proxy.corp:3128", "http://proxy.corp:3128", ("proxy.corp", 3128)),
        ("Proxy.corp", "http://Proxy.corp", ("proxy.corp", 80)),
        ("10.0.0.1:3128", "http://10.0.0.1:3128", ("10.0.0.1", 3128)),
        ("[fd00::1]:3128", "http://[fd00::1]:3128", ("fd00::1", 3128)),
        ("https://proxy.corp", "https://proxy.corp", ("proxy.corp", 443)),
        ("http://me:secret@proxy.corp", "http://me:secret@proxy.corp", ("proxy.corp", 80)),
    ],
)
def test_a_proxy_needs_neither_scheme_nor_port(value: str, url: str, server: tuple[str, int]) -> None:
    """HOST alone is an http proxy on port 80."""
    proxies = Proxies({"https_proxy": value})
    assert proxies.find("https", "registry.corp") == url
    assert proxies.find("http", "registry.corp") is None
    assert proxies.servers == {server}


@pytest.mark.parametrize("value", ["socks5://me:secret@proxy:1080", "http://", "http://[::1", "http://secret:x:99999/"])
def test_what_names_no_proxy_is_refused_without_repeating_it(value: str) -> None:
    """The variable is named as it was set."""
    with pytest.raises(InvalidSetting, match="http_proxy names no http or https proxy") as refused:
        Proxies({"http_proxy": value})
    assert "secret" not in str(refused.value)


def test_the_variables_of_each_scheme() -> None:
    """Capitals first, an empty value is none, ALL_PROXY is not read, and NO_PROXY is no proxy."""
    proxies = Proxies({"HTTP_PROXY": "one", "http_proxy": "two", "HTTPS_PROXY": "", "ALL_PROXY": "x", "NO_PROXY": "y"})
    assert proxies.find("http", "registry.corp") == "http://one"
    assert proxies.find("https", "registry.corp") is None
    assert proxies.servers == {("one", 80)}
    assert Proxies({}).find("https", "registry.corp") is None


@given(st.text(max_size=40), st.text(max_size=40), st.integers(1, 65535))
def test_no_text_of_no_proxy_breaks_it(no_proxy: str, host: str, port: int) -> None:
    """Whatever stands there, a proxy or none is the answer."""
    assert Proxies({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}).find("https", host, port) in {PROXY, None}
