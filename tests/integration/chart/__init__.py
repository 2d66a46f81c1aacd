"""tests/integration/chart."""
