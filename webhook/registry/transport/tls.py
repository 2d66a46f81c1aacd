"""Whom to trust over TLS, and what to show there."""

import ssl

from webhook.errors import InvalidSetting
from webhook.registry.settings import RegistrySettings, match_authority


def contexts(settings: RegistrySettings) -> dict[str, ssl.SSLContext]:
    """TLS for each HOST or HOST:PORT that has an authority or a client certificate, of its own or its host's.

    Raises `InvalidSetting` for one that cannot be used.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    for name in {*settings.authorities, *settings.client_certificates}:
        context = contexts[name] = ssl.create_default_context()
        trusted = match_authority(name, settings.authorities)
        if trusted is not None:
            try:
                context.load_verify_locations(cadata=settings.authorities[trusted])
            except (ssl.SSLError, ValueError):
                raise InvalidSetting(f"the CA given for {trusted} is no PEM certificate") from None
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
    return contexts
