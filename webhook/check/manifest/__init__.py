"""Manifest files -> workloads with positions: what is read, as kubectl reads it, and on which line it stands."""
