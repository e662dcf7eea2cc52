"""Where a checkpoint errs, by the command and for programs: which images, what is counted, kept and refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import reid_train.errors
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.sets.splits import split_identities
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from reid_train.errors import find_errors
from reid_train.inference.checkpoint_errors import keep_threshold
from reid_train.inference.embedder import load_model
from reid_train.inference.embedding_map import embedding_map
from reid_train.inference.error_report import choose_queries
from reid_train.inference.error_tables import print_errors, threshold_lines
from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.inference.export_formats import export
from reid_train.inference.threshold import Threshold, read_threshold
from reid_train.train import main as train
from tests.reid_train.conftest import HEIGHT, TINY, WIDTH, tiny_config

pytestmark = pytest.mark.usefixtures("narrow")


def relabelled(checkpoint, folder, identities, **settings):
    """The checkpoint's weights, with the classifier that so many identities need, as trained with these settings."""
    weights = dict(load_checkpoint(checkpoint).weights)
    weights["classifier.weight"] = torch.randn(len(identities), weights["classifier.weight"].shape[1])
    save_checkpoint(folder, weights, config=tiny_config(**settings), epoch=3, metrics={}, identities=sorted(identities))
    return folder


@pytest.fixture
def trained(narrow_checkpoint, tmp_path, data_dir):
    """A checkpoint that says that it was trained on the 6 identities that validation leaves."""
    identities = {sample.identity for sample in split_identities(read_train(data_dir)).train}
    return relabelled(narrow_checkpoint, tmp_path / "study" / "best", identities, data_dir=str(data_dir))


@pytest.fixture
def ask(monkeypatch, capsys, trained, tmp_path):
    """Runs the command in this process; gives its exit code, and what it wrote to stdout and stderr."""

    def ask(*arguments, checkpoint=trained):
        where = ["--checkpoint", checkpoint, "--device", "cpu", "--cache-dir", tmp_path / "cache"]
        monkeypatch.setattr("sys.argv", ["errors", *map(str, [*where, *arguments])])
        monkeypatch.setenv("COLUMNS", "150")
        with pytest.raises(SystemExit) as ended:
            reid_train.errors.main()
        return ended.value.code, *capsys.readouterr()

    return ask


def errors_of(checkpoint, tmp_path, **named):
    return find_errors(checkpoint, device="cpu", cache_dir=tmp_path / "cache", **named)


def test_the_report_is_of_the_validation_identities_by_a_plain_loop(trained, data_dir, tmp_path):
    report = errors_of(trained, tmp_path)
    split = split_identities(read_train(data_dir))
    model = load_model(trained, device="cpu")
    gallery_ND = model.embed([sample.path for sample in split.gallery])
    precisions, first, of_identity, wrong = [], [], {}, {}
    for own in split.query:
        similar = gallery_ND @ model.embed([own.path])[0]
        order = [g for _, g in sorted(zip(-similar, split.gallery, strict=True))]
        order = [g for g in order if g[1:] != own[1:]]
        hits = [rank for rank, g in enumerate(order, 1) if g.identity == own.identity]
        precisions.append(np.mean([n / rank for n, rank in enumerate(hits, 1)]))
        first.append(hits[0] == 1)
        of_identity.setdefault(str(own.identity), []).append(precisions[-1])
        if hits[0] > 1:
            wrong.setdefault((str(own.identity), str(order[0].identity)), []).append(own)
    assert report["on"] == "validation identities" and report["data_dir"] == str(data_dir)
    assert (report["queries"], report["identities"], report["cameras"]) == (len(split.query), 8, 2)
    assert report["mAP"] == pytest.approx(np.mean(precisions)) and report["rank1"] == pytest.approx(np.mean(first))
    found = {row["identity"]: (row["queries"], row["images"], row["mAP"]) for row in report["by_identity"]}
    assert found == {who: (len(aps), 6, pytest.approx(np.mean(aps))) for who, aps in of_identity.items()}
    means = [row["mAP"] for row in report["by_identity"]]
    assert means == sorted(means)
    assert {(row["identity"], row["with"]): row["queries"] for row in report["confused"]} == {
        pair: len(queries) for pair, queries in wrong.items()
    }
    for row in report["confused"]:
        query, image = row["example"]
        assert (data_dir / query).is_file() and (data_dir / image).is_file()
        assert int((data_dir / image).name[:4]) == int(row["with"])
    lists = report["lists"]
    assert [one["ap"] for one in lists if one["kind"] == "worst"] == pytest.approx(sorted(precisions)[:6])
    paths = [one["query"]["path"] for one in lists]
    assert len({*paths}) == len(paths) and len(lists[0]["ranked"]) == 10
    assert all(
        image["right"] == (image["identity"] == one["query"]["identity"]) for one in lists for image in one["ranked"]
    )
    assert len(report["map"]) == 48 and {row["identity"] for row in report["map"]} == {*of_identity}
    assert report["threshold"]["measured_on"] == "validation identities" and report["threshold"]["images"] == 48


