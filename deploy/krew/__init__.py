"""The command line in one file, and the manifest by which krew installs it as `kubectl nonroot`."""
