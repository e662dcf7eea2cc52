"""A model card: README.md beside a model, in the format of the Hugging Face hub (front matter in YAML, then Markdown).

write_card("results/sample/best")

It says what is on record, and "not known" or "not measured" of the rest. Folders are named only where that is asked
for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data.system.errors import UserError
from data.system.files import write_text
from data.system.wording import counted, in_markdown, show_value
from reid_train.inference.card_facts import CardFacts, collect
from reid_train.inference.evaluation_count import describe_count
from reid_train.measure.scores import COUNTS, LABELS
from reid_train.model.hub import FOLDER, HUB
from reid_train.model.settings import TIMM, TIMM_NAME, TORCHVISION_BACKBONES
from reid_train.settings.config import PLACES, TrainConfig

CARD = "README.md"
LIBRARY = "reid-tuning"
TAGS = ["re-identification", "image-retrieval", "embeddings"]
NOT_SETTINGS = ("data_dir", "device", "num_threads", "num_workers", "compile", "outside_images")
"""Settings that the card leaves out: what is the machine's."""
USE = """\
For comparing pictures that are cropped to one person or one vehicle: finding in a gallery the pictures that most likely
show whom a query shows, across cameras, and as the appearance part of a tracker. It works best on cameras, crops and
seasons like those that it learned from; measure it on some of your own before you rely on it.

Not for:

- telling who somebody is, or proving it: it compares looks, above all clothes or paint, which are shared and change;
- decisions about a person, such as access, suspicion or a fine, that no person has checked;
- watching people where law or their consent does not allow it. In the European Union, for instance, remote biometric
  identification falls under the AI Act and personal pictures fall under the GDPR;
- pictures of another kind, whole scenes or faces for instance.

How it does for groups of people who were rare in its training data was not measured.\
"""


def write_card(
    folder: str | Path,
    out: Path | None = None,
    *,
    exported: Mapping[str, Mapping[str, Any]] | None = None,
    data_name: str | None = None,
    with_paths: bool = False,
) -> Path:
    """Writes the card of a checkpoint folder to `out` (None: README.md in it), in place of an earlier card alone.

    `exported` are files beside it, name -> description. `data_name` is what the data set is to be called; `with_paths`
    names folders, too. Raises UserError.
    """
    out = out or Path(folder) / CARD
    check_card(out)
    write_text(out, card_text(collect(folder), exported or {}, data_name, with_paths))
    return out


def check_card(file: Path) -> None:
    """Raises UserError where a README.md is there that is no card of ours."""
    if file.is_file() and f"library_name: {LIBRARY}" not in file.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{file}: is there already and no model card of this project; move it, or choose another --out")


