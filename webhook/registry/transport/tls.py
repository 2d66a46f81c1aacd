"""TLS for connections to registries: the authorities that are trusted, and the client certificates that are shown."""

import ssl

from webhook.errors import InvalidSetting
from webhook.registry.settings import RegistrySettings, match_authority


class TlsContexts:
    """TLS for each HOST or HOST:PORT: with the authorities that are trusted there, and the client certificate that is shown.

    Raises `InvalidSetting` for one that cannot be used.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._default = _context(settings, "") if settings.authority else True
        self._named = {
            name: _context(settings, name) for name in {*settings.authorities, *settings.client_certificates}
        }

    def of(self, authority: str) -> ssl.SSLContext | bool:
        """That of its own, or of its host, or else everybody's: True, as aiohttp has it, for the system's authorities."""
        entry = match_authority(authority, self._named)
        return self._default if entry is None else self._named[entry]


def _context(settings: RegistrySettings, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    trusted = match_authority(name, settings.authorities)
    given = {f"given for {trusted}": settings.authorities[trusted]} if trusted is not None else {}
    for whose, pem in (given | ({"given for every host": settings.authority} if settings.authority else {})).items():
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):
            raise InvalidSetting(f"the CA {whose} is no PEM certificate") from None
    shown = match_authority(name, settings.client_certificates)
    if shown is not None:
        pair = settings.client_certificates[shown]
        try:
            context.load_cert_chain(pair.certificate, pair.key, password="")  # or OpenSSL asks the terminal
        except (OSError, ValueError) as error:
            reason = "is no pair of PEM certificate and unencrypted key"
            if not isinstance(error, ssl.SSLError):
                reason = f"cannot be read: {error}"
            raise InvalidSetting(f"the client certificate given for {shown} {reason}") from None
    return context
