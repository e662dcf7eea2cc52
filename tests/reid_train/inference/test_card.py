"""Model cards, read as the Hugging Face hub reads them: what is on record stands there, and no folder of anybody's."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard

from data.system.errors import UserError
from reid_train import export as module
from reid_train.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from reid_train.inference.card import write_card
from tests.reid_train.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("narrow")
FIGURES = {"mAP": 0.612, "mAP_trapezoid": 0.62, "rank1": 0.8, "rank5": 0.9, "rank10": 0.95, "mINP": 0.3}
FIGURES |= {"queries": 40, "identities": 9, "intervals": {"mAP": [0.55, 0.67]}}
THRESHOLD = {
    "measured_on": "validation identities", "identities": 20, "pairs_same": 1200, "pairs_different": 50000,
    "eer": {"threshold": 0.41, "rate": 0.05, "low": 0.03, "high": 0.08},
    "at": [{"false_positive_rate": 0.001, "threshold": 0.62, "true_positive_rate": 0.71, "low": 0.6, "high": 0.8}],
}  # fmt: skip


@pytest.fixture
def best(narrow_checkpoint, tmp_path):
    """best/ of a study called `lane` whose winner was tested at its end and looked at twice more."""
    study = tmp_path / "lane"
    shutil.copytree(narrow_checkpoint, study / "best")
    (study / "study.db").touch()
    winner = {"of": "trial 7", "epochs": 3}
    (study / "best" / "trial.json").write_text(json.dumps(winner))
    looks = [{"for": "search's end, trial 7"}, {"for": "evaluate, x"}, {"for": "evaluate, y"}]
    recorded = {"best": winner, "dataset": "market1501", **FIGURES, "evaluations": looks}
    (study / "test_metrics.json").write_text(json.dumps(recorded))
    (study / "environment.json").write_text(json.dumps({"data_fingerprint": "f" * 64, "images_left_out": ["a"]}))
    return study / "best"


def test_a_winners_card_has_figures_with_intervals_looks_data_and_threshold(best):
    (best / "threshold.json").write_text(json.dumps(THRESHOLD))
    card = ModelCard.load(write_card(best))
    assert card.data.library_name == "reid-tuning" and card.data.license == "unknown"
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {name: FIGURES[name] for name in ("mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP")}
    assert {result.dataset_type for result in card.data.eval_results} == {"market1501"}
    text = card.text
    assert "| mAP (mean of precisions) | 61.2% | 55.0% to 67.0% |" in text
    assert "evaluated 3 times for this study (search's end, evaluate 2 times)" in text
    assert f"`{'f' * 64}`" in text and "| identities learned from | 9 |" in text
    assert "| images left out, as they cannot be decoded | 1 |" in text
    assert "| 1 in 1,000 | 0.620 | 71.0% (60.0% to 80.0%) |" in text
    assert "Both errors are alike at 0.410: 5.0% (3.0% to 8.0%)." in text
    assert load_checkpoint(best).digest in text and "| `image_height` | 32 |" in text
    assert "Not for:" in text and "Licence" in text


def test_what_nobody_recorded_is_said_to_be_unknown(narrow_checkpoint):
    card = ModelCard.load(write_card(narrow_checkpoint))
    assert card.data.eval_results is None
    for said in ("On test images: not measured.", "Not measured. Measure it on pairs", "layout unknown", "not known"):
        assert said in card.text
    (narrow_checkpoint / "evaluation.json").write_text(json.dumps({**FIGURES, "weights_sha256": "of others"}))
    assert ModelCard.load(write_card(narrow_checkpoint)).data.eval_results is None
    own = {**FIGURES, "weights_sha256": load_checkpoint(narrow_checkpoint).digest, "flip_tta": True}
    (narrow_checkpoint / "evaluation.json").write_text(json.dumps(own))
    text = write_card(narrow_checkpoint).read_text()
    assert "61.2%" in text and "flipped too" in text and "was not counted" in text


def test_figures_of_another_winner_are_not_this_ones(best):
    (best / "trial.json").write_text(json.dumps({"of": "trial 8"}))
    assert "On test images: not measured." in write_card(best).read_text()


def test_folders_are_named_only_where_that_is_asked_for(narrow_checkpoint, tmp_path):
    loaded = load_checkpoint(narrow_checkpoint)
    places = {"data_dir": "/home/ann/secret", "pretrained": "/home/ann/weights.pth", "teacher": "/home/ann/teacher"}
    config = tiny_config(**places)
    described = {"config": config, "epoch": 3, "metrics": {"val_mAP": 0.5}, "identities": loaded.identities}
    save_checkpoint(tmp_path / "own", loaded.weights, **described)
    text = write_card(tmp_path / "own", data_name="Gate cameras, May").read_text()
    assert "/home/ann" not in text and str(tmp_path) not in text
    assert "| data set | Gate cameras, May |" in text and "mAP 50.0%" in text
    text = write_card(tmp_path / "own", with_paths=True).read_text()
    assert all(place in text for place in places.values())


def test_somebodys_own_readme_is_not_overwritten(narrow_checkpoint):
    (narrow_checkpoint / "README.md").write_text("# Mine\n")
    with pytest.raises(UserError, match=r"README\.md: is there already and no model card of this project"):
        write_card(narrow_checkpoint)
    assert (narrow_checkpoint / "README.md").read_text() == "# Mine\n"


def test_export_writes_a_card_that_tells_of_its_file(narrow_checkpoint, tmp_path, monkeypatch, capsys):
    options = [
        "--checkpoint",
        narrow_checkpoint,
        "--format",
        "pt2",
        "--input",
        "float",
        "--card",
        "--data-name",
        "Gate",
    ]
    monkeypatch.setattr("sys.argv", ["export", *map(str, options), "--out", str(tmp_path / "out" / "m.pt2")])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0 and f"model card: {tmp_path / 'out' / 'README.md'}" in capsys.readouterr().out
    text = (tmp_path / "out" / "README.md").read_text()
    assert "`m.pt2` runs without it. In: images: float32 RGB, normalised: (image / 255 - mean) / std" in text
    assert yaml.safe_load(text.split("---")[1])["pipeline_tag"] == "image-feature-extraction"
