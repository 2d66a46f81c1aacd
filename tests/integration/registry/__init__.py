"""tests/integration/registry."""
