"""report.html as a file: what is in it in every state of a study, its size, and that nothing in it can run."""

import base64
import io
import json
import re
import webbrowser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from data.system.errors import UserError
from tests import reported_study
from tests.reported_study import TWO_METRICS, draw_pictures, made_up_errors, made_up_study
from tests.reports import epoch_report
from tuning.confirm.verdict import outcome_of
from tuning.record.cause import Cause, Kind
from tuning.record.facts import Facts
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result import live_page
from tuning.result.live_page import LivePage, page_of_finished
from tuning.result.page import as_json, write_page
from tuning.result.page_errors import errors_in_page, thumbnail
from tuning.result.page_verdict import as_yaml
from tuning.result.plots import study_figures
from tuning.space.read import read_space

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Tags and attributes of a page, and the text outside of scripts and style sheets."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.words, self._in = list[str](), list[tuple[str, str | None]](), "", ""
        self.record = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self._in = "record" if ("id", "record") in attributes else tag

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "record":
            self.record += data
        elif self._in not in ("script", "style"):
            self.words += data


def page_of(study: Study, **options) -> Elements:
    text = write_page(study, **{"figures": {}, **options}).read_text()
    assert len(text.encode()) < 1_000_000
    return Elements(text)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def figures(study) -> dict[str, Any]:
    return study_figures(study)


@pytest.fixture(scope="module")
def study(tmp_path_factory, data_dir) -> Study:
    """Not to be changed; with errors.json."""
    made = made_up_study(tmp_path_factory.mktemp("made") / "made-up", trials=24, data_dir=data_dir, in_memory=True)
    reported_study.write(made.folder / "errors.json", made_up_errors(data_dir))
    return made


def test_every_section_is_there(study, figures):
    page = page_of(study, figures=figures)
    ids = {value for name, value in page.attributes if name == "id"}
    sections = {"verdict", "next", "search", "trials", "confirmation", "training", "errors", "threshold", "map"}
    assert sections | {"data", "cost", "reproduce"} <= ids
    links = {value for name, value in page.attributes if name == "href" and value.startswith("#")}
    assert {link.removeprefix("#") for link in links} <= ids


def test_the_verdict_is_the_one_on_record(study):
    words = " ".join(page_of(study).words.split())
    confirmed = study.facts["confirmation"]
    for part in confirmed["sentences"][0].removeprefix("winner: ").split("; "):
        assert part[1:] in words
    winner = confirmed["rows"][0]
    assert f"{100 * winner['mean']:.1f} %" in words and f"{winner['p_best']:.2f}" in words
    assert "52.7 %" in words and "test images looked at once" in words
    assert study.facts["command"] in words


def test_what_few_scores_do_not_tell_has_no_column(tmp_path, data_dir):
    made = made_up_study(tmp_path / "few", trials=24, data_dir=data_dir, in_memory=True)
    assert "worth, in points" in page_of(made).words
    few = made_up_study(tmp_path / "fewer", trials=4, data_dir=data_dir, in_memory=True)
    words = page_of(few).words
    assert "Settings that differ" in words and "worth, in points" not in words


def test_the_same_record_gives_the_same_bytes(study):
    first = write_page(study, images=True).read_bytes()
    assert write_page(study, images=True).read_bytes() == first and b"<svg" in first


def test_the_record_in_the_page_is_the_study_s(study):
    record = json.loads(page_of(study).record)
    assert [row["number"] for row in record["trials"]] == [trial.number for trial in study.trials()]
    for row, trial in zip(record["trials"], study.trials(), strict=True):
        values = [trial.parameters.get(axis["name"]) for axis in record["axes"]]
        assert row["values"] == values and row["state"] == trial.state
        assert row["score"] == (None if trial.score is None else round(trial.score, 5))
    assert record["trials"][-1]["spent"] == sum(trial.epochs for trial in study.trials())


def test_pictures_are_there_only_where_they_may_be(study, data_dir):
    assert "data:image/webp" not in write_page(study, figures={}).read_text(), "one's own data"
    text = write_page(study, images=True, figures={}).read_text()
    assert 100 < text.count("data:image/webp") <= 200 and len(text) < 4_000_000
    study.note(report_images=True)
    assert "data:image/webp" in write_page(study, figures={}).read_text(), "as the search was told"
    assert "data:image/webp" not in write_page(study, images=False, figures={}).read_text()
    study.note(report_images=False)


def test_no_picture_from_outside_the_data_set_is_taken(study, data_dir, tmp_path):
    errors = made_up_errors(data_dir)
    inside = next(data_dir.rglob("*.jpg"))
    errors |= {"data_dir": str(tmp_path), "lists": [], "confused": [], "map": []}
    errors["confused"] = [{"identity": "1", "with": "2", "queries": 1, "of": 2, "example": [str(inside), "../x.jpg"]}]
    assert errors_in_page(errors, images=True).pictures == []


