"""`--json`: one object on stdout, whatever else is printed, and nothing where the command fails."""

import json
from pathlib import Path

import pytest

from data.checks.printing import report_answer
from data.system.answers import answering
from data.system.wording import open_console
from tests.commands import run_here


def test_the_answer_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(True) as answer:
        print("plain")
        open_console().print("rich")
        answer |= {"share": float("nan"), "many": (1, [float("inf"), 2.5]), "file": Path("a/b"), 7: None}
    out, err = capsys.readouterr()
    assert json.loads(out) == {"share": None, "many": [1, [None, 2.5]], "file": "a/b", "7": None}
    assert err == "plain\nrich\n"


def test_nothing_is_answered_unasked_or_where_the_command_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(False) as answer:
        print("plain")
        answer["a"] = 1
    assert capsys.readouterr() == ("plain\n", "")
    with pytest.raises(ValueError), answering(True):
        raise ValueError
    assert capsys.readouterr() == ("", "")


def test_the_doctors_answer_has_the_counts_and_every_finding(tiny_data: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    done = run_here("data.doctor", tiny_data, "--json", "--plot", plot)
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["can_train"] and answer["plot"] == str(plot) and plot.is_file()
    files = {split: [*(tiny_data / folder).glob("*.jpg")] for split, folder in folders_of(tiny_data).items()}
    assert {one["split"]: one["images"] + one["junk"] for one in answer["splits"]} == {
        s: len(found) for s, found in files.items()
    }
    train = answer["splits"][0]
    names = [file.name.split("_")[0] for file in files["train"]]
    assert train["identities"] == len(set(names))
    assert train["images_per_identity"]["most"] == max(map(names.count, names))
    assert all(finding["severity"] in ("error", "warning", "note") for finding in answer["findings"])
    documented = str(report_answer.__doc__)
    assert [key for key in (*answer, *train, *answer["findings"][0]) if f"`{key}`" not in documented] == []
    assert "images per identity" in done.stderr, "the table is there too"


def test_the_doctors_answer_on_data_that_cannot_be_trained_on(tiny_data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bounding_box_train"
    empty.mkdir()
    done = run_here("data.doctor", tmp_path, "--json", "--plot", tmp_path / "plot.png")
    assert done.returncode == 1 and json.loads(done.stdout)["can_train"] is False
    assert [one["severity"] for one in json.loads(done.stdout)["findings"]].count("error") >= 1
    nowhere = run_here("data.doctor", tmp_path / "nowhere", "--json")
    assert (nowhere.returncode, nowhere.stdout) == (2, "") and nowhere.stderr.startswith("error: ")


def folders_of(data: Path) -> dict[str, str]:
    market = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    veri = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
    return market if (data / market["train"]).is_dir() else veri
