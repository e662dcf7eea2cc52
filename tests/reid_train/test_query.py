"""Queries in a gallery: who is ranked, what is right, what the picture shows, and what a study counts of it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from data.pixels.gallery import Gallery, Label, read_gallery
from reid_train import query as module
from reid_train.inference.embedder import load_model
from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.inference.gallery_search import FRAMES, Ranked, plot_ranking, print_ranking, rank

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def ask(monkeypatch, capsys, narrow_checkpoint, tmp_path, cache_dir):
    """Runs the command in this process; gives its exit code, and what it wrote to stdout and stderr."""

    def ask(*arguments, checkpoint=narrow_checkpoint):
        where = ["--out", tmp_path / "ranks.png", "--cache-dir", tmp_path / "cache"]
        monkeypatch.setattr("sys.argv", ["query", "--checkpoint", str(checkpoint), *map(str, [*where, *arguments])])
        monkeypatch.setenv("COLUMNS", "150")
        with pytest.raises(SystemExit) as ended:
            module.main()
        return ended.value.code, *capsys.readouterr()

    return ask


def rows(out):
    """The table's rows, as lists of cells."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def test_a_data_sets_gallery_is_ranked_as_a_plain_loop_ranks_it(ask, data_dir, narrow_checkpoint, tmp_path):
    image = sorted((data_dir / "query").iterdir())[0]
    code, out, _ = ask("--gallery", data_dir, "--image", image, "--top", 6)
    assert code == 0
    model = load_model(narrow_checkpoint, device="cpu")
    own = model.embed([image])[0]
    scored = []
    for file in (data_dir / "bounding_box_test").iterdir():
        if file.name[:7] != image.name[:7]:  # of another identity or camera
            scored.append((float(np.dot(model.embed([file])[0], own)), file.name))
    best = sorted(scored, reverse=True)[:6]
    table = rows(out)
    assert [row[5] for row in table] == [f"bounding_box_test/{name}" for _, name in best]
    assert [float(row[1]) for row in table] == pytest.approx([similarity for similarity, _ in best], abs=1e-4)
    assert [row[2] for row in table] == [str(int(name[:4])) for _, name in best]
    assert [row[4] for row in table] == ["yes" if name[:4] == image.name[:4] else "no" for _, name in best]
    right = sum(name[:4] == image.name[:4] for _, name in best)
    assert f"{right} of these 6 show the same identity, of 2 in the gallery" in out
    assert "left out, as in the evaluation: 2 of the same identity and camera" in out
    with Image.open(tmp_path / "ranks.png") as picture:
        picture.load()


def test_a_gallerys_embeddings_are_computed_once(ask, data_dir, tmp_path):
    image = sorted((data_dir / "query").iterdir())[0]
    assert "gallery: 16 images, 16 embedded now, 0 known before" in ask("--gallery", data_dir, "--image", image)[1]
    assert "gallery: 16 images, 0 embedded now, 16 known before" in ask("--gallery", data_dir, "--image", image)[1]
    folder = shutil.copytree(data_dir / "bounding_box_test", tmp_path / "copy")
    shutil.copy(image, folder)
    assert "gallery: 17 images, 1 embedded now, 16 known before" in ask("--gallery", folder, "--image", image)[1]


def test_any_folder_is_a_gallery_where_nothing_is_said_of_right_and_wrong(ask, data_dir, tmp_path):
    folder = tmp_path / "photos" / "deeper"
    shutil.copytree(data_dir / "bounding_box_test", folder)
    image = shutil.copy(sorted((data_dir / "query").iterdir())[0], folder / "mine.png")
    code, out, _ = ask("--gallery", tmp_path / "photos", "--image", image, "--top", 100)
    table = rows(out)
    assert code == 0 and len(table) == 16 and all(len(row) == 3 for row in table), "all but the picture itself"
    assert table[0][2].startswith("deeper/") and "same identity" not in out and "identity" not in out


