"""`nonroot inspect`: who an image runs as, on every platform, and what looking cost."""
