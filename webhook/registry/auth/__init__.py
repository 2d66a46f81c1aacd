"""Authentication at registries: token requests, keychains, credential helpers and providers."""