def test_the_command_prints_tables_and_writes_report_picture_and_threshold(ask, trained, tmp_path):
    code, out, _ = ask()
    assert code == 0
    report = json.loads((trained / "errors.json").read_text())
    assert report == errors_of(trained, tmp_path)
    assert f"mAP {100 * report['mAP']:.1f} %, rank 1 {100 * report['rank1']:.1f} % ({report['queries']} queries" in out
    titles = ("camera pairs (", "8 identities ", "another identity at rank 1", "The worst 5 queries", "From which")
    places = [out.find(title, out.index("\n")) for title in titles]
    assert places == sorted(places) and min(places) > 0
    with Image.open(trained / "errors.png") as picture:
        picture.load()
    assert json.loads((trained / "threshold.json").read_text()) == report["threshold"]
    assert ask("--json", "--out", tmp_path / "deep" / "out.json")[1] == (trained / "errors.json").read_text()
    assert (tmp_path / "deep" / "out.json").is_file() and (tmp_path / "deep" / "out.png").is_file()


def test_test_images_are_looked_at_only_when_asked_and_each_look_is_counted(ask, trained, data_dir, tmp_path):
    study = trained.parent
    (study / "study.db").touch()
    (study / "best_config.yaml").write_text(f"data_dir: {data_dir}\n")
    _, out, _ = ask()
    assert read_test_metrics(study) == {} and "test images" not in out
    kept = (trained / "threshold.json").read_text()
    _, out, _ = ask("--test")
    assert "on the test images: mAP" in out and "evaluated once for this study (errors)" in out
    assert "the model's threshold stays the one that was measured on validation identities" in out
    assert (trained / "threshold.json").read_text() == kept
    report = json.loads((trained / "errors.json").read_text())
    assert report["on"] == "test images" and report["threshold"]["measured_on"] == "test images"
    assert {row["identity"] for row in report["by_identity"]} == {"15", "16", "17", "18"}
    errors_of(trained, tmp_path, test=True)
    counted = read_test_metrics(study)["evaluations"]
    assert [each["for"] for each in counted] == [f"errors, {trained} on {data_dir}"] * 2


def test_a_checkpoint_that_was_trained_on_all_identities_has_none_to_look_at(
    ask, trained, narrow_checkpoint, tmp_path, data_dir
):
    study = trained.parent
    (study / "study.db").touch()
    again = relabelled(narrow_checkpoint, study / "retrain" / "one", range(1, 15), data_dir=str(data_dir))
    code, _, err = ask(checkpoint=again)
    assert code == 2 and err.count("\n") == 1
    assert "trained on all identities" in err and "--test" in err and str(study / "best") in err
    code, out, _ = ask("--test", checkpoint=again)
    assert code == 0 and "it was chosen on the test images, so test figures made with it flatter" in out
    assert load_model(again, device="cpu").threshold.measured_on == "test images"


def test_another_data_set_is_no_validation_of_this_one(ask, trained, narrow_checkpoint, data_dir, tmp_path):
    moved = shutil.copytree(data_dir, tmp_path / "moved" / "market")
    assert ask("--data-dir", moved.parent)[0] == 0, "the same images elsewhere are the same"
    for file in (moved / "bounding_box_train").glob("0014_*"):
        file.unlink()
    code, _, err = ask("--data-dir", moved)
    assert code == 2 and "not the images that" in err and "--data-dir" in err and err.count("\n") == 1


