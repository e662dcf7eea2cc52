"""A search that is over: the same command prints its result again, and looks at no image.

if (study := finished_study(arguments)) is not None:
    print_results(study, open_console())
"""

from contextlib import suppress

from data.system.errors import UserError
from data.system.files import read_json
from reid_train.inference.evaluation_count import read_test_metrics
from tuning.prepare.begin import read_space_of, study_folder
from tuning.prepare.request import SearchRequest
from tuning.record.facts import Budget
from tuning.record.folders import BEST, BEST_CONFIG, BEST_LABEL, DATABASE, ENVIRONMENT, WEIGHTS
from tuning.record.study import Study
from tuning.space.settings import StudySettings

LEFT = ("summary.md", "trials.csv", "untrained.json", BEST_CONFIG, f"{BEST}/{WEIGHTS}")
"""Files of a finished study, beside those that are read here."""


def finished_study(arguments: SearchRequest) -> Study | None:
    """The study that the arguments name, where nothing is left to do; None where there is, and for a study that
    several drivers share. Raises UserError for a study of another space."""
    asked = read_space_of(arguments)
    folder = study_folder(arguments, asked)
    if arguments.study_storage or not ((folder / DATABASE).is_file() and (folder / ENVIRONMENT).is_file()):
        return None
    study = Study(folder, asked)
    was, now = study.facts.get("search_space", {}), asked.to_record()
    same = was.get("fixed") == now["fixed"] and was["study"]["pick"] == now["study"]["pick"]
    return study if same and is_finished(study) and _has_all(study) else None


def is_finished(study: Study) -> bool:
    """Whether its search was over with a budget that the present one does not exceed."""
    done, asked = study.facts.get("finished"), budget_of(study.space.study)
    if done is None:
        return False
    limits = [(limit, asked[name]) for name, limit in done.items()]  # type: ignore[literal-required]
    return all(now == limit or (now is not None and (limit is None or now < limit)) for limit, now in limits)


def budget_of(settings: StudySettings) -> Budget:
    """What the settings allow to spend."""
    return {"trials": settings.most_trials, "epochs": settings.epochs, "time_budget": settings.time_budget}


def _has_all(study: Study) -> bool:
    """Whether the winner's weights, its test figures, tables and summary are there."""
    with suppress(FileNotFoundError, UserError):  # what is damaged is made again
        label, test = read_json(study.folder / BEST / BEST_LABEL), read_test_metrics(study.folder)
        tested = "mAP" in test and test.get("best") == label
        left_alone = study.facts.get("test_left_alone", False)
        return (tested or left_alone) and all((study.folder / name).is_file() for name in LEFT)
    return False
