"""How a registry is logged in to: token requests, keychains, credential helpers and providers."""
