"""The picture of a run: what it draws comes from the rows."""

from matplotlib import pyplot as plt
from PIL import Image

from reid_train.plots import PANELS, plot_history


def test_every_measured_curve_is_drawn_and_what_was_not_measured_says_so(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("reid_train.plots.save_figure", lambda figure, file: figures.append(figure))
    rows = [
        {"epoch": e, "ce_loss": 2 / e, "val_ce_loss": 3 / e if e > 1 else None, "learning_rate": 0.1} for e in (1, 2, 3)
    ]
    plot_history(rows, tmp_path / "h.png")
    panels = dict(zip((name for name, _, _ in PANELS), figures[0].axes, strict=True))
    train, held_out = panels["Cross-entropy"].get_lines()
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([1, 2, 3], [2, 1, 2 / 3])
    assert (list(held_out.get_xdata()), list(held_out.get_ydata())) == ([2, 3], [1.5, 1])
    assert [text.get_text() for text in panels["Triplet loss"].texts] == ["not measured in this run"]
    assert not panels["Learning rate"].texts
    plt.close("all")


def test_one_epoch_and_none_give_a_picture_and_leave_no_figure_open(tmp_path):
    for rows in ([], [{"epoch": 1, "ce_loss": 2.0, "accuracy": 0.5}]):
        plot_history(rows, tmp_path / "h.png")
        with Image.open(tmp_path / "h.png") as image:
            image.load()
    assert plt.get_fignums() == []
