"""The doctor on small folders, each with one defect that it must find and name."""

import re
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from data.checks.findings import Finding
from data.checks.plots import plot_distribution
from data.checks.report import Report, SplitSummary, examine
from data.doctor import main
from data.sets.readers import READERS, read_test
from data.system.errors import UserError
from tests.data.helps import help_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def draw(path: Path, content: int) -> None:
    """A picture that no other `content` gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(content).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A healthy set: 12 training identities by 2 cameras x 2 images, 3 test identities, a distractor, junk."""
    root = tmp_path / "Market_1501"
    content = 0
    for identity in range(1, 13):
        for camera in (1, 2):
            for frame in (1, 2):
                content += 1
                draw(root / "bounding_box_train" / f"{identity:04d}_c{camera}s1_{frame:06d}_00.jpg", content)
    for identity in (101, 102, 103):
        content += 3
        draw(root / "query" / f"{identity:04d}_c1s1_000001_00.jpg", content)
        draw(root / "bounding_box_test" / f"{identity:04d}_c1s1_000002_00.jpg", content + 1)
        draw(root / "bounding_box_test" / f"{identity:04d}_c2s1_000003_00.jpg", content + 2)
    draw(root / "bounding_box_test" / "0000_c1s1_000001_00.jpg", 1001)
    draw(root / "bounding_box_test" / "-1_c1s1_000001_00.jpg", 1002)
    return root


