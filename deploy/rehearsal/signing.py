"""cosign with a key in the place of the workflow's identity, which only GitHub gives; its log on the internet is left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import build, commands

_VERSION, _MODULE = "v3.1.3", "github.com/sigstore/cosign/v3"
_STAMPS = {"sigs.k8s.io/release-utils/version.gitVersion": _VERSION}
COSIGN = build.Tool("cosign", _VERSION, build.installed([f"{_MODULE}/cmd/cosign"], _VERSION, _STAMPS))


def make_key(folder: Path) -> Mapping[str, str]:
    """Make a pair of keys there; the variables with which `cosign sign` and `cosign attest` take the private one.

    cosign reads the options that a command line lacks from variables (cmd/cosign/cli/options/root.go, BindViper).
    """
    password = {"COSIGN_PASSWORD": ""}
    commands.run(COSIGN.folder / "cosign", "generate-key-pair", env=password, cwd=folder)
    return {
        **password,
        "COSIGN_KEY": str(folder / "cosign.key"),
        "COSIGN_TLOG_UPLOAD": "false",
        "COSIGN_USE_SIGNING_CONFIG": "false",
    }


def verify_options(folder: Path) -> Sequence[str]:
    """What a user's command line has in the place of the options that name an identity."""
    return "--key", str(folder / "cosign.pub"), "--insecure-ignore-tlog"
