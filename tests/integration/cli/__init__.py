"""`nonroot` as a process, as people run it."""
