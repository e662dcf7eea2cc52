"""A Ray cluster of several nodes on this machine, each with folders of its own, as machines have."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock


class Nodes:
    """A cluster of a head alone; `add` adds machines."""

    def __init__(self, folder: Path, head_cpus: int):
        from ray.cluster_utils import Cluster

        self.folder, self.count = folder, 0
        head = {"num_cpus": head_cpus, "include_dashboard": False, **self._own("head")}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self.cluster.address

    def add(self, **resources: Any) -> Any:
        """A machine with a home, caches and temporary files of its own."""
        self.count += 1
        return self.cluster.add_node(**self._own(f"n{self.count}"), **resources)

    def remove(self, node: Any) -> None:
        """Ends a machine as a power cut does."""
        self.cluster.remove_node(node, allow_graceful=False)

    def _own(self, name: str) -> dict[str, Any]:
        place = self.folder / name
        for part in ("home", "tmp", "ray"):
            (place / part).mkdir(parents=True)
        os.chdir(place / "home")  # the working directory of its processes
        own = {"HOME": str(place / "home"), "XDG_CACHE_HOME": str(place / "home/cache"), "TMPDIR": str(place / "tmp")}
        return {"env_vars": own, "temp_dir": str(place / "ray")}


@contextmanager
def cluster(head_cpus: int = 0) -> Iterator[Nodes]:
    """A cluster that is gone afterwards with all its files. Sockets need short paths, so that it lies in /tmp."""
    folder, here = Path(tempfile.mkdtemp(prefix="reid-", dir="/tmp")), Path.cwd()
    nodes = None
    try:
        with mock.patch.dict(os.environ, {"RAY_TMPDIR": str(folder)}):  # where Ray notes the cluster's address
            (folder / "ray").mkdir()
            nodes = Nodes(folder, head_cpus)
        os.chdir(here)
        yield nodes
    finally:
        os.chdir(here)
        if nodes is not None:
            nodes.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
