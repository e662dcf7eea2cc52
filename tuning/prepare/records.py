"""Opens a search's records, the study and that of its repeats, and checks that they may go on.

study, record = open_records(arguments, ready)
"""

import os
import secrets
from dataclasses import replace
from pathlib import Path

from data.pixels.digests import fingerprint
from data.sets.splits import describe_split
from data.system.commands import running_command
from data.system.errors import UserError
from data.system.files import write_text
from tuning.confirm.repeats import open_record
from tuning.prepare.begin import Prepared
from tuning.prepare.costs import describe_prices, measure_prices
from tuning.prepare.finished import is_finished
from tuning.prepare.models import starting_weights
from tuning.prepare.planning import default_outside, plan_study, tried_first
from tuning.prepare.request import SearchRequest
from tuning.record.environment import describe
from tuning.record.storage import Storage
from tuning.record.study import Study
from tuning.record.unchanged import check_unchanged
from tuning.run.resources import gpus


def open_records(arguments: SearchRequest, ready: Prepared, began: float) -> tuple[Study, Study]:
    """The study and the record of its repeats, new or to be gone on with; says what is planned. The study's time counts
    from `began`, of time.monotonic.

    Raises UserError for a study of another space, other images or other code.
    """
    space, folder = ready.space, ready.folder
    server = (arguments.study_storage, driver_name(folder)) if arguments.study_storage else None
    study = Study(folder, space, server=server)
    study.count_from(began)
    with study.exclusive():
        settle_storage(study, ready.storage)
        if "prices" not in study.facts:
            study.note(prices=measure_prices(space) if ready.prices is None else ready.prices)
        images = fingerprint(ready.samples, cache_dir=arguments.cache_dir)
        finished, weights = is_finished(study), starting_weights(space)
        check_unchanged(study, images, describe_split(ready.data), ready.teachers, weights, trains=not finished)
        if not finished:
            study.note(finished=None)
        if arguments.no_test:
            study.note(test_left_alone=True)
        study.keep_space()
        study.settle()
        study.note(
            images_left_out=[Path(path).name for path in ready.left_out], command=arguments.command or running_command()
        )
        describe(study, space.source, gpus())
        plan = plan_study(study, ready.data, ready.pixels, ready.resources, timed=not arguments.address)
        prices = describe_prices(study.facts["prices"], on_cluster=bool(arguments.address))
        for line in (
            *prices,
            *([plan] if plan else []),
            *default_outside(study.space),
            *tried_first(study, ready.resources.concurrency),
        ):
            print(line, flush=True)
    record = open_record(folder, study.space, server)
    record.storage = study.storage
    record.share_clock(study)
    return study, record


MARK = "study.txt"
"""A file by which a study's folder in a storage is known wherever that lies."""


def _is_at(storage: Storage | None, folder: str) -> bool:
    """Whether the storage holds this study's folder."""
    return storage is not None and replace(storage, folder=folder).read(MARK) is not None


def driver_name(folder: Path) -> str:
    """What this folder's searches are called among the drivers that share a study: the same after a restart."""
    file = folder / "search.driver"
    if not file.is_file():
        write_text(file, f"{os.uname().nodename}-{secrets.token_hex(6)}\n")
    return file.read_text().strip()


def settle_storage(study: Study, storage: Storage | None) -> None:
    """Gives the study its own folder in the storage; raises UserError when its trials' states are somewhere else."""
    place = str(storage or f"{os.uname().nodename}:{study.folder.absolute()}")
    known = study.facts.get("storage")
    if known is None:
        known = {"place": place, "folder": f"{study.folder.name}-{secrets.token_hex(4)}", "given": storage is not None}
        study.note(storage=known)
        if storage is not None:
            replace(storage, folder=known["folder"]).write(MARK, f"{study.folder.name}\n")
    elif known["place"] != place and known["given"] and _is_at(storage, known["folder"]):  # moved, or mounted elsewhere
        study.note(storage={**known, "place": place})
    elif known["place"] != place and (storage is not None or known["given"] or study.shared):
        raise UserError(
            f"{study.folder}: the trials of this study keep their states in {known['place']}, not in {place}"
            + (": give that as --storage" if known["given"] else "")
            + ("; drivers that share a study need a --storage that all of them see" if study.shared else "")
        )
    if storage is not None:
        study.storage = replace(storage, folder=known["folder"])
