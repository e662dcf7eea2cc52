"""The picture of a run: what it draws comes from the rows."""

from matplotlib import pyplot
from PIL import Image

from reid_train.training.plots import PANELS, plot_history


def test_every_measured_curve_is_drawn_and_what_was_not_measured_says_so(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("reid_train.training.plots.save_figure", lambda figure, file: figures.append(figure))
    rows = [
        {"epoch": e, "ce_loss": 2 / e, "val_ce_loss": 3 / e if e > 1 else None, "learning_rate": 0.1} for e in (1, 2, 3)
    ]
    plot_history(rows, tmp_path / "h.png")
    panels = dict(zip((name for name, _, _ in PANELS), figures[0].axes, strict=True))
    train, held_out = panels["Cross-entropy"].get_lines()
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([1, 2, 3], [2, 1, 2 / 3])
    assert (list(held_out.get_xdata()), list(held_out.get_ydata())) == ([2, 3], [1.5, 1])
    assert [text.get_text() for text in panels["Metric loss"].texts] == ["not measured in this run"]
    assert not panels["Learning rate"].texts


def test_panels_of_experts_and_of_a_teacher_are_there_where_a_run_has_them(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("reid_train.training.plots.save_figure", lambda figure, file: figures.append(figure))
    told = {"epoch": 1, "gate_entropy": 0.7, "expert_usage": (0.25, 0.75), "kd_loss": None}
    read = {"epoch": 2, "gate_entropy": 0.5, "expert_usage_0": 0.5, "expert_usage_1": 0.5, "kd_loss": None}  # a table's
    for rows in ([told, read], [{"epoch": 1, "kd_loss": 3.0, "gate_entropy": None, "expert_usage": None}]):
        plot_history(rows, tmp_path / "h.png")
    mixture, taught = ({axes.get_title(loc="left"): axes for axes in figure.axes} for figure in figures)
    assert list(mixture)[len(PANELS) :] == ["Gate entropy", "Expert usage"]
    assert [list(line.get_ydata()) for line in mixture["Expert usage"].get_lines()] == [[0.25, 0.5], [0.75, 0.5]]
    assert list(mixture["Gate entropy"].get_lines()[0].get_ydata()) == [0.7, 0.5]
    assert [text.get_text() for text in mixture["Expert usage"].get_legend().get_texts()] == ["0", "1"]
    assert list(taught)[len(PANELS) :] == ["Distillation loss"]
    assert list(taught["Distillation loss"].get_lines()[0].get_ydata()) == [3.0]


def test_one_epoch_and_none_give_a_picture_and_leave_no_figure_open(tmp_path):
    for rows in ([], [{"epoch": 1, "ce_loss": 2.0, "accuracy": 0.5}]):
        plot_history(rows, tmp_path / "h.png")
        with Image.open(tmp_path / "h.png") as image:
            image.load()
    assert pyplot.get_fignums() == []
