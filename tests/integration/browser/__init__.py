"""tests/integration/browser."""
