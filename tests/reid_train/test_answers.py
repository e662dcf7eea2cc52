"""What `reid_train.evaluate --json` and `reid_train.query --json` give."""

import json

import pytest

from reid_train.evaluate import evaluate
from reid_train.query import query
from tests.commands import run_here

pytestmark = pytest.mark.usefixtures("narrow")


def test_an_evaluation_as_json_is_what_its_file_holds(narrow_checkpoint, data_dir, tmp_path):
    where = ["--data-dir", data_dir, "--out", tmp_path / "figures.json", "--cache-dir", tmp_path / "cache"]
    done = run_here("reid_train.evaluate", "--checkpoint", narrow_checkpoint, *where, "--json")
    assert done.returncode == 0, done.stderr
    answer, kept = json.loads(done.stdout), json.loads((tmp_path / "figures.json").read_text())
    assert {key: answer[key] for key in kept} == kept and 0 < kept["mAP"] <= 1
    assert {key: answer[key] for key in answer.keys() - kept.keys()} == {
        "checkpoint": str(narrow_checkpoint),
        "file": str(tmp_path / "figures.json"),
        "evaluations": None,
    }
    assert f"{100 * kept['mAP']:.2f} %" in done.stderr
    assert all(f"`{key}`" in str(evaluate.__doc__) for key in ("checkpoint", "file", "evaluations"))


def test_a_query_as_json_is_the_ranking_that_is_printed(narrow_checkpoint, data_dir, tmp_path):
    image = sorted((data_dir / "query").iterdir())[0]
    where = ["--gallery", data_dir, "--image", image, "--top", 4, "--out", tmp_path / "ranks.png"]
    arguments = ["--checkpoint", narrow_checkpoint, *where, "--cache-dir", tmp_path / "cache"]
    printed = run_here("reid_train.query", *arguments)
    done = run_here("reid_train.query", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.stdout.splitlines() if "│" in line]
    shown = [
        [
            str(place),
            f"{one['similarity']:.4f}",
            one["identity"],
            one["camera"],
            "yes" if one["right"] else "no",
            one["path"].removeprefix(f"{data_dir}/"),
        ]
        for place, one in enumerate(answer["ranked"], start=1)
    ]
    assert shown == rows and len(shown) == 4
    assert answer["left_out"] == 2 and answer["picture"] == str(tmp_path / "ranks.png")
    documented = str(query.__doc__)
    assert [key for key in (*answer, *answer["ranked"][0]) if f"`{key}`" not in documented] == []