def test_hostile_names_are_text(tmp_path, data_dir):
    searched = f"search:\n  pretrained: [imagenet, {json.dumps(HOSTILE)}]"
    space = reported_study.SPACE.replace("  pretrained: none\n", "").replace("search:", searched)
    folder = tmp_path / "<img src=x onerror=alert(2)>"
    made = made_up_study(folder, trials=9, data_dir=data_dir, in_memory=True, space=space, ended=False)
    made.add({**made.space.default, "pretrained": HOSTILE})
    errors = made_up_errors(data_dir)
    for one in errors["lists"]:
        one["query"] = {**one["query"], "identity": HOSTILE, "path": HOSTILE}
    errors["map"][0] |= {"identity": HOSTILE, "camera": HOSTILE, "path": HOSTILE}
    errors["confused"][0]["with"] = HOSTILE
    errors["by_identity"][0]["identity"] = HOSTILE
    reported_study.write(made.folder / "errors.json", errors)
    made.note(command=f"search {HOSTILE}", images_left_out=[HOSTILE, "\udcff.jpg"])
    page = page_of(made)
    assert "img" not in page.tags and page.tags.count("script") == 6
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.words.count(HOSTILE) > 5 and "<img src=x onerror=alert(2)>" in page.words
    record = json.loads(page.record)
    assert record["map"][0][0] == HOSTILE and HOSTILE in record["trials"][-1]["values"]


@pytest.mark.parametrize("value", [HOSTILE, "<!--", "&lt;", "\u2028", 'a"b\\c'])
def test_json_in_a_script_is_read_as_it_was(value):
    text = str(as_json({"a": value}))
    assert "<" not in text and "&" not in text and json.loads(text) == {"a": value}


@pytest.mark.parametrize("value", [0.3, 1e-5, 12, True, None, "soft", "true", "1e3", "a: b", HOSTILE, "x'y", ""])
def test_values_are_yaml_s(value):
    assert yaml.safe_load(as_yaml(value)) == value and type(yaml.safe_load(as_yaml(value))) is type(value)


def test_an_empty_study_has_a_page(tmp_path):
    page = page_of(made_up_study(tmp_path / "study", trials=0, in_memory=True))
    assert "No trial has begun." in page.words and "No trial has completed a schedule yet" in page.words


def test_a_study_of_failed_trials_has_a_page(tmp_path):
    made = made_up_study(tmp_path / "study", trials=1, in_memory=True, ended=False)
    number = made.add(made.space.default)
    made.finish(number, TrialState.FAILED, Cause(Kind.ERROR, "OSError: <x>"))
    record = json.loads(page_of(made).record)
    assert record["trials"][1]["cause"] == "OSError: <x>" and record["trials"][1]["score"] is None


def test_an_unfinished_study_says_how_it_goes_on(tmp_path):
    made = made_up_study(tmp_path / "study", trials=5, in_memory=True, ended=False)
    number = made.add({**made.space.default, "learning_rate": 5e-4})
    made.record(number, 4, epoch_report(1, num_epochs=4, val_mAP=0.2))
    words = page_of(made).words
    assert "The search is not finished" in words and made.facts["command"] in words and "Best so far" in words


def test_a_study_of_two_metrics_shows_its_front(tmp_path):
    made = made_up_study(tmp_path / "study", trials=20, metrics=TWO_METRICS, in_memory=True)
    page = page_of(made)
    record = json.loads(page.record)
    assert "Pareto front" in page.words and record["costs"] == [{"name": "parameters", "label": "parameters"}]
    scored = [row for row in record["trials"] if row["expected"] is not None and row["state"] != "failed"]
    for row in scored:  # the plain definition
        beaten = any(
            other["costs"][0] <= row["costs"][0] and other["expected"] >= row["expected"]
            and (other["costs"][0] < row["costs"][0] or other["expected"] > row["expected"])
            for other in scored
        )  # fmt: skip
        assert row["front"] == (not beaten)


def test_a_parameter_that_does_not_count_has_no_place(study):
    record = json.loads(page_of(study).record)
    names = [axis["name"] for axis in record["axes"]]
    for row in record["trials"]:
        values = dict(zip(names, row["values"], strict=True))
        assert (values["momentum"] is None) == (values["optimizer"] == "adamw")
        assert [place is None for place in row["places"]] == [value is None for value in row["values"]]


