"""`nonroot serve` as a process."""
