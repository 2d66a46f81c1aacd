"""The folders: programs in a cache outside the repository, each cluster in a folder of its own."""

import os
from pathlib import Path


def cache() -> Path:
    """The folder that survives clusters; $NONROOT_CACHE moves it."""
    if chosen := os.environ.get("NONROOT_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "nonroot-webhook"


def binaries() -> Path:
    """Built programs, one folder per tool and version."""
    return cache() / "bin"


def default_state() -> Path:
    """The cluster that every command means when it is not told another."""
    return cache() / "cluster"