def manifest(root: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    root.mkdir(exist_ok=True)
    lines = ["path,identity,camera,split", *(",".join(row) for row in rows)]
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root


def only(report: Report, words: str) -> Finding:
    """The one finding that says `words`; apart from the note on published counts there must be no other."""
    others = [finding for finding in report.findings if "not the published" not in finding.text]
    assert [words in finding.text for finding in others] == [True], others
    return others[0]


def names(finding: Finding) -> list[str]:
    return [Path(path).name for path in finding.files]


def test_healthy_set_has_nothing_but_the_note_on_published_counts(market: Path) -> None:
    report = examine(market)
    (note,) = report.findings
    assert note.severity == "note"
    assert note.text == (
        "this is not the published Market-1501; images of identities: train 48 of 12 (published 12,936 of 751), "
        "query 3 of 3 (published 3,368 of 750), gallery 7 of 4 (published 15,913 of 751)"
    )
    assert not report.breaks_training


def test_summary_counts_what_is_there(market: Path) -> None:
    draw(market / "bounding_box_test" / "holiday.jpg", 5000)
    train, query, gallery = examine(market.parent, dataset="market1501").splits
    assert (train.split, train.images, train.cameras, train.junk) == ("train", 48, 2, 0)
    assert train.images_of == dict.fromkeys(range(1, 13), 4)
    assert query == SplitSummary("query", 3, 1, {101: 1, 102: 1, 103: 1}, 0, 0, 0)
    assert gallery == SplitSummary("gallery", 7, 2, {101: 2, 102: 2, 103: 2}, 1, 1, 1)


def test_published_counts_give_no_note(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = {"Yard-12": {"train": (48, 12), "query": (3, 3), "gallery": (7, 4)}}
    monkeypatch.setitem(READERS, "market1501", replace(READERS["market1501"], published=published))
    assert examine(market).findings == ()


@pytest.mark.parametrize("folder", ["bounding_box_train", "query", "bounding_box_test"])
@pytest.mark.parametrize("defect", ["half", "text", "empty"])
def test_unreadable_image_is_an_error(market: Path, folder: str, defect: str) -> None:
    path = sorted((market / folder).glob("0*1_c1*"))[0]
    whole = path.read_bytes()
    path.write_bytes({"half": whole[: len(whole) // 2], "text": b"not a picture", "empty": b""}[defect])
    report = examine(market)
    finding = only(report, "1 image unreadable")
    assert finding.severity == "error"
    assert ("training would fail" in finding.text) == (folder == "bounding_box_train")
    assert names(finding) == [path.name]
    assert report.breaks_training


def test_unreadable_images_are_counted(market: Path) -> None:
    for path in (market / "bounding_box_train").glob("0003_*"):
        path.write_text("not a picture")
    finding = only(examine(market), "4 images unreadable")
    assert len(finding.files) == 4
    assert "\n" not in finding.text


def test_errors_come_first_and_notes_last(market: Path) -> None:
    draw(market / "bounding_box_train" / "IMG_1234.jpg", 5000)
    for path in (market / "bounding_box_train").glob("*_c2*"):
        path.unlink()
    severities = [finding.severity for finding in examine(market, images_per_identity=2).findings]
    assert severities == ["error", "warning", "note"]


def test_name_that_does_not_match_is_a_warning(market: Path) -> None:
    draw(market / "query" / "IMG_1234.jpg", 5000)
    finding = only(examine(market), "query: 1 image left out")
    assert (finding.severity, names(finding)) == ("warning", ["IMG_1234.jpg"])


def test_identity_with_fewer_than_k_images_is_a_warning(market: Path) -> None:
    (market / "bounding_box_train" / "0005_c1s1_000001_00.jpg").unlink()
    finding = only(examine(market), "1 training identity with fewer than 4 images")
    assert finding.severity == "warning"
    assert [name[:7] for name in names(finding)] == ["0005_c1", "0005_c2", "0005_c2"]
    assert "fewer" not in " ".join(f.text for f in examine(market, images_per_identity=3).findings)
    assert "12 training identities with fewer than 5" in only(examine(market, images_per_identity=5), "few").text


def test_identity_of_a_single_camera_is_a_warning(market: Path) -> None:
    for path in (market / "bounding_box_train").glob("0007_c2*"):
        path.rename(path.with_name(path.name.replace("c2s1_00000", "c1s1_00001")))
    finding = only(examine(market), "1 training identity seen by a single camera")
    assert finding.severity == "warning"
    assert {name[:4] for name in names(finding)} == {"0007"}


def test_no_identity_of_two_cameras_is_an_error(market: Path) -> None:
    for path in (market / "bounding_box_train").glob("*_c2*"):
        path.unlink()
    report = examine(market, images_per_identity=2)
    assert only(report, "no training identity is seen by two cameras").severity == "error"
    assert report.breaks_training


@pytest.mark.parametrize(("left", "enough"), [(10, True), (9, False), (1, False)])
def test_fewer_than_ten_training_identities_are_an_error(market: Path, left: int, enough: bool) -> None:
    for path in (market / "bounding_box_train").iterdir():
        if int(path.name[:4]) > left:
            path.unlink()
    report = examine(market)
    assert report.breaks_training == (not enough)
    if not enough:
        assert only(report, "at least 10 are needed").severity == "error"


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_same_picture_in_training_and_test_is_a_warning(market: Path, folder: str) -> None:
    source = market / "bounding_box_train" / "0002_c1s1_000001_00.jpg"
    copy = market / folder / "0102_c2s1_000009_00.jpg"
    shutil.copy(source, copy)
    finding = only(examine(market), "1 picture in both training and test")
    assert finding.severity == "warning"
    assert sorted(finding.files) == sorted([str(source), str(copy)])


def test_same_picture_in_query_and_gallery_is_a_warning(market: Path) -> None:
    for identity in ("0101", "0103"):
        source = market / "query" / f"{identity}_c1s1_000001_00.jpg"
        shutil.copy(source, market / "bounding_box_test" / f"{identity}_c2s1_000009_00.jpg")
    finding = only(examine(market), "2 pictures in both query and gallery")
    assert len(finding.files) == 4
    # Copies stand side by side, so that the first ones that are shown are a pair.
    assert names(finding)[0][:4] == names(finding)[1][:4]


def test_a_picture_under_two_identities_is_a_warning(market: Path) -> None:
    folder = market / "bounding_box_train"
    assert not [f for f in examine(market).findings if "under several" in f.text]
    shutil.copy(folder / "0002_c1s1_000001_00.jpg", folder / "0002_c1s1_000009_00.jpg")  # of the same one: no matter
    shutil.copy(folder / "0002_c1s1_000001_00.jpg", folder / "0003_c1s1_000009_00.jpg")
    finding = only(examine(market), "train: 1 picture under several identities")
    assert finding.severity == "warning"
    assert names(finding) == ["0002_c1s1_000001_00.jpg", "0002_c1s1_000009_00.jpg", "0003_c1s1_000009_00.jpg"]


def test_query_without_a_match_is_a_warning(market: Path) -> None:
    (market / "bounding_box_test" / "0103_c2s1_000003_00.jpg").unlink()
    finding = only(examine(market), "1 query without a match")
    assert (finding.severity, names(finding)) == ("warning", ["0103_c1s1_000001_00.jpg"])


def test_identity_in_training_and_test_is_a_warning(market: Path) -> None:
    draw(market / "bounding_box_test" / "0004_c1s1_000009_00.jpg", 5000)
    finding = only(examine(market), "1 identity in both training and test")
    assert (finding.severity, names(finding)) == ("warning", ["0004_c1s1_000009_00.jpg"])


def test_people_without_a_number_are_no_identity_in_common(market: Path) -> None:
    for camera in (1, 2):
        for frame in (1, 2):
            draw(market / "bounding_box_train" / f"0000_c{camera}s1_{frame:06d}_00.jpg", 6000 + 2 * camera + frame)
    assert [finding.severity for finding in examine(market).findings] == ["note"]


def test_training_folder_alone_is_a_warning(market: Path) -> None:
    shutil.rmtree(market / "query")
    shutil.rmtree(market / "bounding_box_test")
    report = examine(market)
    warnings = [finding.text for finding in report.findings if finding.severity == "warning"]
    assert warnings == [
        f"{market / folder}: no such folder, so no final evaluation" for folder in ("query", "bounding_box_test")
    ]
    assert [split.split for split in report.splits] == ["train"]
    assert not report.breaks_training


def test_no_training_images_are_an_error(market: Path) -> None:
    for path in (market / "bounding_box_train").iterdir():
        path.unlink()
    report = examine(market)
    assert only(report, "no training images").severity == "error"
    assert report.breaks_training


def test_veri_list_that_names_missing_images_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "VeRi" / "image_train" / "0001_c001_00000001_0.jpg", 1)
    (tmp_path / "VeRi" / "name_train.txt").write_text("0001_c001_00000001_0.jpg\n0001_c002_00000002_0.jpg\n")
    report = examine(tmp_path)
    assert report.findings[0].severity == "error"
    assert "0001_c002_00000002_0.jpg" in report.findings[0].text


def test_broken_manifest_says_so_once(tmp_path: Path) -> None:
    rows = [("gone.jpg", "1", "1", split) for split in ("train", "query")]
    (finding,) = examine(manifest(tmp_path / "own", [("", "1", "1", "train"), *rows])).findings
    assert (finding.severity, "manifest.csv:2: path is empty" in finding.text) == ("error", True)


def test_manifest_is_examined_like_the_others(tmp_path: Path) -> None:
    rows: list[tuple[str, str, str, str]] = []
    for identity in range(12):
        for camera in ("gate", "yard"):
            name = f"{identity}_{camera}.png"
            draw(tmp_path / "own" / name, len(rows))
            rows.append((name, f"car{identity}", camera, "train"))
    report = examine(manifest(tmp_path / "own", rows), images_per_identity=2)
    assert report.splits[0].images_of == dict.fromkeys(range(1, 13), 2)
    assert [finding.severity for finding in report.findings] == ["warning", "warning"]
    report = examine(manifest(tmp_path / "own", [*rows, ("gone.png", "car1", "gate", "train")]))
    error = report.findings[0]
    assert error.severity == "error" and "manifest.csv:26" in error.text


def test_missing_folder_empty_folder_and_wrong_arguments_are_user_errors(market: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no such folder"):
        examine(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is empty"):
        examine(tmp_path / "empty")
    with pytest.raises(UserError, match="images_per_identity=0"):
        examine(market, images_per_identity=0)


def run(arguments: list[str | Path], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_command_shows_no_empty_table_and_no_empty_picture_of_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = manifest(tmp_path / "own", [("", "1", "1", "train")])
    monkeypatch.chdir(tmp_path)
    assert run([root], monkeypatch) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("error: ") and shown.count("\n") == 1 and "manifest.csv:2: path is empty" in shown
    assert not (tmp_path / "results").exists()


def test_command_says_what_it_found_and_where_the_plot_is(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (market / "bounding_box_train").glob("0003_*"):
        path.write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    assert run([market], monkeypatch) == 1
    shown = capsys.readouterr().out
    plot = Path("results/doctor/Market_1501_distribution.png")
    assert str(plot) in shown and plot.is_file()
    assert "error: train: 4 images unreadable" in shown
    assert "bounding_box_train/0003_c1s1_000001_00.jpg" in shown
    assert "and 1 more file" in shown


def test_where_there_is_no_image_only_the_reason_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text("path,camera,split\na.jpg,1,train\n")
    monkeypatch.chdir(tmp_path)
    assert run([tmp_path], monkeypatch) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("error: ") and "column 'identity' is missing" in shown and shown.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_names_are_shown_as_they_are(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No markup, no picture, no formula: `$\\frac$` is none, and would be an error in a plot."""
    market = market.rename(market.with_name(r"[red]50% of $\frac$ :smile: {x}"))
    monkeypatch.chdir(tmp_path)
    assert run([market], monkeypatch) == 0
    assert f"{market.name}, laid out as Market-1501" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "results" / "doctor" / f"{market.name}_distribution.png").is_file()


@pytest.mark.parametrize("fewer", [False, True])
def test_exit_code_is_1_when_training_would_fail_else_0(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewer: bool
) -> None:
    if fewer:
        for path in (market / "bounding_box_train").glob("000*"):
            path.unlink()
    assert run([market, "--plot", tmp_path / "plot.pdf"], monkeypatch) == int(fewer)
    assert (tmp_path / "plot.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("mistake", ["no folder", "plot's ending", "plot's folder", "K"])
def test_exit_code_is_2_with_one_line_for_a_mistake(
    market: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    arguments: dict[str, list[str | Path]] = {
        "no folder": [tmp_path / "nowhere"],
        "plot's ending": [market, "--plot", tmp_path / "plot.docx"],
        "plot's folder": [market, "--plot", next(market.rglob("*.jpg")) / "plot.png"],
        "K": [market, "--images-per-identity", "0"],
    }
    assert run(arguments[mistake], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_help_loads_nothing_heavy() -> None:
    told, modules = help_of("data.doctor")
    assert "--images-per-identity" in told
    assert not {"numpy", "PIL", "torch", "ray", "pandas", "matplotlib", "rich"} & modules


def summaries(identities: int, test: bool = True) -> tuple[SplitSummary, ...]:
    images_of = {identity: 1 + 60 // identity for identity in range(1, identities + 1)}
    splits = ("train", "query", "gallery") if test else ("train",)
    return tuple(SplitSummary(split, sum(images_of.values()), 6, images_of, 0, 0, 0) for split in splits)


@pytest.mark.parametrize("identities", [1, 31, 1_500])
def test_plot_has_a_readable_size_and_labels_apart(tmp_path: Path, identities: int) -> None:
    file = tmp_path / "new" / "plot.png"
    plot_distribution(Report("veri", tmp_path / "set", 4, summaries(identities), ()), file)
    with Image.open(file) as image:
        assert 800 <= image.width <= 2000 and 500 <= image.height <= 1500
        assert len(image.getcolors(1 << 24) or []) > 20  # something was drawn


@pytest.mark.parametrize("splits", [(), summaries(5, test=False)], ids=["nothing", "training only"])
def test_plot_of_missing_splits_is_drawn_without_them(tmp_path: Path, splits: tuple[SplitSummary, ...]) -> None:
    plot_distribution(Report("veri", tmp_path, 100, splits, ()), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("identities", "digits"), [(5, 4), (12, 4), (18, 4), (30, 1), (30, 4), (30, 12), (31, 12), (1_500, 4)]
)
def test_plot_tick_labels_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identities: int, digits: int
) -> None:
    figures: list[Figure] = []
    save = Figure.savefig

    def keep_and_save(self: Figure, file: Path, **options: str) -> None:
        figures.append(self)
        save(self, file, format=options["format"])  # which lays it out

    monkeypatch.setattr(Figure, "savefig", keep_and_save)
    images_of = {10 ** (digits - 1) + identity: 1 + identity % 9 for identity in range(identities)}
    split = SplitSummary("train", sum(images_of.values()), 6, images_of, 0, 0, 0)
    plot_distribution(Report("veri", tmp_path / "set", 4, (split,), ()), tmp_path / "plot.png")
    (axes,) = figures[0].axes
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) >= min(identities, 5)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_bars_bear_the_names_that_a_manifest_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for number in range(12):
        for camera in ("gate", "yard"):
            draw(tmp_path / "own" / f"{number}_{camera}.png", len(rows))
            rows.append((f"{number}_{camera}.png", f"${number}$ car", camera, "train"))
    figures: list[Figure] = []
    monkeypatch.setattr("data.checks.plots._save", lambda figure, file: figures.append(figure))
    plot_distribution(examine(manifest(tmp_path / "own", rows)), tmp_path / "plot.png")
    labels = figures[0].axes[0].get_xticklabels()
    assert {label.get_text() for label in labels} == {f"${number}$ car" for number in range(12)}
    assert not any(label.get_parse_math() for label in labels)


@pytest.mark.parametrize("split", ["query", "gallery"])
def test_test_rows_of_a_manifest_that_cannot_be_read_are_an_error_as_an_evaluation_refuses_them(
    tmp_path: Path, split: str
) -> None:
    rows = []
    for identity in range(1, 13):
        for camera in (1, 2):
            draw(tmp_path / "set" / f"{identity}_{camera}.png", 100 * identity + camera)
            rows.append((f"{identity}_{camera}.png", str(identity), str(camera), "train"))
    rows.append(("gone.png", "9", "1", split))
    root = manifest(tmp_path / "set", rows)
    report = examine(root)
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert re.fullmatch(
        r".*manifest\.csv:26: no such image: .*gone\.png, so the final evaluation would fail", error.text
    )
    assert report.breaks_training
    with pytest.raises(UserError, match=r"manifest\.csv:26: no such image"):
        read_test(root)
