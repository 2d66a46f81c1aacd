"""Connections to registries: requests and responses, allowed addresses, TLS, circuit breaker."""
