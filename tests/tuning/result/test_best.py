"""The weights that a finished search keeps where machines share a storage."""

from pathlib import Path

from tests.reports import epoch_report
from tuning.record.folders import WEIGHTS, repeat_folder, trial_folder
from tuning.record.storage import Storage
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.best import bring_back, drop_repeats
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {epochs: 200, rungs: [4]}
"""


def complete(record, row, score):
    record.record(row, 4, epoch_report(4, val_mAP=score))
    record.finish(row, TrialState.COMPLETE)


def test_of_repeats_in_a_storage_one_runs_weights_stay_there_and_come_back(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    space, folder = read_space(tmp_path / "space.yaml"), tmp_path / "study"
    study, record = (Study(folder, space, name=name, in_memory=True) for name in ("study", "repeats"))
    study.storage = record.storage = storage = Storage(str(tmp_path / "shared"), "study-1")
    complete(study, study.add({"learning_rate": 0.01}), 0.4)
    for seed, score in enumerate((0.41, 0.43, 0.42)):
        complete(record, record.add({}, {"of": "trial 0", "parameters": {"learning_rate": 0.01}, "seed": seed}), score)
    running = record.add({}, {"of": "trial 0", "parameters": {"learning_rate": 0.01}, "seed": 9})
    places = [trial_folder(folder, 0), *(repeat_folder(folder, number) for number in range(4))]
    for place in places:  # as on the machine that trained it
        away = tmp_path / "elsewhere" / place.relative_to(folder) / "4-epochs"
        away.mkdir(parents=True)
        (away / WEIGHTS).write_text(str(place))
        storage.save(away.parent, str(place.relative_to(folder)))

    def kept(where: Path) -> list[int]:
        return sorted(int(place.name) for place in where.iterdir())

    for _ in range(2):  # a larger budget ends there again
        bring_back(study, record)
        drop_repeats(study, record)
        assert kept(folder / "repeats") == [0], "0.41 is in the middle of 0.40, 0.41, 0.42 and 0.43"
        assert kept(Path(storage.path("repeats"))) == [0, running], "what runs on another machine goes on"
    assert kept(folder / "trials") == [0] == kept(Path(storage.path("trials")))
