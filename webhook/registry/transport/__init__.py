"""How a registry is connected to: requests and responses, addresses that are allowed, TLS, circuit breaker."""
