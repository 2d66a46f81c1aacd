"""Manifest files as kubectl reads them: their workloads, with the line of everything."""
