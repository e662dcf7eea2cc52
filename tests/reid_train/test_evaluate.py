"""Weights to features to figures, in the process and by `python -m reid_train.evaluate`."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import torch
from PIL import Image, ImageOps

import reid_train.evaluate
from data.pixels.cache import open_pixels
from data.sets.readers import read_test
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import (
    DESCRIPTION,
    WEIGHTS,
    build_model,
    load_checkpoint,
    load_network,
    save_checkpoint,
)
from reid_train.inference.checkpoint_scores import evaluate_checkpoint, print_summary
from reid_train.inference.evaluation_count import describe_count, read_test_metrics, record_evaluation
from reid_train.measure.features import extract_features
from reid_train.measure.metrics import evaluate_distances
from reid_train.measure.rerank import rerank_distances
from reid_train.measure.scores import score, summary
from tests.reid_train.conftest import HEIGHT, WIDTH, run_module, tiny_config

RANKS = ("rank1", "rank5", "rank10")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A ResNet-18 with random weights, of 9 identities."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    model = build_model(tiny_config(), 9)
    save_checkpoint(
        folder, model.state_dict(), config=tiny_config(), epoch=3, metrics={"loss": 1.5}, identities=list(range(9))
    )
    return folder


@pytest.fixture(scope="session")
def sides(data_dir):
    return read_test(data_dir)


def features_of(model, sides, cache_dir, **options):
    samples = [*sides[0], *sides[1]]
    pixels = open_pixels(samples, height=HEIGHT, width=WIDTH, cache_dir=cache_dir)
    arguments = {"device": torch.device("cpu"), "precision": torch.float32, **options}
    return pixels, extract_features(model, pixels, samples, **arguments)


def test_features_are_the_models_image_by_image_and_flipped_ones_are_averaged(checkpoint, sides, cache_dir):
    model, _ = load_network(checkpoint)
    pixels, features = features_of(model, sides, cache_dir)
    _, both = features_of(model, sides, cache_dir, flip_tta=True)
    for index in (0, 5, len(pixels) - 1):
        picture = torch.from_numpy(pixels.read([index])).permute(0, 3, 1, 2)
        with torch.no_grad():
            straight, mirrored = model.features(picture)[0], model.features(picture.flip(3))[0]
        torch.testing.assert_close(features[index], straight, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(both[index], (straight + mirrored) / 2, atol=1e-4, rtol=1e-4)


def test_rank_1_and_map_equal_a_plain_loop(checkpoint, sides, cache_dir):
    model, _ = load_network(checkpoint)
    _, features = features_of(model, sides, cache_dir)
    with torch.no_grad():
        embeddings = torch.nn.functional.normalize(model.neck(features)).double()
    query, gallery = sides
    precisions, first = [], []
    for place, sample in enumerate(query):
        similar = embeddings[len(query) :] @ embeddings[place]
        order = similar.argsort(descending=True).tolist()
        others = [gallery[i] for i in order]
        others = [g for g in others if (g.identity, g.camera) != (sample.identity, sample.camera)]
        hits = [rank for rank, g in enumerate(others, 1) if g.identity == sample.identity]
        precisions.append(sum(number / rank for number, rank in enumerate(hits, 1)) / len(hits))
        first.append(hits[0] == 1)
    figures = summary(evaluate_checkpoint(checkpoint, query, gallery, device="cpu", cache_dir=cache_dir))
    assert figures["mAP"] == pytest.approx(sum(precisions) / len(precisions), abs=1e-6)
    assert figures["rank1"] == pytest.approx(sum(first) / len(first))
    assert figures["queries"] == len(query)


def test_embeddings_that_tell_identities_apart_score_1(sides):
    query, gallery = sides
    embeddings = torch.zeros(len(query) + len(gallery), 20)
    for place, sample in enumerate([*query, *gallery]):
        embeddings[place, sample.identity] = 1
    for rerank in (False, True):
        metrics = score(embeddings, query, gallery, rerank=rerank)
        assert metrics.mAP == metrics.mINP == metrics.cmc[0] == 1


def test_intervals_are_those_of_each_querys_own_figures(sides):
    """A perfect half and a hopeless half of 4 identities: means of 4 draws of 0 or 1, nothing between."""
    query, gallery = sides
    found = sorted({sample.identity for sample in query})
    assert len(found) == 4
    embeddings = torch.zeros(len(query) + len(gallery), 20)
    for place, sample in enumerate([*query, *gallery]):
        # Queries of the first two look like nobody, so that all of the gallery is just as close: ties come last.
        if place >= len(query) or sample.identity in found[2:]:
            embeddings[place, sample.identity] = 1
    figures = summary(score(embeddings, query, gallery))
    assert figures["rank1"] == 0.5 and figures["identities"] == 4
    assert figures["intervals"]["rank1"] == [0, 1]  # each end with a chance of 1 in 16
    lonely = [sample for sample in query if sample.identity == found[3]]
    places = [place for place, sample in enumerate(query) if sample in lonely]
    one = summary(score(torch.cat([embeddings[places], embeddings[len(query) :]]), lonely, gallery))
    assert one["intervals"] is None and one["identities"] == 1 and one["rank1"] == 1
    print_summary(one, "one identity")


def evaluate(monkeypatch, cache_dir, *arguments) -> int:
    """The exit code of the command, run in this process: a new one takes seconds to start."""
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments), "--device", "cpu"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir))
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        reid_train.evaluate.main()
    return ended.value.code  # type: ignore[return-value]


def test_the_command_prints_a_table_and_writes_json(checkpoint, data_dir, sides, cache_dir, capsys, monkeypatch):
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", checkpoint, "--data-dir", data_dir.parent) == 0
    printed = capsys.readouterr().out
    figures = json.loads((checkpoint / "evaluation.json").read_text())
    expected = summary(evaluate_checkpoint(checkpoint, *sides, device="cpu", cache_dir=cache_dir))
    intervals = expected.pop("intervals")
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["intervals"].keys() == intervals.keys() == {"mAP", "mAP_trapezoid", *RANKS, "mINP"}
    for name, (low, high) in figures["intervals"].items():
        assert 0 <= low <= figures[name] <= high <= 1, name
        assert figures[name] == 1 or f"{100 * low:.2f} to {100 * high:.2f}" in printed
    assert (figures["flip_tta"], figures["rerank"], figures["data_dir"]) == (False, False, str(data_dir.parent))
    assert f"{100 * expected['mAP']:.2f} %" in printed and "CMC rank 10" in printed


def test_flipping_and_re_ranking_run_and_change_the_figures(checkpoint, data_dir, sides, cache_dir, tmp_path):
    arguments = ["--checkpoint", checkpoint / WEIGHTS, "--data-dir", data_dir, "--dataset", "market1501"]
    arguments += ["--flip-tta", "--rerank", "--device", "cpu", "--out", tmp_path / "deep" / "out.json"]
    done = run_module("reid_train.evaluate", *arguments, XDG_CACHE_HOME=str(cache_dir))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "deep" / "out.json").read_text())
    assert figures["flip_tta"] and figures["rerank"]
    model, _ = load_network(checkpoint)
    _, features = features_of(model, sides, cache_dir, flip_tta=True)
    query, gallery = sides
    with torch.no_grad():
        embeddings = model.neck(features)
    distances = rerank_distances(embeddings[: len(query)], embeddings[len(query) :])
    labels = [torch.tensor(column) for side in sides for column in list(zip(*side, strict=True))[1:3]]
    expected = evaluate_distances(distances, *labels)
    assert (figures["mAP"], figures["mINP"]) == pytest.approx((expected.mAP, expected.mINP))
    assert figures["mAP"] != pytest.approx(score(embeddings, query, gallery).mAP, abs=1e-4)


def test_evaluating_what_lies_in_a_study_is_counted_there_and_elsewhere_is_not(
    checkpoint, data_dir, cache_dir, tmp_path, capsys, monkeypatch
):
    study = tmp_path / "study"
    for folder in (study / "best", study / "trials" / "3" / "2-epochs", tmp_path / "apart"):
        shutil.copytree(checkpoint, folder)
    (study / "study.db").touch()
    (study / "test_metrics.json").write_text('{"trial": 3, "mAP": 0.5, "evaluations": [{"for": "search\'s end"}]}')

    def run(folder, *options):
        assert evaluate(monkeypatch, cache_dir, "--checkpoint", folder, "--data-dir", data_dir, *options) == 0
        return capsys.readouterr().out

    assert "evaluated 2 times for this study (search's end, evaluate)" in run(study / "best")
    assert "(search's end, evaluate 2 times)" in run(study / "trials" / "3" / "2-epochs" / WEIGHTS, "--flip-tta")
    assert "this study" not in run(tmp_path / "apart")
    kept = json.loads((study / "test_metrics.json").read_text())
    assert (kept["trial"], kept["mAP"]) == (3, 0.5), "the winner's own figures stay"
    purposes = [evaluation["for"] for evaluation in kept["evaluations"]]
    assert purposes[0] == "search's end" and len(purposes) == 3
    assert f"{study / 'best'} on {data_dir}" in purposes[1] and purposes[2].endswith(", flipped too")
    assert datetime.fromisoformat(kept["evaluations"][2]["when"]).tzinfo


def mirrored(folder, target):
    """A data set of the same names whose pictures are other ones."""
    for file in folder.rglob("*.png"):
        place = target / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        ImageOps.mirror(Image.open(file)).save(place)
    return target


def test_other_images_are_no_look_at_the_studys_own_and_a_copy_of_its_own_is(
    checkpoint, data_dir, cache_dir, tmp_path, capsys, monkeypatch
):
    study = tmp_path / "study"
    shutil.copytree(checkpoint, study / "best")
    (study / "study.db").touch()
    (study / "best_config.yaml").write_text(f"data_dir: {data_dir}\n")
    copy, other = shutil.copytree(data_dir, tmp_path / "copy"), mirrored(data_dir, tmp_path / "other")
    for folder, count in ((other, 0), (copy, 1), (data_dir, 2), (other, 2)):
        assert evaluate(monkeypatch, cache_dir, "--checkpoint", study / "best", "--data-dir", folder) == 0
        assert ("for this study" in capsys.readouterr().out) == (folder != other)
        assert len(read_test_metrics(study).get("evaluations", [])) == count
    some = shutil.copytree(data_dir, tmp_path / "some")
    for file in sorted((some / "query").iterdir())[:3]:
        file.rename(file.with_name(f"x{file.name}"))
    (study / "best_config.yaml").write_text(f"data_dir: {some}\nmax_left_out: 0.9\n")
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", study / "best", "--data-dir", other) == 0
    assert len(read_test_metrics(study)["evaluations"]) == 2, "so many of its own may be left out"
    (study / "best_config.yaml").write_text(f"data_dir: {tmp_path / 'gone'}\n")
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", study / "best", "--data-dir", other) == 0
    assert len(read_test_metrics(study)["evaluations"]) == 3, "which images are its own cannot be told"


def test_a_failed_evaluation_is_not_counted_and_an_uncountable_one_not_shown(
    checkpoint, data_dir, cache_dir, tmp_path, capsys, monkeypatch
):
    shutil.copytree(checkpoint, tmp_path / "best", ignore=shutil.ignore_patterns("evaluation.json"))
    (tmp_path / "study.db").touch()
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", tmp_path / "best", "--data-dir", tmp_path / "none") == 2
    assert not (tmp_path / "test_metrics.json").exists()
    (tmp_path / ".test_metrics.json.lock").mkdir()  # what cannot be written, for root too
    capsys.readouterr()
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", tmp_path / "best", "--data-dir", data_dir) == 2
    printed = capsys.readouterr()
    assert "test_metrics.json: cannot be written" in printed.err and printed.err.count("\n") == 1
    assert printed.out == "" and not (tmp_path / "best" / "evaluation.json").exists()


def test_evaluations_counted_at_once_are_all_counted(tmp_path):
    (tmp_path / "study.db").touch()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: record_evaluation(tmp_path, f"retrain, seed {seed}"), range(40)))
    evaluations = read_test_metrics(tmp_path)["evaluations"]
    assert sorted(int(evaluation["for"].split()[-1]) for evaluation in evaluations) == list(range(40))
    assert describe_count(evaluations) == "evaluated 40 times for this study (retrain 40 times)"
    assert describe_count(evaluations[:1]) == "evaluated once for this study (retrain)"


def damaged(checkpoint, folder, how):
    (folder / WEIGHTS).write_bytes(how((checkpoint / WEIGHTS).read_bytes()))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        lambda checkpoint, data, tmp: (tmp / "none", data),
        lambda checkpoint, data, tmp: (tmp, data),  # a folder without a checkpoint
        lambda checkpoint, data, tmp: (checkpoint / DESCRIPTION, data),
        lambda checkpoint, data, tmp: (damaged(checkpoint, tmp, lambda content: content[:-1000]), data),
        lambda checkpoint, data, tmp: (damaged(checkpoint, tmp, lambda content: b"no weights"), data),
        lambda checkpoint, data, tmp: (checkpoint, tmp / "none"),
        lambda checkpoint, data, tmp: (checkpoint, tmp),  # an empty folder
        lambda checkpoint, data, tmp: (checkpoint, data / "query"),
    ],
    ids=["no checkpoint", "empty", "JSON", "cut", "text", "no data", "empty data", "one split of the data"],
)
def test_what_is_not_there_or_damaged_is_one_line_with_exit_code_2(
    checkpoint, data_dir, tmp_path, arguments, cache_dir, capsys, monkeypatch
):
    folder, data = arguments(checkpoint, data_dir, tmp_path)
    assert evaluate(monkeypatch, cache_dir, "--checkpoint", folder, "--data-dir", data) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ") and printed.out == ""
    assert str(folder) in line or str(data) in line


def test_a_checkpoint_whose_class_count_differs_from_its_description_is_refused(tmp_path):
    model = build_model(tiny_config(), 9)
    save_checkpoint(tmp_path, model.state_dict(), config=tiny_config(), epoch=1, metrics={}, identities=[1, 2, 3])
    with pytest.raises(UserError, match=r"do not fit its own description: .*classifier\.weight"):
        load_network(tmp_path)


def test_a_checkpoint_of_another_class_count_is_evaluated_all_the_same(checkpoint, sides, cache_dir):
    assert len(load_checkpoint(checkpoint).identities) == 9  # the data set has 14
    assert evaluate_checkpoint(checkpoint, *sides, device="cpu", cache_dir=cache_dir).queries == len(sides[0])
