"""report.html in a browser: it loads nothing, runs nothing of others, and its explorer works."""

import csv
import io
import json
import shlex
from pathlib import Path

import pytest
import yaml

from tests import browser as browsers
from tests import reported_study
from tests.reported_study import draw_pictures, made_up_errors, made_up_study
from tuning.record.study import Study
from tuning.result.page import write_page

pytestmark = pytest.mark.skipif(browsers.missing() is not None, reason=str(browsers.missing()))
HOSTILE = "</script><img src=x onerror=\"document.title='hit'\">"


@pytest.fixture(scope="module")
def browser():
    with browsers.open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    place = tmp_path_factory.mktemp("page")
    data_dir = draw_pictures(place)
    made = made_up_study(place / f"study {HOSTILE.replace('/', '|')}", trials=24, data_dir=data_dir, in_memory=True)
    errors = made_up_errors(data_dir)
    errors["map"][0]["identity"] = errors["lists"][0]["query"]["identity"] = HOSTILE
    reported_study.write(made.folder / "errors.json", errors)
    made.note(images_left_out=[HOSTILE])
    write_page(made, images=True)
    return made


@pytest.fixture
def opened(browser, study):
    def open_it(**options):
        found = browsers.open_page(browser, study.folder / "report.html", **options)
        shown.append(found)
        return found.page

    shown: list[browsers.Opened] = []
    yield open_it
    for one in shown:
        assert one.requests == [] and one.errors == [] and one.page.title() != "hit"
        one.page.context.close()


def numbers(page) -> list[int]:
    """Trials in the table, from the top."""
    return [int(text.rstrip(" ★")) for text in page.locator("#all tbody tr td:first-child").all_inner_texts()]


def kept(page) -> int:
    return int(page.locator("#count").inner_text().split()[0])


def settle(page) -> None:
    """Waits for what the explorer draws in the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels_lit(page) -> dict[str, int]:
    """Pixels of each chart's upper layer that are not empty."""
    return page.evaluate(
        """Object.fromEntries(CHARTS.map((chart) => {
            const {width, height} = chart.layers[1];
            const data = chart.layers[1].getContext("2d").getImageData(0, 0, width, height).data;
            return [chart.box.id, data.filter((value, at) => at % 4 === 3 && value).length];
        }))"""
    )


def test_pointing_at_a_trial_lights_it_up_everywhere(opened, study):
    page = opened()
    assert set(pixels_lit(page).values()) == {0}
    best = json.loads(page.locator("#record").inner_text())["best"]
    page.locator(f'#all tr[data-trial="{best}"]').hover()
    lit = pixels_lit(page)
    assert set(lit) == {"progress", "curves", "parallel", "slices"} and min(lit.values()) > 20
    page.locator("h1").hover()
    assert set(pixels_lit(page).values()) == {0}
    box = page.locator("#progress").bounding_box()
    page.locator("#progress").scroll_into_view_if_needed()
    box = page.locator("#progress").bounding_box()
    seen = set[int]()
    for step in range(40):  # along the line of the best so far
        for height in (0.1, 0.2, 0.3):
            page.mouse.move(box["x"] + 50 + step * (box["width"] - 60) / 40, box["y"] + height * box["height"])
            if trial := page.evaluate("Explorer.lit && Explorer.lit.number"):
                seen.add(trial)
                assert page.locator(f'#all tr[data-trial="{trial}"].lit').count() == 1
                assert page.locator("#tip").inner_text().startswith(f"trial {trial},")
    assert len(seen) >= 3


def test_the_table_sorts(opened, study):
    page = opened()
    scores = {trial.number: trial.score for trial in study.trials()}
    scored = [number for number in numbers(page) if scores[number] is not None]
    assert scored == sorted(scored, key=lambda number: -scores[number])
    page.get_by_role("button", name="learning_rate").click()
    rates = [study.trial(number).parameters["learning_rate"] for number in numbers(page)]
    assert rates == sorted(rates) and len(rates) == len(study.trials())
    page.get_by_role("button", name="learning_rate").click()
    assert numbers(page) != [] and study.trial(numbers(page)[0]).parameters["learning_rate"] == max(rates)
    assert page.locator('#all th[aria-sort="descending"]').inner_text().startswith("learning_rate")
    page.get_by_role("button", name="momentum").click()
    missing = [study.trial(number).parameters.get("momentum") is None for number in numbers(page)]
    assert missing == sorted(missing), "those without a value are last"


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("complete", lambda t: t.state == "complete"),
        ("optimizer=sgd", lambda t: t.parameters["optimizer"] == "sgd"),
        ("score>0.4 batch_size=32", lambda t: (t.score or 0) > 0.4 and t.parameters["batch_size"] == 32),
        ("learning_rate<=0.001", lambda t: t.parameters["learning_rate"] <= 0.001),
        ("momentum>0.7", lambda t: t.parameters.get("momentum", 0) > 0.7),
        ("nothing-has-this", lambda t: False),
    ],
)
def test_words_filter_table_and_charts(opened, study, words, passes):
    page = opened()
    page.locator("#find").fill(words)
    settle(page)
    wanted = {trial.number for trial in study.trials() if passes(trial)}
    assert set(numbers(page)) == wanted and kept(page) == len(wanted)
    page.get_by_role("button", name="Show all", exact=True).click()
    settle(page)
    assert kept(page) == len(study.trials()) and page.locator("#find").input_value() == ""


