"""The admission server: over sockets where it matters, at its ASGI edge where it does not."""