@pytest.mark.parametrize("lost", ["threshold", "map", "lists", "camera_pairs", "by_identity", "confused", "mAP"])
@pytest.mark.parametrize("gone", [True, False])
def test_what_errors_json_does_not_have_is_left_out(tmp_path, data_dir, lost, gone):
    made = Study(tmp_path / "study", read_space(space_file(tmp_path)), in_memory=True)
    errors = {**made_up_errors(data_dir, points=30, lists=1), lost: None}
    made.folder.mkdir(exist_ok=True)
    reported_study.write(made.folder / "errors.json", {k: v for k, v in errors.items() if not (gone and k == lost)})
    ids = [value for name, value in page_of(made, running=True).attributes if name == "id"]
    assert ("threshold" in ids, "map" in ids, "errors" in ids) == (lost != "threshold", lost != "map", True)


def space_file(folder: Path) -> Path:
    (folder / "space.yaml").write_text("search: {margin: [0.1, 0.3]}\nstudy: {rungs: [2]}\n")
    return folder / "space.yaml"


def test_a_damaged_errors_json_costs_only_its_sections(study):
    kept = (study.folder / "errors.json").read_text()
    try:
        for damaged in ("{", "[]", '{"lists": 3}', '{"map": [{"x": "a"}]}'):
            (study.folder / "errors.json").write_text(damaged)
            assert "Winner" in page_of(study, running=True).words
    finally:
        (study.folder / "errors.json").write_text(kept)


def test_only_a_running_search_s_page_reloads_itself(study):
    assert 'http-equiv="refresh"' in write_page(study, running=True).read_text()
    assert 'http-equiv="refresh"' not in write_page(study, figures={}).read_text()


def test_a_live_page_is_opened_once_and_written_again_when_due(study, monkeypatch):
    opened, now = list[str](), [100.0]
    monkeypatch.setattr(live_page.time, "monotonic", lambda: now[0])

    class Browser:
        def open(self, url):
            opened.append(url)
            return True

    monkeypatch.setattr(webbrowser, "get", Browser)
    file = study.folder / "report.html"
    page = LivePage(study)
    page.begin()
    assert opened == [file.absolute().as_uri()]
    for later, written in ((1.0, False), (live_page.RELOAD_S, True)):
        file.write_text("")
        now[0] += later
        page.refresh()
        assert bool(file.read_text()) == written
    assert len(opened) == 1


def test_a_page_that_cannot_be_written_ends_no_search(study, monkeypatch, caplog):
    def fails(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(live_page, "write_page", fails)
    LivePage(study).refresh()
    assert "No space left" in caplog.text


def test_where_no_browser_opens_the_path_is_told(study, monkeypatch, capsys):
    def none():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    page_of_finished(study, images=None, opens=True)
    assert str(study.folder / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("winner: trial 7, x; better than the default by +0.1", "better than the default"),
        ("winner: trial 7, x; it cannot be told from the default, from", "not distinguishable from the default"),
        ("winner: trial 7, x; worse than the default by", "worse than the default"),
        ("winner: trial 7, x; it differs by +0.1; whether that is more than luck cannot be told: no", "may be luck"),
        ("winner: trial 7, x; the default was never trained, so that", None),
    ],
)
def test_a_verdict_in_a_few_words(said, short):
    assert outcome_of(said) == short


def test_the_fact_is_listed():
    assert "report_images" in Facts.__annotations__


def test_pictures_in_the_page_have_no_fixed_colours(study, figures):
    text = write_page(study, figures=figures).read_text()
    (training,) = re.findall(r'<svg [^>]*aria-label="best training history".*?</svg>', text, flags=re.DOTALL)
    assert "var(--blue)" in training and not re.search(r"(fill|stroke): #", training)


def test_a_small_picture_is_as_bright_as_what_the_model_saw(tmp_path):
    """Grey of 12 bits in 16, its mean in the middle: Pillow alone would show it white."""
    grey_HW = np.linspace(0, 4095, 64 * 32).astype(np.uint16).reshape(64, 32)
    Image.fromarray(grey_HW).save(tmp_path / "a.png")
    written = base64.b64decode(thumbnail(tmp_path / "a.png").partition(",")[2])
    shown_HW3 = np.asarray(Image.open(io.BytesIO(written)).convert("RGB"))
    assert abs(shown_HW3.mean() - 127) < 4 and shown_HW3.min() < 20 and shown_HW3.max() > 235


def test_a_small_picture_starts_no_program(tmp_path, monkeypatch):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tmp_path / "a.jpg").write_bytes(postscript)
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("subprocess.check_call", None)
    with pytest.raises(UserError, match="none of JPEG"):
        thumbnail(tmp_path / "a.jpg")
