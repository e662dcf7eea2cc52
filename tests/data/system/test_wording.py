"""Texts of users in what commands print, draw and write: they are shown as they are."""

import io

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.table import Table

from data.system.wording import gigabytes, in_markdown, in_plot, in_spreadsheet, open_console
from tuning.result.tables import markdown_table

NAMES = ["[red]a[/red]", "[/]", "[link=x]y", ":smile:", "a|b", "50 % {x} #1", "$x$", r"$\\frac$", "<b>a</b>", "**a**"]


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_shows_a_name_as_it_is(name, monkeypatch):
    console, table = open_console(), Table(title=name)
    console.file = io.StringIO()
    table.add_column(name)
    table.add_row(name)
    console.print(name)
    console.print(table)
    assert console.file.getvalue().count(name) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_plot_shows_a_name_as_it_is(name):
    figure = Figure()
    drawn = figure.suptitle(in_plot(name))
    figure.canvas.draw()
    shown, is_formula = Text(text=in_plot(name))._preprocess_math(drawn.get_text())
    assert shown == name and not is_formula


def test_a_table_in_markdown_has_the_cells_that_it_was_given():
    table = markdown_table(["name", "a|b"], [["x|y", "<b>"], ["1", "`"]])
    cells = [[cell.strip() for cell in line.replace(r"\|", "¦").strip("|").split("|")] for line in table.splitlines()]
    assert cells == [["name", "a¦b"], ["---", "---"], ["x¦y", r"\<b>"], ["1", r"\`"]]
    assert in_markdown("$x$ &lt;b") == r"\$x\$ \&lt;b"
    assert in_markdown("[x](y) * a\nb") == r"\[x\](y) \* a\\nb"


def test_the_size_of_a_folder_is_whole_numbers_and_passes_over_what_is_gone(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(150 * 10**9)  # a hole takes no room
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert gigabytes(tmp_path) == "150 GB"
    with (tmp_path / "large").open("wb") as file:
        file.truncate(12_345_678)
    assert gigabytes(tmp_path) == "0.012 GB"


@pytest.mark.parametrize(
    "text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "-1+1", "\uff1d1", "--5"]
)
def test_a_cell_that_a_spreadsheet_would_compute_is_a_text_there(text):
    """OWASP, CSV injection: an apostrophe before it."""
    assert in_spreadsheet(text) == "'" + text


@pytest.mark.parametrize(
    "value", [-1, -1.5, "-1.5", "+1e-3", "-inf", "nan", None, "", "a=b", "7 - 3", "'x", True, "soft"]
)
def test_numbers_and_other_texts_are_cells_as_they_are(value):
    assert in_spreadsheet(value) is value
