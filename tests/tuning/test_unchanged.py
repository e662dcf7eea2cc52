"""What belongs to a study: going on with any of it changed is refused, and the line says what."""

import re
import shutil
import time

import pytest
from PIL import Image, ImageOps

from data.pixels.digests import fingerprint
from data.sets.readers import read_train
from data.sets.splits import describe_split, hold_out_images, split_identities
from data.system.errors import UserError
from tuning import search
from tuning.prepare.begin import prepare
from tuning.prepare.models import starting_weights
from tuning.prepare.records import open_records, settle_storage
from tuning.prepare.request import SearchRequest
from tuning.record import training_code
from tuning.record.storage import Storage
from tuning.record.study import Study
from tuning.record.unchanged import check_unchanged
from tuning.space.read import read_space

NOW = {"data_fingerprint": "a" * 64, "validation_split": "8 identities, 16 queries, 0 images held out (0123456789ab)"}
OTHER = {"data_fingerprint": "b" * 64, "validation_split": "9 identities, 18 queries, 0 images held out (ba9876543210)"}


@pytest.fixture
def study(tmp_path, tiny_space):
    begun = Study(tmp_path / "study", read_space(tiny_space))
    check_unchanged(begun, **NOW)
    return begun


def test_nothing_changed_goes_on_and_is_recorded_once(study):
    recorded = dict(study.facts)
    study.add({"learning_rate": 0.01, "weight_decay": 0.0001})
    check_unchanged(Study(study.folder), **NOW)
    assert Study(study.folder).facts == recorded and recorded["training_code"] == training_code.digest()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("data_fingerprint", "the training images' fingerprint was aaaaaaaaaaaa, is now bbbbbbbbbbbb"),
        ("validation_split", "the validation split was 8 identities, .*9ab\\), is now 9 identities, .*210\\)"),
        ("training_code", "the code that trains was [0-9a-f]{12}, is now cccccccccccc"),
    ],
)
def test_each_change_is_refused_by_name_and_recorded_nowhere(study, monkeypatch, changed, message):
    recorded = dict(study.facts)
    now = {name: (OTHER if name == changed else NOW)[name] for name in NOW}
    if changed == "training_code":
        monkeypatch.setattr(training_code, "digest", lambda: "c" * 64)
    with pytest.raises(UserError, match=rf"study: its trials .* new ones: {message}; restore that.* another --name"):
        check_unchanged(Study(study.folder), **now)
    assert Study(study.folder).facts == recorded


def test_other_weights_of_the_teacher_are_refused_by_name(study):
    check_unchanged(study, **NOW, teachers="d" * 64)
    with pytest.raises(UserError, match=r"the teacher's weights was d{12}, is now e{12}; restore that"):
        check_unchanged(Study(study.folder), **NOW, teachers="e" * 64)


def test_other_starting_weights_are_refused_by_name(study):
    check_unchanged(study, **NOW, starting_weights="d" * 64)
    with pytest.raises(UserError, match=r"the file of weights that training starts from was d{12}, is now e{12}; rest"):
        check_unchanged(Study(study.folder), **NOW, starting_weights="e" * 64)


def test_where_weights_lie_does_not_count_and_what_they_are_does(tmp_path, tiny_space):
    def with_weights(place):
        file = tmp_path / "space.yaml"
        file.write_text(tiny_space.read_text().replace("pretrained: none", f"pretrained: {place}\n  teacher: {place}"))
        return read_space(file)

    for place, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / place).write_bytes(content)
    one, moved, other = (with_weights(tmp_path / place) for place in ("a.pth", "b.pth", "c.pth"))
    assert starting_weights(one) == starting_weights(moved) != starting_weights(other)
    begun = Study(tmp_path / "moved", one)
    begun.add({"learning_rate": 0.01, "weight_decay": 0.0001})
    assert Study(begun.folder, moved).config(0).pretrained == str(tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"fixed\.pretrained was 'a file', is now 'none'"):
        Study(begun.folder, read_space(tiny_space))


def test_a_storage_is_known_by_what_it_holds(study, tmp_path):
    settle_storage(study, Storage(str(tmp_path / "here")))
    (tmp_path / "here").rename(tmp_path / "there")
    again = Study(study.folder)
    with pytest.raises(UserError, match=r"keep their states in .*here, not in .*empty: give that as --storage"):
        settle_storage(again, Storage(str(tmp_path / "empty")))
    settle_storage(again, Storage(str(tmp_path / "there")))
    assert again.storage.folder == study.storage.folder and again.facts["storage"]["place"] == str(tmp_path / "there")


def test_several_changes_are_all_named(study):
    with pytest.raises(UserError, match=r"fingerprint was a+, is now b+; the validation split was 8 "):
        check_unchanged(study, **OTHER)


def test_trials_of_unrecorded_code_are_refused_too(tmp_path, tiny_space):
    old = Study(tmp_path / "study", read_space(tiny_space))
    old.note(data_fingerprint=NOW["data_fingerprint"])
    old.add({"learning_rate": 0.01, "weight_decay": 0.0001})
    with pytest.raises(UserError, match="new ones: the validation split was not recorded, is now 8"):
        check_unchanged(old, **NOW)


