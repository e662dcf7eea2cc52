"""`tuning.init`: the space that it writes fits the data, can be planned, and overwrites nothing."""

import re

import pytest
import yaml

from data.drawing.datasets import draw_dataset
from reid_train.settings.config import TrainConfig
from tests.commands import run_here
from tuning import init
from tuning.prepare.draft import Facts, batches, draft, image_size, num_epochs
from tuning.space.read import read_space


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """ImageNet's weights are not looked for: that would take a network."""
    monkeypatch.setattr(init, "starting_weights", lambda gpu: "none")


def facts(**changes):
    values = {
        "config": TrainConfig(data_dir="a b"), "given": {}, "images": 10000, "identities": 600, "of_identity": 17,
        "held_out": 150, "height": 128, "width": 64, "gpu": True,
    }  # fmt: skip
    return Facts(**{**values, **changes})


def test_the_space_of_a_drawn_set_is_planned_and_the_next_command_is_printed(tiny_data, tmp_path, without_ray):
    out = tmp_path / "space.yaml"
    done = run_here("tuning.init", tiny_data, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"tuning\.search --space {out} --name market --plan\n", done.stdout)
    space = read_space(out)
    assert (space.base_config().data_dir, space.base_config().dataset) == (str(tiny_data), "market1501")
    assert all("#" in line for line in out.read_text().splitlines() if line), "each line is explained"
    planned = run_here("tuning.search", "--space", out, "--plan", "--epochs", 200, "--results", tmp_path / "results")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "plan: about " in planned.stdout and "cannot be trained" not in planned.stdout
    again = run_here("tuning.init", tiny_data, "--out", out)
    assert again.returncode == 2 and "is there already, and nothing is overwritten" in again.stderr


def test_data_that_cannot_be_trained_on_gives_its_findings_and_no_space(tmp_path):
    draw_dataset("veri", tmp_path / "few", identities=3, test_identities=2, cameras=2, images_per_camera=2, seed=0)
    done = run_here("tuning.init", tmp_path / "few", "--out", tmp_path / "space.yaml")
    assert done.returncode == 2 and not (tmp_path / "space.yaml").exists()
    assert "error: 3 training identities, at least 10 are needed" in done.stdout
    assert done.stderr.count("\n") == 1 and "data.doctor" in done.stderr
    wrong = run_here("tuning.init", tmp_path, "--out", tmp_path / "space.txt")
    assert wrong.returncode == 2 and "the name must end in .yaml" in wrong.stderr


@pytest.mark.parametrize(
    ("height", "width", "gpu", "size"),
    [
        (128, 64, True, (256, 128)),  # Market-1501
        (300, 330, True, (240, 256)),  # vehicles
        (1200, 400, True, (256, 80)),
        (64, 32, True, (128, 64)),
        (20, 10, True, (32, 16)),
        (128, 64, False, (128, 64)),
    ],
)
def test_images_keep_their_proportions_and_become_at_most_twice_as_large(height, width, gpu, size):
    assert image_size(facts(height=height, width=width, gpu=gpu)) == size


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize(
    ("images", "identities", "of_identity"), [(10, 2, 5), (24, 12, 2), (120, 20, 6), (260, 30, 9), (10**5, 5000, 20)]
)
def test_every_batch_that_is_searched_can_be_filled_and_the_draft_is_a_space(
    tmp_path, images, identities, of_identity, gpu
):
    of_data = facts(images=images, identities=identities, of_identity=of_identity, gpu=gpu)
    sizes, ks = batches(of_data)
    assert all(size % k == 0 and 1 <= size // k <= identities for size in sizes for k in ks)
    assert 12 <= num_epochs(of_data, sizes[0]) <= 60
    (tmp_path / "a.yaml").write_text(draft(of_data, "imagenet", "A search."))
    space = read_space(tmp_path / "a.yaml")
    assert len(space.batches) == len(sizes) * len(ks) and space.fixed["data_dir"] == "a b"


def test_what_was_asked_for_of_the_images_stands_in_the_space(tmp_path):
    text = draft(facts(given={"on_bad_image": "skip", "outside_images": True}), "none", "A search of a\nb.")
    fixed = yaml.safe_load(text)["fixed"]
    assert fixed["on_bad_image"] == "skip" and fixed["outside_images"] is True and fixed["pretrained"] == "none"
