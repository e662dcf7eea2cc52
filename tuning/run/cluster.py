"""A search on an existing Ray cluster: joining it, what each trial gets there, and what the machines must share."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.system.errors import UserError
from data.system.own_folder import OwnFolder
from data.system.passwords import without_passwords
from tuning.record.storage import Storage
from tuning.run.resources import Resources, check_gpus_per_trial, trials_on_a_gpu

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("data", "reid_train", "tuning")
RAY = Path(sys.executable).with_name("ray")
"""Ray's own command, which is installed beside this interpreter."""
NO_TOKEN = (
    "warning: this Ray cluster asks for no token: whoever reaches its ports can run code on it. Start it, and the "
    "search, with RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file; "
    f"`{RAY} get-auth-token --generate` makes one)"
)
CHECK_S = 120
"""Seconds in which every machine must have answered when the search begins."""


def check_address(address: str) -> None:
    """Raises UserError for Ray Client, and when nothing listens at HOST:PORT: Ray itself would try for ever."""
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client is not supported; give this command on a machine of the cluster (its "
            "head), with --address auto"
        )
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--address {address}: nothing answers there ({reason}); start it with `{RAY} start`"
        ) from error


def join(address: str, options: dict[str, Any]) -> None:
    """Makes this process a driver of the cluster; its workers get the code of this project and nothing else with it.

    Raises UserError when no cluster answers, or it asks for a token that this process does not have.
    """
    with OwnFolder("reid-code-") as folder:
        for package in PACKAGES:
            # Modules alone: users keep their images in data/.
            shutil.copytree(ROOT / package, folder / "code" / package, ignore=_all_but_modules)
        job = {
            "working_dir": str(folder / "code"),
            "env_vars": {"OMP_WAIT_POLICY": "PASSIVE", "RAY_CHDIR_TO_TRIAL_DIR": "0"},
        }
        try:
            ray.init(address=address, runtime_env=job, **options)
        except (AuthenticationError, ConnectionError, ValueError, RuntimeError) as error:
            reason = without_passwords(str(error).splitlines()[0])
            raise UserError(
                f"--address {address}: no Ray cluster answers: {reason}; where it asks for a token, set "
                "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file) to the cluster's"
            ) from error


def _all_but_modules(folder: str, names: list[str]) -> set[str]:
    """What lies in a folder and is neither a module nor a package."""
    return {n for n in names if not n.endswith(".py") and not (Path(folder) / n / "__init__.py").is_file()}


def machines() -> list[dict[str, Any]]:
    """Ray's description of each machine of the cluster that is there now."""
    return [node for node in ray.nodes() if node["Alive"]]


def this_machine() -> dict[str, float]:
    """What a trial asks of Ray to be placed beside the driver."""
    return {f"node:{ray.util.get_node_ip_address()}": 0.001}


def plan_cluster(
    cpus_per_trial: int | None, gpus_per_trial: float | None, concurrency: int | None, device: str
) -> Resources:
    """What each trial gets, and how many run at once now; where machines join later, more do.

    Where there are GPUs each trial gets one, and as many CPUs as the machine with the fewest CPUs a GPU has for it.
    Else it gets a CPU, or up to 4 where more than 4 trials would share a machine. Raises UserError where no machine
    has as much.
    """
    found = [
        (int(node["Resources"].get("CPU", 0)), node["Resources"].get("GPU", 0.0) if device != "cpu" else 0.0)
        for node in machines()
    ]
    check_gpus_per_trial(gpus_per_trial, device)
    if device == "cuda" and not any(gpus >= 1 for _, gpus in found):
        raise UserError("device=cuda: no machine of the cluster has a GPU; use device=auto or device=cpu")
    asked = (
        ("--cpus-per-trial", cpus_per_trial, max(cpus for cpus, _ in found), 1),
        ("--gpus-per-trial", gpus_per_trial, max(gpus for _, gpus in found), 0),
    )
    for name, value, there, least in asked:
        if value is not None and not least <= value:
            raise UserError(f"{name} {value:g}: at least {least}")
        if value is not None and value > there:
            raise UserError(f"{name} {value:g}: no machine of the cluster has more than {there:g}")
    of_gpus = gpus_per_trial if gpus_per_trial is not None else float(any(gpus >= 1 for _, gpus in found))
    usable = [(cpus, gpus) for cpus, gpus in found if cpus and (gpus >= 1 or not of_gpus)]
    each = trials_on_a_gpu(of_gpus) if of_gpus else 1
    share = min((cpus / (int(gpus) * each) if of_gpus else min(4, cpus / 4) for cpus, gpus in usable), default=1)
    planned = Resources(cpus_per_trial or max(1, int(share)), of_gpus, 1)
    now = max(1, room(planned))
    return replace(planned, concurrency=min(now, concurrency or now))


def room(resources: Resources) -> int:
    """How many trials the machines that are there now hold at once."""
    free = 0
    for node in machines():
        cpus, gpus = node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0.0)
        of_cpus, of_gpus = int(cpus // resources.cpus), resources.gpus
        free += min(of_cpus, int(gpus) * trials_on_a_gpu(of_gpus)) if of_gpus else of_cpus
    return free


def check_machines(storage: Storage | None, folder: Path, weights: Sequence[str] = ()) -> None:
    """Checks that all machines see the storage, and the files or folders of `weights`; warns where the cluster asks for
    no token.

    Raises UserError for several machines without a storage, and for one that does not find there what this one wrote,
    or that does not have weights which this one has.
    """
    nodes = machines()
    if storage is None and len(nodes) > 1:
        raise UserError(
            f"--storage is missing: the cluster has {len(nodes)} machines, and what a trial writes into {folder} on "
            "another one would stay there; name a folder that all of them see, or a URL such as s3://bucket/reid"
        )
    text, marker = secrets.token_hex(8), f"seen-{secrets.token_hex(4)}.txt"
    if storage is not None:
        storage.write(marker, text)

    @ray.remote(num_cpus=0, max_retries=0)
    def look() -> tuple[str | None, str, list[str]]:
        found = text if storage is None else storage.read(marker)
        return found, os.environ.get("RAY_AUTH_MODE", ""), [file for file in weights if not Path(file).exists()]

    place = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes}
    asked = {look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(n, soft=False)).remote(): n for n in place}
    modes = set()
    for answer, node in asked.items():
        try:
            found, mode, missing = ray.get(answer, timeout=CHECK_S)
        except ray.exceptions.RayError as error:
            reason = without_passwords(str(error).strip().splitlines()[-1])
            raise UserError(f"{place[node]}: cannot run this search: {reason}") from error
        modes.add(mode)
        if found != text:
            raise UserError(
                f"--storage {storage}: {place[node]} does not find there what this machine wrote; name a folder that "
                "all machines see, or a URL such as s3://bucket/reid"
            )
        if lacking := [file for file in missing if Path(file).exists()]:
            raise UserError(
                f"{place[node]}: does not have {lacking[0]}, which this machine has; put the weights there on every "
                "machine, or name a folder that all of them see"
            )
    if storage is not None:
        storage.filesystem.delete_file(storage.path(marker))
    if modes != {"token"}:
        print(NO_TOKEN, flush=True)