@pytest.mark.parametrize(
    ("text", "other", "message"),
    [
        ("rungs: [2, 3]", "rungs: [2, 4]", r"rungs was \[2, 3\], is now \[2, 4\]"),
        ("rungs: [2, 3]", "rungs: auto", r"rungs was \[2, 3\], is now 'auto'"),
        ("rungs: [2, 3]", "rungs: [2, 3]\n  promotion: continue", "promotion was 'restart', is now 'continue'"),
        ("rungs: [2, 3]", "rungs: [2, 3]\n  metrics: {val_mINP: max}", "metric was 'val_mAP', is now 'val_mINP'"),
        ("rungs: [2, 3]", "rungs: [2, 3]\n  sampler: random", "sampler was 'model', is now 'random'"),
        ("pct_start: 0.4", "pct_start: 0.3", "fixed.pct_start was 0.4, is now 0.3"),
        ("pct_start: 0.4", "pct_start: 0.4\n  split_seed: 1", "fixed.split_seed was None, is now 1"),
        ("high: 10,", "high: 1,", r"search.learning_rate.high was 10(\.0)?, is now 1"),
        ("[0.0001, 1.0]", "[0.0001, 0.1]", r"search.weight_decay.choices was \[0.0001, 1.0\], is now \[0.0001, 0.1\]"),
    ],
)
def test_another_schedule_or_space_is_refused_by_name(tmp_path, tiny_space, text, other, message):
    file = tmp_path / "tiny.yaml"
    original = re.sub(r"first_trials:\n(  - .*\n)*", "", tiny_space.read_text())  # they would not fit some changes
    assert text in original
    file.write_text(original)
    Study(tmp_path / "study", read_space(file))
    file.write_text(original.replace(text, other))
    with pytest.raises(UserError, match=f"study of another space: {message}; restore that, choose another --name"):
        Study(tmp_path / "study", read_space(file))


def test_a_changed_image_is_another_data_set_and_a_copy_of_it_is_not(tiny_data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_data, copy)
    there, here = (fingerprint(read_train(folder), cache_dir=tmp_path / "cache") for folder in (tiny_data, copy))
    assert there == here
    file = sorted((copy / "bounding_box_train").iterdir())[5]
    ImageOps.mirror(Image.open(file)).save(file)
    assert fingerprint(read_train(copy), cache_dir=tmp_path / "cache") != here


def test_a_splits_description_tells_other_seeds_fractions_and_holdouts_apart_but_no_other_folder(tiny_data, tmp_path):
    samples = read_train(tiny_data)
    first = split_identities(samples)
    moved = [sample._replace(path=sample.path.replace(str(tiny_data), "/elsewhere")) for sample in samples]
    assert describe_split(split_identities(moved[::-1])) == describe_split(first)
    others = [
        split_identities(samples, seed=1),
        split_identities(samples, fraction=0.5),
        hold_out_images(first),
        hold_out_images(first, seed=1),
        first._replace(query=first.query[1:], gallery=[*first.gallery, first.query[0]]),
    ]
    assert len({describe_split(data) for data in [first, *others]}) == 6


def test_a_search_refuses_changes_with_one_line_and_leaves_the_study_as_it_was(
    finished_search, tiny_data, tiny_space, tmp_path, monkeypatch
):
    folder, _ = finished_search
    shutil.copytree(folder, tmp_path / "tiny", ignore=shutil.ignore_patterns("trials", "best", "plots"))
    shutil.copytree(tiny_data, tmp_path / "images")
    file = sorted((tmp_path / "images" / "bounding_box_train").iterdir())[0]
    ImageOps.mirror(Image.open(file)).save(file)
    copied = Study(tmp_path / "tiny")
    trials, facts = copied.trials(), dict(copied.facts)

    def arguments(data_dir):
        more = ["--space", tiny_space, "--results", tmp_path, "--cache-dir", tmp_path / "cache", "--trials", 7]
        monkeypatch.setattr("sys.argv", ["search", *map(str, more), "--data-dir", str(data_dir)])
        return SearchRequest.of(search.parse_arguments())

    def refusal(data_dir):
        with pytest.raises(UserError) as refused:
            search.search(arguments(data_dir), time.monotonic())
        assert "\n" not in str(refused.value)
        return str(refused.value)

    message = refusal(tmp_path / "images")
    assert re.search(r"the training images' fingerprint was [0-9a-f]{12}, is now [0-9a-f]{12}; restore", message)
    after = Study(tmp_path / "tiny")
    assert after.trials() == trials and after.facts == facts

    copied.note(training_code="0" * 64)
    message = refusal(tiny_data)
    assert "the code that trains was 000000000000, is now " in message and "another --name" in message
    assert Study(tmp_path / "tiny").space == after.space

    copied.note(training_code=facts["training_code"])
    ready = prepare(arguments(tiny_data))
    with ready.lock:
        study, _ = open_records(arguments(tiny_data), ready, time.monotonic())
    assert study.space.study.trials == 7 and Study(tmp_path / "tiny").space == study.space
