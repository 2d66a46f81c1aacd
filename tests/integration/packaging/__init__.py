"""tests/integration/packaging."""