def test_a_folder_inside_a_data_set_is_labelled_by_it_and_strangers_are_not(data_dir, tmp_path):
    inside = read_gallery(data_dir / "bounding_box_train")
    assert len(inside.images) == 84
    assert inside.label(data_dir / "bounding_box_train" / "0003_c2s1_000001_00.png") == Label(3, 2, "train")
    stranger = shutil.copy(data_dir / "query" / "0015_c1s1_000000_00.png", tmp_path)
    assert inside.label(stranger) is None
    assert inside.label(data_dir / "query" / "0015_c1s1_000000_00.png") == Label(15, 1, "query")


def test_a_manifests_gallery_is_labelled_by_it(data_dir, tmp_path):
    lines = ["path,identity,camera,split"]
    for number, file in enumerate(sorted((data_dir / "query").iterdir())):
        shutil.copy(file, tmp_path / file.name)
        lines.append(f"{file.name},{int(file.name[:4])},{file.name[6]},{'gallery' if number % 2 else 'query'}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    gallery = read_gallery(tmp_path)
    assert len(gallery.images) == 4 and gallery.label(tmp_path / "0015_c1s1_000000_00.png") == Label(15, 1, "query")


def test_ranking_leaves_out_the_query_and_its_camera_and_knows_right_from_wrong(tmp_path):
    names = ["query", "same_camera", "right", "wrong", "unknown"]
    paths = [str(tmp_path / name) for name in names]
    labels = dict(zip(paths, [Label(4, 1, "query"), Label(4, 1, "gallery"), Label(4, 2, "gallery")], strict=False))
    labels[paths[3]] = Label(0, 1, "gallery")
    gallery = Gallery(paths, labels, [])
    gallery_ND = np.array([[1, 0], [1, 0], [0.6, 0.8], [0.8, 0.6], [0, 1]], dtype=np.float32)
    ranked, same_camera = rank(paths[0], gallery_ND[0], gallery, gallery_ND)
    assert [(image.path, image.right) for image in ranked] == [(paths[3], False), (paths[2], True), (paths[4], None)]
    assert [image.similarity for image in ranked] == pytest.approx([0.8, 0.6, 0]) and same_camera == 1
    assert all(image.right is None for image in rank(paths[4], gallery_ND[4], gallery, gallery_ND)[0])


def test_identities_bear_their_owners_names_and_distractors_are_nobody(tmp_path, capsys, monkeypatch):
    images = [("p", "product_0024", "aisle [3]", "query"), ("q", "product_0024", "till", "gallery")]
    images += [(name, "0", "till", "gallery") for name in "rs"] + [("t", "a$b$", "till", "gallery")]
    for name, *_ in images:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    lines = [f"{name}.png,{who},{camera},{split}" for name, who, camera, split in images]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,identity,camera,split", *lines]))
    gallery, figures = read_gallery(tmp_path), []
    ranked, _ = rank(tmp_path / "p.png", np.ones(2), gallery, np.ones((4, 2)))
    print_ranking(ranked, "p", str(tmp_path))
    table = capsys.readouterr().out
    assert [row.right for row in ranked] == [True, False, False, False]
    assert "product_0024" in table and "till" in table and table.count("distractor") == 2
    assert gallery.label(tmp_path / "p.png").camera_shown == "aisle [3]"
    monkeypatch.setattr("reid_train.inference.gallery_search.save_figure", lambda figure, file: figures.append(figure))
    plot_ranking(tmp_path / "p.png", gallery.label(tmp_path / "p.png"), ranked, tmp_path / "ranks.png")
    titles = [panel.get_title() for panel in figures[0].axes]
    assert titles[0] == "query\nidentity product_0024" and titles[2].endswith("\ndistractor")
    assert titles[4].endswith("\nidentity a$b$") and not figures[0].axes[4].title.get_parse_math()
    of_a_distractor, _ = rank(tmp_path / "r.png", np.ones(2), gallery, np.ones((4, 2)))
    assert {row.right for row in of_a_distractor} == {None}


def test_frames_are_green_red_and_neutral(data_dir, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("reid_train.inference.gallery_search.save_figure", lambda figure, file: figures.append(figure))
    files = sorted(map(str, (data_dir / "query").iterdir()))
    label = Label(7, 1, "gallery")
    ranked = [
        Ranked(files[1], 0.9, label, True),
        Ranked(files[2], 0.5, label, False),
        Ranked(files[3], 0.1, None, None),
    ]
    plot_ranking(files[0], Label(7, 2, "query"), [*ranked, *ranked[2:] * 9], tmp_path / "ranks.png")
    panels = [panel for panel in figures[0].axes if panel.images]
    colours = [panel.spines["left"].get_edgecolor() for panel in panels]
    from matplotlib.colors import to_rgba

    assert len(panels) == 13 and colours[1:4] == [to_rgba(FRAMES[right]) for right in (True, False, None)]
    assert [panel.get_title() for panel in panels[:4]] == [
        "query\nidentity 7", "1: 0.900\nidentity 7", "2: 0.500\nidentity 7", "3: 0.100",
    ]  # fmt: skip
    assert all(axes.get_position().y0 < panels[0].get_position().y0 for axes in panels[11:]), "a second row"


def test_a_study_counts_lists_that_tell_right_from_wrong_on_test_images(ask, data_dir, narrow_checkpoint, tmp_path):
    shutil.copytree(narrow_checkpoint, tmp_path / "study" / "best")
    (tmp_path / "study" / "study.db").touch()
    study, best = tmp_path / "study", tmp_path / "study" / "best"
    tested, trained = (sorted((data_dir / name).iterdir())[0] for name in ("query", "bounding_box_train"))
    stranger = shutil.copy(tested, tmp_path / "stranger.png")
    ask("--gallery", data_dir / "bounding_box_train", "--image", trained, checkpoint=best)
    ask("--gallery", data_dir, "--image", stranger, checkpoint=best)
    assert read_test_metrics(study) == {}, "neither tells a score"
    _, out, _ = ask("--gallery", data_dir, "--image", tested, checkpoint=best)
    assert "test images: evaluated once for this study (query)" in out
    (counted,) = read_test_metrics(study)["evaluations"]
    assert counted["for"] == f"query, {tested} in {data_dir}"
    other = tmp_path / "other"  # the study's images are not those of data_dir
    for name in ("query", "bounding_box_train", "bounding_box_test"):
        (other / name).mkdir(parents=True)
        for file in (data_dir / name).iterdir():
            (other / name / file.name).write_bytes(file.read_bytes() + b" ")
    (study / "best_config.yaml").write_text(f"data_dir: {other}\n")
    _, out, _ = ask("--gallery", data_dir, "--image", tested, checkpoint=best)
    assert "for this study" not in out and len(read_test_metrics(study)["evaluations"]) == 1


def test_mistakes_give_one_line_and_nothing_is_written(ask, data_dir, tmp_path):
    image = sorted((data_dir / "query").iterdir())[0]
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    broken = shutil.copytree(data_dir / "query", tmp_path / "broken")
    (broken / "cut.png").write_bytes(image.read_bytes()[:300])
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "out.png").symlink_to(image)
    for gallery, query, more, message in (
        (tmp_path / "empty", image, [], "empty: no images (.jpg, .jpeg, .png, .bmp, .webp, ...)"),
        (tmp_path / "nowhere", image, [], "nowhere: no such folder"),
        (data_dir, tmp_path / "nothing.jpg", [], "nothing.jpg: No such file or directory"),
        (data_dir, tmp_path / "text.jpg", [], "text.jpg: none of JPEG, PNG"),
        (data_dir, image, ["--top", "0"], "--top 0: at least 1"),
        (broken, image, [], "cut.png: "),
        (tmp_path / "links", image, [], "links/out.png: leads out of the data folder"),
        (data_dir, image, ["--checkpoint", tmp_path / "nothing"], "nothing: no such checkpoint"),
        (data_dir, image, ["--out", tmp_path / "text.jpg" / "ranks.png"], "ranks.png: cannot be written: "),
    ):
        code, _, err = ask("--gallery", gallery, "--image", query, *more)
        assert code == 2 and err.count("\n") == 1 and message in err, err
    assert not (tmp_path / "ranks.png").exists()
    code, out, _ = ask("--gallery", broken, "--image", image, "--on-bad-image", "skip")
    assert code == 0 and "1 gallery image left out, as they cannot be decoded: cut.png" in out
