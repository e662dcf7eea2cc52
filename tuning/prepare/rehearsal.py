"""`--plan`: says what a search's budget would buy, measured on the data and the machine, and leaves nothing.

rehearse(arguments)["rungs"]  # [12, 36]
"""

from pathlib import Path
from typing import Any

from data.system.own_folder import OwnFolder
from tuning.prepare.begin import draw_sample, prepare, read_space_of, study_folder
from tuning.prepare.planning import plan_answer, plan_study, tried_first
from tuning.prepare.request import SearchRequest
from tuning.record.folders import DATABASE
from tuning.record.study import Study


def rehearse(arguments: SearchRequest) -> dict[str, Any]:
    """Prints the plan, and gives `study`, the folder, and what `plan_answer` does.

    Images are decoded, and sample data drawn where they are missing, into a folder that is removed. Of a study that has
    begun, the rungs and the pace are those on record.
    """
    space = read_space_of(arguments)
    folder = study_folder(arguments, space)
    with OwnFolder("reid-plan-") as place:
        changes: dict[str, Any] = {
            "results": f"{place}/results",
            "cache_dir": arguments.cache_dir or place / "pixels",
        }
        if space.sample_data is not None and not Path(space.base_config().data_dir).exists():
            changes["data_dir"] = f"{place}/data"
            draw_sample(changes["data_dir"], space.sample_data)
        ready = prepare(arguments.changed(**changes), trains=False)
        try:
            study = Study(folder, ready.space) if (folder / DATABASE).exists() else None
            if study is None or not study.trials():
                study = Study(folder, ready.space, in_memory=True)
            told = plan_study(study, ready.data, ready.pixels, ready.resources, timed=not arguments.address)
            print(told or "plan: each trial has a length of its own, num_epochs, which is searched", flush=True)
            for line in tried_first(study, ready.resources.concurrency):
                print(line, flush=True)
            return {"study": folder, **plan_answer(study, ready.data, ready.resources.concurrency)}
        finally:
            ready.lock.release()
