"""A real API server with a store of its own, thrown away afterwards: no node, and nobody else's objects."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.local import control_plane
from deploy.local.certificates import Authority
from deploy.local.layout import Layout
from tests.support.cluster import own_address


@contextlib.contextmanager
def alone(host: str = "", *, controllers: bool = False) -> Iterator[Layout]:
    """Its folders and addresses, for the length of a `with`, with the controllers if they are wanted.

    Without a `host` it listens where the cluster reaches us, so one must be up.
    """
    with tempfile.TemporaryDirectory(prefix="nonroot-control-plane-") as folder:
        layout = Layout(Path(folder), host or own_address())
        layout.choose_ports()
        authority = Authority(layout.pki)
        authority.create()
        try:
            control_plane.start_etcd(layout)
            control_plane.start_apiserver(layout, authority)
            if controllers:
                control_plane.start_controllers(layout, authority)
            yield layout
        finally:
            for name in (
                control_plane.SCHEDULER,
                control_plane.CONTROLLERS,
                control_plane.APISERVER,
                control_plane.ETCD,
            ):
                layout.processes.stop(name)
