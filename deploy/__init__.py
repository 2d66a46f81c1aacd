"""Ways to run nonroot-webhook: a demonstration, a cluster on this machine, kind."""
