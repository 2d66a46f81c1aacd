"""tests/integration/cluster."""