def test_brushing_an_axis_filters_and_its_name_lets_go(opened, study):
    page = opened()
    page.locator("#parallel").scroll_into_view_if_needed()
    box, record = page.locator("#parallel").bounding_box(), json.loads(page.locator("#record").inner_text())
    x = box["x"] + 26  # the first axis
    page.mouse.move(x, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 150, steps=5)
    page.mouse.up()
    settle(page)
    low, high = page.evaluate("Explorer.brushes.get(0)")
    assert 0 < low < high <= 1
    wanted = {row["number"] for row in record["trials"] if low <= row["places"][0] <= high}
    assert 0 < len(wanted) < len(study.trials())
    assert set(numbers(page)) == wanted == set(page.evaluate("[...Explorer.kept]"))
    page.mouse.click(x, box["y"] + 35)
    settle(page)
    assert kept(page) == len(study.trials())


def test_details_copy_as_yaml_and_as_set(opened, study):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    trial = next(trial for trial in study.trials() if "momentum" in trial.parameters)
    page.locator(f'#all tr[data-trial="{trial.number}"]').click()
    assert page.locator("#details h3").inner_text().startswith(f"Trial {trial.number}: {trial.state}")

    def copied(label: str, where: str = "#details") -> str:
        page.locator(where).get_by_role("button", name=label, exact=True).click()
        page.locator(where).get_by_role("button", name="Copied", exact=True).first.wait_for()
        return page.evaluate("navigator.clipboard.readText()")

    settings = yaml.safe_load(copied("Copy as YAML"))
    assert {name: settings[name] for name in trial.parameters} == trial.parameters
    assert settings["data_dir"] == study.space.fixed["data_dir"]
    given = shlex.split(copied("Copy as --set"))
    assert given[::2] == ["--set"] * len(trial.parameters)
    pairs = [assignment.split("=", 1) for assignment in given[1::2]]
    assert {name: yaml.safe_load(value) for name, value in pairs} == trial.parameters
    assert copied("Copy the command that trains it").endswith(shlex.join(given))
    assert copied("Copy as YAML", "#verdict") == (study.folder / "best_config.yaml").read_text()
    assert "tuning.retrain" in copied("Copy the next command", "#verdict")


def test_the_table_is_downloaded_as_csv(opened, study):
    page = opened()
    page.locator("#find").fill("complete")
    settle(page)
    with page.expect_download() as downloaded:
        page.locator("#csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(downloaded.value.path()).read_text())))
    assert {int(row["trial"]) for row in rows} == {t.number for t in study.trials() if t.state == "complete"}
    for row in rows:
        assert float(row["learning_rate"]) == study.trial(int(row["trial"])).parameters["learning_rate"]


def test_the_threshold_s_slider_says_what_is_found(opened):
    page = opened()
    curve = json.loads(page.locator("#record").inner_text())["threshold"]["curve"]
    slider, says, mark = (page.locator(name) for name in ("#threshold-slider", "#threshold-says", "#mark"))
    assert "From 0.5" in says.inner_text(), "it begins where both errors are equal"
    before = float(mark.get_attribute("x1"))
    slider.fill("85")
    share = f"{100 * curve[85]['true_positive_rate']:.1f} %"
    assert f"From {curve[85]['threshold']:.3f} on: {share}" in says.inner_text()
    assert float(mark.get_attribute("x1")) > before


def test_pointing_at_the_map_shows_the_image(opened):
    page = opened()
    page.locator("#points").scroll_into_view_if_needed()
    record = json.loads(page.locator("#record").inner_text())
    place = next(place for place, point in enumerate(record["map"]) if point[3] is not None)
    box = page.locator("#points circle").nth(place).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#tip")
    assert tip.is_visible() and tip.locator(".thumb").count() == 1
    lit = page.evaluate("[...document.querySelectorAll('#points circle')].map((c) => c.classList.contains('lit'))")
    at = [p[0] for p in record["map"]].index(tip.locator("b").inner_text())
    assert lit == [point[0] == record["map"][at][0] for point in record["map"]]


def test_hostile_names_are_shown_as_text(opened, study):
    page = opened()
    assert page.locator("h1").inner_text() == study.folder.name
    assert page.locator("img").count() == 0 and page.title().startswith("study <|script><img src=x")
    assert HOSTILE in page.locator("#data").inner_text()


def test_it_reads_without_javascript(opened, study):
    page = opened(java_script_enabled=False)
    assert page.locator("#verdict h2").is_visible() and page.locator("#search .static svg").first.is_visible()
    assert page.locator("#trials .static tbody tr").count() == sum(trial.score is not None for trial in study.trials())
    assert not page.locator("#find").is_visible() and not page.locator("#threshold-slider").is_visible()
    assert page.locator("#threshold table").is_visible() and page.locator("#errors .ranks").first.is_visible()


def contrast(one: str, other: str) -> float:
    """Of two colours rgb(…), as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour.split("(")[1].rstrip(")").split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_dark(opened, scheme):
    page = opened(color_scheme=scheme)
    colour = "(name, of) => getComputedStyle(document.querySelector(name))[of]"
    card = page.evaluate(f"({colour})('#verdict', 'backgroundColor')")
    assert (contrast(card, "rgb(255, 255, 255)") > 10) == (scheme == "dark")
    for name in ("h1", ".said", ".tile .label", ".soft", "thead th", ".steps p", "nav a"):
        assert contrast(card, page.evaluate(f"({colour})('{name}', 'color')")) >= 4.5, name


def test_on_paper_pictures_stand_for_the_explorer(opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("#search .static svg").first.is_visible() and not page.locator("#parallel").is_visible()
    assert not page.locator("nav").is_visible() and not page.locator("button").first.is_visible()
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert contrast(ink, "rgb(255, 255, 255)") > 10, "dark is for screens alone"


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out(opened, width):
    page = opened(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