def card_text(
    facts: CardFacts, exported: Mapping[str, Mapping[str, Any]], data_name: str | None, with_paths: bool
) -> str:
    """The whole card."""
    config = facts.config
    name = facts.title
    sections = [
        f"# {in_markdown(name)}",
        f"A re-identification model: it turns a picture, cropped to a person or a vehicle and resized to "
        f"{config.image_height} x {config.image_width} pixels, into {facts.width} numbers of unit length. The product "
        "of two such embeddings is their cosine similarity, -1 to 1: the higher, the more alike. Backbone: "
        f"`{_without_path(config.backbone)}`; trained for {counted(facts.epoch, 'epoch')}.",
        f"## Figures\n\n{_figures(facts, data_name)}",
        f"## From which similarity on is it the same?\n\n{_threshold(facts.threshold)}",
        f"## What it is for, and what not\n\n{USE}",
        f"## Data\n\n{_data(facts, data_name, with_paths)}",
        f"## Settings\n\n{_settings(facts, with_paths)}",
        f"## Load it\n\n{_loading(exported)}",
        f"## Licence\n\n{_licence(config)}",
    ]
    front = yaml.safe_dump(_front_matter(facts, data_name), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _front_matter(facts: CardFacts, data_name: str | None) -> dict[str, Any]:
    front: dict[str, Any] = {
        "license": "unknown",
        "library_name": LIBRARY,
        "pipeline_tag": "image-feature-extraction",
        "tags": TAGS,
    }
    if facts.config.backbone.startswith(f"{TIMM}{HUB}"):
        front["base_model"] = facts.config.backbone.removeprefix(f"{TIMM}{HUB}").partition("@")[0]
    if facts.test:
        metrics = [
            {"type": key, "name": LABELS[key], "value": round(facts.test[key], 6)}
            for key in LABELS
            if key not in COUNTS and key in facts.test
        ]
        data = {"type": facts.layout, "name": data_name or _layout(facts), "split": "query and gallery"}
        task = {"type": "image-feature-extraction", "name": "re-identification"}
        front["model-index"] = [{"name": facts.title, "results": [{"task": task, "dataset": data, "metrics": metrics}]}]
    return front


def _layout(facts: CardFacts) -> str:
    return f"a data set in the layout {facts.layout}"


def _figures(facts: CardFacts, data_name: str | None) -> str:
    parts = []
    if facts.test:
        intervals = facts.test.get("intervals") or {}
        rows = ["| figure | value | 95 % interval |", "| --- | ---: | ---: |"]
        for key, label in LABELS.items():
            if key in facts.test:
                value = str(facts.test[key]) if key in COUNTS else f"{facts.test[key]:.1%}"
                rows.append(
                    f"| {label} | {value} | {' to '.join(f'{bound:.1%}' for bound in intervals.get(key, ()))} |"
                )
        ways = [way for key, way in (("flip_tta", "flipped too"), ("rerank", "re-ranked")) if facts.test.get(key)]
        how = f", {', '.join(ways)}" if ways else ""
        parts += [
            f"On query and gallery of {in_markdown(data_name or _layout(facts))}{how}, identities that it did not "
            "learn from. The intervals are over identities (bootstrap).",
            "\n".join(rows),
        ]
    else:
        parts.append("On test images: not measured.")
    if facts.looks:
        parts.append(f"The test images: {describe_count(facts.looks)}; counted when this card was made.")
    elif facts.test:
        parts.append("How often these test images were looked at before was not counted.")
    if (validated := facts.metrics.get("val_mAP")) is not None:
        parts.append(
            f"On held-out training identities at the end of training: mAP {validated:.1%}. Settings may have been "
            "chosen by this figure, so it flatters."
        )
    return "\n\n".join(parts)


def _threshold(threshold: Mapping[str, Any] | None) -> str:
    if not threshold:
        return "Not measured. Measure it on pairs of your own: the similarity means another thing with each model."
    rows = [
        "| different pairs taken for the same | similarity | same pairs found (95 % interval) |",
        "| ---: | ---: | ---: |",
    ]
    for at in threshold.get("at") or []:
        found = f"{at['true_positive_rate']:.1%}{_between(at)}"
        rows.append(f"| 1 in {round(1 / at['false_positive_rate']):,} | {at['threshold']:.3f} | {found} |")
    parts = [
        f"Measured on {threshold.get('measured_on', 'pairs')}, {threshold.get('identities', 'an unknown number of')} "
        f"identities, {threshold.get('pairs_same', 0):,} pairs of the same and {threshold.get('pairs_different', 0):,} "
        "of different ones. Other cameras need another one."
    ]
    parts += ["\n".join(rows)] if len(rows) > 2 else []
    if eer := threshold.get("eer"):
        parts.append(f"Both errors are alike at {eer['threshold']:.3f}: {eer['rate']:.1%}{_between(eer)}.")
    return "\n\n".join(parts)


def _between(row: Mapping[str, Any]) -> str:
    known = row.get("low") is not None and row.get("high") is not None
    return f" ({row['low']:.1%} to {row['high']:.1%})" if known else ""


def _data(facts: CardFacts, data_name: str | None, with_paths: bool) -> str:
    rows = {
        "data set": in_markdown(data_name) if data_name else f"not named; layout {facts.layout}",
        "identities learned from": f"{facts.identities:,}",
        "fingerprint of the training images (SHA-256)": f"`{facts.fingerprint}`" if facts.fingerprint else "not known",
        "images left out, as they cannot be decoded": "not known" if facts.left_out is None else str(facts.left_out),
    }
    if with_paths:
        rows["folder"] = f"`{facts.config.data_dir}`"
    return "\n".join(["| | |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in rows.items())])


def _settings(facts: CardFacts, with_paths: bool) -> str:
    own = facts.config.model_dump(mode="json")
    usual = TrainConfig().model_dump(mode="json")
    shown = {name: value for name, value in own.items() if value != usual[name] and name not in NOT_SETTINGS}
    if not with_paths:
        shown = {
            name: _without_path(value) if name in ("backbone", *PLACES) else value for name, value in shown.items()
        }
    rows = [f"| `{name}` | {in_markdown(show_value(value))} |" for name, value in shown.items()]
    table = "\n".join(["| setting | value |", "| --- | --- |", *rows])
    versions = ", ".join(f"{name} {number}" for name, number in facts.versions.items()) or "not known"
    return (
        "Those that differ from the defaults; `model.json` has all.\n\n"
        f"{table}\n\nWeights (SHA-256): `{facts.digest}`. Trained with: {versions}."
    )


def _without_path(value: Any) -> Any:
    """The value of a setting that may say where something lies on this machine, without that."""
    if value is None or value in ("imagenet", "none", *TORCHVISION_BACKBONES):
        return value
    if TIMM_NAME.fullmatch(str(value)) and f"{TIMM}{FOLDER}" not in value:
        return value
    return "of a folder" if str(value).startswith(TIMM) else "a file or folder"


def _loading(exported: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        "With reid-tuning, from this folder (`model.safetensors`):",
        "```python\nfrom reid_train.embed import load_model\n\n"
        'model = load_model(".")\nsimilarity = model.embed(["a.jpg"])[0] @ model.embed(["b.jpg"])[0]\n```',
    ]
    for name, description in exported.items():
        parts.append(f"`{name}` runs without it. In: {description['input']}. Out: {description['output']}.")
        if int8 := description.get("int8"):
            parts.append(_of_int8(name, int8))
    return "\n\n".join(parts)


def _of_int8(name: str, int8: Mapping[str, Any]) -> str:
    told = f"`{name}` computes with 8-bit integers ({int8['way']} quantisation): an embedding differs from the float32 "
    told += f"model's by {int8['mean_difference']:.2g} in cosine, {int8['largest_difference']:.2g} at most."
    if found := int8["validation"]:
        told += (
            f" mAP on validation identities: {found['mAP_float32']:.1%} before, {found['mAP_int8']:.1%} with 8 bits."
        )
    return told


def _licence(config: TrainConfig) -> str:
    origin = {
        "imagenet": f"the published weights of `{_without_path(config.backbone)}`, which have a licence of their own",
        "none": "random weights",
    }.get(config.pretrained, "a file of weights, which may have a licence of its own")
    return (
        f"Not stated. Training began with {origin}; the training images may have terms of use, too. Put the licence "
        "here and into the first lines before you publish the model."
    )
