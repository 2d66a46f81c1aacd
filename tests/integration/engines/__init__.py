"""Other policy engines, the real programs, beside the webhook: `make test-engines`."""
