"""The HTTP library aiohttp, imported without the system's certificate authorities.

While it is imported it reads them twice, for TLS contexts that nothing here uses: 50 ms of CPU and 2 MiB in every process. OpenSSL
finds none where these variables point meanwhile. Whoever connects by TLS gives a context of its own.
Sources: aiohttp aiohttp/connector.py (_SSL_CONTEXT_VERIFIED); OpenSSL SSL_CTX_set_default_verify_paths(3)
"""

import os

_given = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
os.environ.update(dict.fromkeys(_given, os.devnull))
try:
    import aiohttp
finally:
    for _name, _value in _given.items():
        if _value is None:
            del os.environ[_name]
        else:
            os.environ[_name] = _value

__all__ = ["aiohttp"]