def test_mistakes_give_one_line(ask, trained, tmp_path):
    for arguments, message in (
        (["--data-dir", tmp_path / "nowhere"], "nowhere: no such folder"),
        (["--out", tmp_path / "a.png"], "ends in .png"),
        (["--out", tmp_path], "is a folder"),
    ):
        code, _, err = ask(*arguments)
        assert code == 2 and err.count("\n") == 1 and message in err, err
    (trained / "threshold.json").write_text('{"at": 3}')
    code, _, err = ask()
    assert code == 2 and "threshold.json: damaged" in err and err.count("\n") == 1


def manifest(folder, rows):
    """A data set of drawn pictures: `rows` are path, identity, camera and split."""
    rng = np.random.default_rng(0)
    colours = {}
    for path, identity, *_ in rows:
        colour = colours.setdefault(identity, rng.uniform(20, 230, 3))
        picture = np.clip(colour + rng.normal(0, 25, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / path)
    lines = ["path,identity,camera,split", *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def rows_of(identities, cameras, split, each=2):
    return [
        (f"{split} {who} {camera} {number}.png", who, camera, split)
        for who in identities
        for camera in cameras
        for number in range(each)
    ]


def test_hostile_names_and_distractors_are_shown_as_they_are(ask, tmp_path):
    people = ["[red]van", "$x$", ":smile:", "|a*b"]
    rows = rows_of(people, ["gate [1]"], "query", 1) + rows_of(people, ["yard", "gate [1]"], "gallery")
    rows += [(f"nobody {number}.png", "0", "yard", "gallery") for number in range(3)]
    code, out, err = ask("--test", "--data-dir", manifest(tmp_path / "a [b] $c$", rows), "--out", tmp_path / "e.json")
    assert code == 0, err
    report = json.loads((tmp_path / "e.json").read_text())
    assert {row["identity"] for row in report["by_identity"]} == {*people}
    assert {(p["query"], p["gallery"]) for p in report["camera_pairs"]} == {("gate [1]", "yard")}
    assert "[red]van" in out and ":smile:" in out and "gate [1]" in out
    assert any(image["identity"] == "distractor" for one in report["lists"] for image in one["ranked"])
    assert not any(row["identity"] == "distractor" for row in report["map"])
    assert report["threshold"]["identities"] == 4, "distractors make no pairs"


@pytest.mark.parametrize("people", [["a", "b"], ["a", "b", "c"]])
def test_one_camera_few_identities_and_one_query(ask, tmp_path, people):
    rows = [*rows_of(people[:1], ["1"], "query", 1), *rows_of(people, ["1"], "gallery")]
    code, out, err = ask("--test", "--data-dir", manifest(tmp_path / "one", rows), "--out", tmp_path / "e.json")
    assert code == 0, err
    report = json.loads((tmp_path / "e.json").read_text())
    assert (report["queries"], report["identities"], report["cameras"]) == (1, 1, 1)
    assert "one camera took all images" in out and "too few identities for intervals" in out
    assert report["threshold"]["pairs_same"] == 3 + len(people) - 1
    assert "(one camera took all)" in report["threshold"]["pairs"]
    assert [one["kind"] for one in report["lists"]] == ["worst"]


def test_without_pairs_there_is_no_threshold_and_all_else_is_told(ask, trained, tmp_path):
    rows = [*rows_of(["a"], ["1"], "query", 1), *rows_of(["a"], ["2"], "gallery", 1)]
    code, out, err = ask("--test", "--data-dir", manifest(tmp_path / "one", rows), "--out", tmp_path / "e.json")
    assert code == 0, err
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["threshold"] is None and report["map"] == [] and "no threshold: " in out
    assert report["confused"] == [] and not (trained / "threshold.json").exists()


def test_queries_are_listed_once_the_worst_first_and_the_random_ones_by_seed():
    precisions = np.random.default_rng(0).random(40)
    chosen = choose_queries(precisions, 0)
    order = np.argsort(precisions).tolist()
    assert chosen["worst"] == order[:6] and chosen["best"] == order[::-1][:6]
    assert len(chosen["random"]) == 6 and not {*chosen["random"]} & {*order[:6], *order[-6:]}
    assert chosen == choose_queries(precisions, 0) != choose_queries(precisions, 1)
    for few in (1, 2, 3, 5):
        lists = choose_queries(precisions[:few], 0)
        assert sorted(place for places in lists.values() for place in places) == [*range(few)]


def test_the_map_keeps_identities_together_draws_whole_ones_and_is_the_same_again():
    rng = np.random.default_rng(0)
    identity_N = np.repeat(np.arange(6), 10)
    embedding_ND = np.eye(6, 8)[identity_N] + 0.02 * rng.normal(size=(60, 8))
    place_M, at_M2 = embedding_map(embedding_ND.astype(np.float32), identity_N)
    assert place_M.tolist() == [*range(60)]
    distances = np.linalg.norm(at_M2[:, None] - at_M2, axis=2) + 1e9 * np.eye(60)
    assert (identity_N[distances.argmin(axis=1)] == identity_N).mean() > 0.95
    np.testing.assert_array_equal(embedding_map(embedding_ND.astype(np.float32), identity_N)[1], at_M2)
    drawn, _ = embedding_map(embedding_ND.astype(np.float32), identity_N, most=25)
    assert len(drawn) == 20 and len({*identity_N[drawn]}) == 2
    for nothing in (embedding_ND[:4], np.ones((9, 3)), embedding_ND[:0]):
        assert len(embedding_map(nothing, identity_N[: len(nothing)])[0]) == 0


def threshold(**changes):
    points = [(0.62, 0.01, 0.71), (0.7, 0.001, 0.5)]
    at = [dict(zip(("threshold", "false_positive_rate", "true_positive_rate"), p, strict=True)) for p in points]
    eer = {"threshold": 0.55, "rate": 0.05}
    told = {"measured_on": "validation identities", "identities": 20, "pairs_same": 900, "pairs_different": 20_000}
    return Threshold(**{**told, "eer": eer, "at": at, "weights_sha256": "a", **changes})


def test_a_verdict_names_the_strictest_threshold_that_is_reached():
    both = threshold()
    assert both.verdict(0.69) == "same (0.69, threshold 0.62: 1 false in 100)"
    assert both.verdict(0.7) == "same (0.70, threshold 0.70: 1 false in 1,000)"
    assert both.verdict(0.6).startswith("not the same, probably (0.60, threshold 0.62: 71 % of the pairs of one")
    assert both.verdict_in(0.41, 50).startswith("no such identity in this gallery, probably (0.41, threshold 0.62")
    assert both.verdict_in(0.65, 30) == "the first is the same (0.65, threshold 0.62: 1 false in 100)"
    assert both.verdict_in(0.65, 3000).endswith("; among 3,000 images about 30 of other identities would seem so, too")
    assert both.similarity(0.001) == 0.7
    with pytest.raises(UserError, match=r"0\.0001: no threshold was measured at it; there are: 0\.01, 0\.001"):
        both.similarity(1e-4)
    weak = threshold(at=[{"threshold": 0.62, "false_positive_rate": 0.01, "true_positive_rate": 0.2}])
    assert weak.verdict_in(0.41, 50).startswith("whether this identity is here cannot be told")
    few = threshold(at=[])
    assert few.verdict(0.56) == "same (0.56, threshold 0.55: 1 false in 20)"
    assert threshold(at=[], eer={"threshold": 0.5, "rate": 0}).verdict(0.5).endswith("threshold 0.50: none false)")


def test_the_threshold_stays_with_the_weights_and_not_with_others(trained, ask, tmp_path, caplog):
    assert load_model(trained, device="cpu").threshold is None
    ask()
    copy = shutil.move(shutil.copytree(trained, tmp_path / "copy"), tmp_path / "moved")
    kept = load_model(copy, device="cpu").threshold
    report = json.loads((trained / "errors.json").read_text())["threshold"]
    assert kept.eer.threshold == report["eer"]["threshold"] and len(kept.at) == len(report["at"])
    assert load_model(copy / "model.safetensors", device="cpu").threshold == kept
    described, _ = export(copy, "pt2", tmp_path / "model.pt2")
    assert described["threshold"]["eer"]["threshold"] == kept.eer.threshold
    assert described["threshold"]["measured_on"] == "validation identities"
    assert read_threshold(copy, "another digest") is None and "measured with other weights" in caplog.text


def test_query_says_same_or_no_such_identity(trained, data_dir, tmp_path, monkeypatch, capsys):
    from reid_train import query

    image = sorted((data_dir / "query").iterdir())[0]
    told = {"measured_on": "validation identities", "identities": 20, "pairs_same": 900, "pairs_different": 20_000}
    told |= {"eer": {"threshold": 0.1, "rate": 0.1}, "weights_sha256": load_checkpoint(trained).digest}
    for at, said in ((-1.0, "the first is the same ("), (1.01, "no such identity in this gallery, probably (")):
        point = {"threshold": at, "false_positive_rate": 0.01, "true_positive_rate": 0.9}
        (trained / "threshold.json").write_text(json.dumps({**told, "at": [point]}))
        command = ["query", "--checkpoint", trained, "--gallery", data_dir, "--image", image, "--device", "cpu"]
        command += ["--cache-dir", tmp_path / "cache", "--out", tmp_path / "ranks.png"]
        monkeypatch.setattr("sys.argv", [*map(str, command)])
        with pytest.raises(SystemExit) as ended:
            query.main()
        out = capsys.readouterr().out
        assert ended.value.code == 0 and said in out
        assert out.count("1 false in 100") == (11 if at < 0 else 0), "each of ten rows, and the line below"


def test_training_leaves_a_threshold_and_one_on_everything_says_why_not(tmp_path, data_dir, monkeypatch, capsys, data):
    lines = [f"{name}: {json.dumps(value)}" for name, value in {**TINY, "data_dir": str(data_dir)}.items()]
    (tmp_path / "tiny.yaml").write_text("\n".join(lines))
    command = ["train", "--config", tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--cache-dir", tmp_path / "c"]
    for _ in range(2):  # the second time it is there already
        monkeypatch.setattr("sys.argv", [*map(str, command)])
        with pytest.raises(SystemExit) as ended:
            train()
        out = capsys.readouterr().out
        assert ended.value.code == 0 and f"{tmp_path / 'run' / 'threshold.json'}, measured on validation" in out
    model = load_model(tmp_path / "run", device="cpu")
    expected = errors_of(tmp_path / "run", tmp_path)["threshold"]
    assert model.threshold.eer.threshold == expected["eer"]["threshold"]
    assert model.threshold.weights_sha256 == model.digest
    (tmp_path / "run" / "threshold.json").unlink()
    samples = [sample for part in data for sample in part]
    pixels = open_pixels(samples, height=HEIGHT, width=WIDTH, cache_dir=tmp_path / "c")
    said = keep_threshold(tmp_path / "run", data._replace(query=[], gallery=[]), pixels)
    assert said.startswith("no threshold: all identities were trained on") and "--test" in said
    assert not (tmp_path / "run" / "threshold.json").exists()


def test_lines_of_thresholds_say_rates_and_intervals():
    part = {"threshold": 0.62, "low": 0.6, "high": 0.8}
    told = {"identities": 20, "pairs_same": 1200, "pairs_different": 50_000, "pairs": "two images"}
    told |= {"eer": {**part, "rate": 0.7}, "at": [{**part, "false_positive_rate": 1e-3, "true_positive_rate": 0.71}]}
    first, rate, equal, pairs = threshold_lines(told)
    assert "(20 identities, 1,200 pairs of one identity, 50,000 of two)" in first
    assert rate == "  0.620  1 false in 1,000; finds 71.0 % of the pairs of one identity (60.0 to 80.0)"
    assert "70.0 % (60.0 to 80.0) are missed" in equal and "95 % intervals over identities" in pairs


def test_no_wrong_answers_print_no_table_of_confusions(capsys):
    one = {"kind": "worst", "query": {"path": "a.jpg", "identity": "1", "camera": "1"}, "ap": 1.0, "ranked": []}
    report = {"on": "test images", "queries": 1, "identities": 1, "cameras": 2, "mAP": 1.0, "rank1": 1.0}
    people = [{"identity": "1", "queries": 1, "images": 2, "mAP": 1.0}]
    report |= {"lists": [one], "camera_pairs": [], "by_identity": people, "confused": [], "threshold": None}
    print_errors(report, "here")
    out = capsys.readouterr().out
    assert "mAP 100.0 %" in out and "confusion" not in out and "no threshold" in out
