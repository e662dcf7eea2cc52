"""Best values at the edge of what was searched: worked by hand."""

import re
import shlex

import pytest

from data.system.errors import UserError
from tuning.prepare.begin import read_space_of, study_folder
from tuning.record.study import Study
from tuning.result.hints import edges, next_search
from tuning.search import parse_arguments
from tuning.space.read import read_space

CASES = [
    # searched, best value, what is said of it
    ("learning_rate: {low: 1e-4, high: 1e-2, log: true}", 9.7e-3,
     "learning_rate 0.0097 lies at the upper end of 0.0001 to 0.01: try 0.001 to 0.1"),
    ("learning_rate: {low: 1e-4, high: 1e-2, log: true}", 1.2e-4,
     "learning_rate 0.00012 lies at the lower end of 0.0001 to 0.01: try 1e-05 to 0.001"),
    ("learning_rate: {low: 1e-4, high: 1e-2, log: true}", 7.9e-3, None),  # 94.9 % of the way, in powers of ten
    ("learning_rate: {low: 1e-4, high: 1e-2}", 3e-4,  # 2 % of the way; halfway to 0, which a rate must exceed
     "learning_rate 0.0003 lies at the lower end of 0.0001 to 0.01: try 5e-05 to 0.00505"),
    ("learning_rate: {low: 0.1, high: 10, log: true}", 9.9, None),  # 10 is the highest that there is
    ("learning_rate: {low: 0.05, high: 5, log: true}", 5.0,
     "learning_rate 5 lies at the upper end of 0.05 to 5: try 0.5 to 10"),
    ("dropout: {low: 0.0, high: 0.5}", 0.49, "dropout 0.49 lies at the upper end of 0 to 0.5: try 0.25 to 0.75"),
    ("dropout: {low: 0.0, high: 0.5}", 0.0, None),
    ("dropout: {low: 0.0, high: 0.8}", 0.8, "dropout 0.8 lies at the upper end of 0 to 0.8: try 0.4 to 0.9"),
    ("pct_start: {low: 0.05, high: 0.4}", 0.2, None),
    ("randaugment_magnitude: {low: 0, high: 12}", 12,
     "randaugment_magnitude 12 lies at the upper end of 0 to 12: try 6 to 18"),
    ("randaugment_magnitude: {low: 0, high: 12}", 11, None),
    ("randaugment_magnitude: {low: 10, high: 28}", 28,
     "randaugment_magnitude 28 lies at the upper end of 10 to 28: try 19 to 30"),
    ("batch_size: {low: 16, high: 64, step: 16}", 64, "batch_size 64 lies at the upper end of 16 to 64: try 32 to 96"),
    ("fc_width: {low: 32, high: 512, log: true}", 32, "fc_width 32 lies at the lower end of 32 to 512: try 8 to 128"),
    ("batch_size: [32, 16]", 32, "batch_size 32 is the largest of 16, 32: try 64 too"),
    ("batch_size: [32, 48, 64]", 32, "batch_size 32 is the smallest of 32, 48, 64: try 16 too"),  # no 32 / 1.5
    ("batch_size: [24, 40]", 40, "batch_size 40 is the largest of 24, 40: try 56 too"),
    ("images_per_identity: [1, 2, 4]", 1, None),
    ("randaugment_magnitude: [0, 4, 9]", 9, "randaugment_magnitude 9 is the largest of 0, 4, 9: try 14 too"),
    ("randaugment_magnitude: [0, 4, 9]", 4, None),
    ("margin: [0.1, 0.3, 1.0, soft]", 0.1, "margin 0.1 is the smallest of 0.1, 0.3, 1: try 0.0333 too"),
    ("margin: [0.1, 0.3, 1.0, soft]", "soft", None),
    ("max_grad_norm: [1.0, null]", 1.0, None),
    ("last_stride: [1, 2]", 2, None),  # there are no others
    ("normalize_features: [true, false]", True, None),
    ("optimizer: [adamw, sgd]", "sgd", None),
]  # fmt: skip


@pytest.mark.parametrize(("searched", "best", "said"), CASES)
def test_best_values_at_an_edge_are_named_with_the_range_to_try(searched, best, said, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(f"fixed: {{images_per_identity: null}}\nsearch:\n  {searched}\n")
    if searched.startswith("images_per_identity"):
        file.write_text(f"search:\n  {searched}\n")
    space = read_space(file)
    name = space.parameters[0].name
    assert edges(space, {name: best}, {name}) == ([said] if said else [])


@pytest.mark.parametrize(("searched", "best", "said"), [case for case in CASES if case[2]])
def test_what_is_to_be_tried_is_a_space(searched, best, said, tmp_path):
    if found := re.search(r"try (\S+) to (\S+)$", said):
        low, high = found.groups()
        searched = re.sub("high: [^,}]+", f"high: {high}", re.sub("low: [^,}]+", f"low: {low}", searched))
    else:
        searched = searched.replace("]", f", {said.split()[-2]}]")
    (tmp_path / "space.yaml").write_text(f"fixed: {{images_per_identity: null}}\nsearch:\n  {searched}\n")
    assert read_space(tmp_path / "space.yaml").parameters


def test_the_command_for_another_range_begins_a_study_of_its_own(tmp_path, monkeypatch):
    file, text = tmp_path / "space.yaml", "search:\n  dropout: {low: 0.0, high: 0.5}\n"
    file.write_text(text)
    study = Study(tmp_path / "my results" / "one", read_space(file))
    study.note(command=f"python -m tuning.search --space {file} --results '{tmp_path}/my results' --name one")
    (tmp_path / "my results" / "one-2").mkdir()
    monkeypatch.setattr("sys.argv", shlex.split(next_search(study).split(" give: ")[1])[2:])
    arguments = parse_arguments()
    file.write_text(text.replace("0.5", "0.8"))
    with pytest.raises(UserError, match="another space"):
        Study(study.folder, read_space(file))
    asked = read_space_of(arguments)
    folder = study_folder(arguments, asked)
    assert arguments.warm_start == [str(study.folder)] and folder == study.folder.with_name("one-3")
    assert Study(folder, asked).space.parameters[0].high == 0.8


def test_a_parameter_that_did_not_count_is_not_named(tmp_path):
    (tmp_path / "space.yaml").write_text("search:\n  dropout: {low: 0, high: 0.5}\n  momentum: {low: 0.5, high: 0.9}\n")
    space = read_space(tmp_path / "space.yaml")
    lines = edges(space, {"dropout": 0.5}, {"dropout", "momentum"})
    assert [line.split()[0] for line in lines] == ["dropout"]
    assert edges(space, {"dropout": 0.5, "momentum": 0.9}, {"momentum"})[0].startswith("momentum")
    assert edges(space, {"dropout": 0.5, "momentum": 0.9}, ()) == []


def test_a_range_whose_condition_names_a_fixed_setting_has_its_edge_named(tmp_path):
    """`optimizer` is not searched, so that the values of a trial say nothing of it: the space does."""
    fixed, condition = "fixed: {optimizer: sgd}\n", "when: {optimizer: sgd}"
    (tmp_path / "space.yaml").write_text(f"{fixed}search:\n  momentum: {{low: 0.5, high: 0.9, {condition}}}\n")
    assert edges(read_space(tmp_path / "space.yaml"), {"momentum": 0.9}, {"momentum"}) == [
        "momentum 0.9 lies at the upper end of 0.5 to 0.9: try 0.7 to 0.95"
    ]
