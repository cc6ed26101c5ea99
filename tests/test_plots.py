"""Figures contain the right data. Their appearance is not tested."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lamae_tutorial import plots


def test_image_grid_draws_each_image() -> None:
    figure = Figure()
    plots.image_grid(figure, {"a": torch.rand(3, 1, 4, 4), "b": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)})
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 1, 0]
    assert figure.axes[3].get_ylabel() == "b"
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_uint8_is_drawn_as_the_float_it_stands_for() -> None:
    figure = Figure()
    image = torch.randint(0, 256, (1, 4, 4), dtype=torch.uint8)
    for axes, shown in zip(figure.subplots(1, 2), (image, image / 255), strict=True):
        plots.show_image(axes, shown)
    left, right = (axes.images[0].get_array() for axes in figure.axes)
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_densities_gather_outliers_in_the_last_bin() -> None:
    axes = Figure().subplots()
    inside = np.linspace(1, 2, 200)
    plots.score_densities(axes, inside, {"ood": np.array([1.5, 1.5, 1.5, 1e8, 1e9])})
    assert axes.get_xlim()[1] < 7
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ID", "ood"]
    for patch, share in zip(axes.patches, (0, 2 / 5), strict=True):
        x, y = patch.get_xy().T
        last, width = y[x == x.max()].max(), np.diff(np.unique(x))[-1]
        assert last * width == pytest.approx(share)


def test_run_figure_has_a_row_for_each_entry_and_a_panel_for_each_score() -> None:
    images = {"ID": np.zeros((3, 1, 4, 4), np.uint8), "ID: AE": torch.rand(3, 1, 4, 4)}
    scores = {title: (np.arange(9.0), {"noise": np.arange(5.0)}) for title in ("AE", "AE+", "GODIN")}
    figure = plots.run_figure(images, scores)
    assert [axes.get_title() for axes in figure.axes if axes.get_legend()] == list(scores)
    assert sum(len(axes.images) for axes in figure.axes) == 6
    without = plots.run_figure({}, scores)  # as if no detector rebuilt images
    assert sum(len(axes.images) for axes in without.axes) == 0 and len(without.axes) == 4


def test_auroc_figure_draws_ours_and_the_papers() -> None:
    ours = (0.9, float("nan"))
    figure = plots.auroc_figure([("noise", "AE", ours, (0.8, 0.1)), ("own", "AE", (0.5, 0.2), None)])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise  AE", "own  AE"]
    assert [line[0].get_xdata()[0] for line in axes.containers] == [90, 80, 50]


def test_png() -> None:
    figure = Figure(figsize=(1, 1))
    assert plots.to_png(figure).startswith(b"\x89PNG")
