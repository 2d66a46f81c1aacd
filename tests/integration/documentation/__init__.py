"""tests/integration/documentation."""
