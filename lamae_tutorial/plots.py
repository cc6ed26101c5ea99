"""Figures, from arrays. The colours are those of Okabe and Ito; line styles and markers differ too."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from lamae_tutorial.data.writing import readable

Images = Tensor | NDArray[np.generic]  # (N, C, H, W), uint8 or float in [0, 1]
Scores = tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]  # of the ID images, and of each OoD set
MeanStd = tuple[float, float]  # the deviation may be not-a-number

ID_COLOUR, OOD_COLOUR = "#0072B2", "#D55E00"
OKABE_ITO = (ID_COLOUR, OOD_COLOUR, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")

BOOK_STYLE: dict[str, Any] = {
    "figure.figsize": (5, 3),  # in inches; text of 11.5 points still has 8 on a phone, which shows 3.6 inches
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.dpi": 288,  # of images inside an SVG: browsers shrink them without blur
    "axes.prop_cycle": cycler(color=OKABE_ITO),
    "font.size": 11.5,
    **dict.fromkeys(
        [
            "axes.titlesize",
            "axes.labelsize",
            "xtick.labelsize",
            "ytick.labelsize",
            "legend.fontsize",
            "figure.titlesize",
        ],
        "medium",
    ),
}
"""Matplotlib's settings for figures in the book. See :func:`lamae_tutorial.teaching.notebook.book_style`."""


def show_image(axes: Axes, image: Tensor | NDArray[np.generic], title: str = "") -> None:
    """Draw one image, uint8 (C, H, W) or float (C, H, W) in [0, 1], without axes."""
    pixels = np.asarray(image).transpose(1, 2, 0)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    grey = pixels.shape[2] == 1
    shown = pixels[..., 0] if grey else pixels
    axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.set_title(_label(title), fontsize="medium")


def image_grid(figure: Figure | SubFigure, rows: Mapping[str, Images], columns: Sequence[str] = ()) -> None:
    """Draw a row of images, uint8 or float (N, C, H, W), for each entry, with its name on the left.

    `columns` are titles above the first row. The figure's layout must be "constrained", to leave room for the names.
    """
    grid = figure.subplots(len(rows), max(len(images) for images in rows.values()), squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images, strict=False):
            show_image(axes, image)
        for axes in line[len(images) :]:
            axes.set_axis_off()
        line[0].set_ylabel(_label(name), rotation="horizontal", ha="right", va="center")
    for axes, title in zip(grid[0], columns, strict=False):
        axes.set_title(_label(title), fontsize="medium")


def score_densities(axes: Axes, id_scores: NDArray[np.float64], ood: Mapping[str, NDArray[np.float64]]) -> None:
    """Draw the densities of ID and OoD scores.

    Scores above three times the 99.5% quantile of the ID scores are counted in the last bin. Otherwise a few large
    scores would squeeze the rest.
    """
    low = min(id_scores.min(), *(scores.min() for scores in ood.values()))
    high = max(id_scores.max(), *(scores.max() for scores in ood.values()))
    quantile = float(np.quantile(id_scores, 0.995))
    if quantile > 0:
        high = min(high, 3 * quantile)
    bins = np.linspace(low, max(high, low + 1e-12 * max(1, abs(low))), min(60, 8 + int(len(id_scores) ** 0.5))).tolist()
    styles = ["--", ":", "-."]
    lines = [("ID", id_scores, ID_COLOUR, "-")]
    for number, (name, scores) in enumerate(ood.items()):
        lines.append((name, scores, OKABE_ITO[1 + number % 7], styles[number % 3]))
    for name, scores, colour, style in lines:
        axes.hist(
            np.clip(scores, bins[0], bins[-1]),
            bins,
            density=True,
            histtype="stepfilled",
            facecolor=(colour, 0.2),
            edgecolor=colour,
            linestyle=style,
            linewidth=1.5,
            label=_label(name),
        )
    axes.set_xlabel("score (higher = more out-of-distribution)")
    axes.set_ylabel("density")
    axes.legend()


def run_figure(images: Mapping[str, Images], scores: Mapping[str, Scores]) -> Figure:
    """Return a figure with a row for each entry of `images` and, below, the densities of each score under its title."""
    columns = 2
    density_rows = -(-len(scores) // columns)
    heights = [0.7 * len(images) or 0.1, 2.6 * density_rows]
    figure = Figure(figsize=(9, sum(heights)), facecolor="white", layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=heights)
    if images:
        image_grid(upper, images)
    grid = lower.subplots(density_rows, columns, squeeze=False).flatten()
    for axes in grid[len(scores) :]:
        axes.set_axis_off()
    for axes, (title, (inside, ood)) in zip(grid, scores.items(), strict=False):
        score_densities(axes, inside, ood)
        axes.set_title(_label(title))
    return figure


def auroc_figure(points: Sequence[tuple[str, str, MeanStd, MeanStd | None]]) -> Figure:
    """Return a figure of AUROC by OoD set and detector. Our points are filled, the paper's are hollow.

    Each point is (OoD set, title, our mean and deviation, the paper's mean and deviation or None), numbers in [0, 1].
    """
    titles = list(dict.fromkeys(title for _, title, _, _ in points))
    sets = list(dict.fromkeys(ood for ood, _, _, _ in points))
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(titles) * len(sets)), facecolor="white", layout="constrained")
    axes = figure.subplots()
    labels = {}
    for ood, title, (mean, deviation), paper in points:
        colour = OKABE_ITO[titles.index(title) % len(OKABE_ITO)]
        height = sets.index(ood) * (len(titles) + 1) + titles.index(title)
        labels[height] = _label(f"{ood}  {title}")
        style: dict[str, Any] = {"fmt": "o", "color": colour, "capsize": 3}
        axes.errorbar(100 * mean, height, xerr=100 * np.nan_to_num(deviation), **style)
        if paper is not None:
            axes.errorbar(
                100 * paper[0], height + 0.3, xerr=100 * np.nan_to_num(paper[1]), mfc="white", alpha=0.6, **style
            )
    axes.set_yticks(list(labels), list(labels.values()), fontsize="small")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set(xlabel="AUROC (%): filled ours, hollow the paper's")
    return figure


def reconstructions_figure(rows: Mapping[str, Images]) -> Figure:
    """Return a figure with one row per entry: images or their reconstructions (LAMAE paper, Fig. 3)."""
    figure = Figure(figsize=(9, 0.8 * len(rows)), facecolor="white", layout="constrained")
    image_grid(figure, rows)
    return figure


def densities_figure(scores: Mapping[str, Scores]) -> Figure:
    """Return a figure with the densities of ID and OoD scores, one panel per detector (LAMAE paper, Fig. 4)."""
    figure = Figure(figsize=(9, 3.2), facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (title, (inside, ood)) in zip(panels, scores.items(), strict=True):
        score_densities(axes, inside, ood)
        axes.set_title(_label(title))
    return figure


def memory_figure(curves: Mapping[str, Mapping[int, MeanStd]]) -> Figure:
    """Return a figure of AUROC (mean, deviation) by memory slots per class (LAMAE paper, Fig. 5)."""
    figure = Figure(figsize=(6, 3.4), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, (name, by_size) in enumerate(curves.items()):
        sizes = sorted(by_size)
        means, deviations = (np.array([100 * by_size[size][part] for size in sizes]) for part in (0, 1))
        colour, marker = OKABE_ITO[number % len(OKABE_ITO)], "os^vD"[number % 5]
        axes.errorbar(
            sizes, means, yerr=np.nan_to_num(deviations), label=_label(name), color=colour, marker=marker, capsize=3
        )
    axes.set(xscale="log", xlabel="memory slots per class", ylabel="AUROC (%)")
    ticks = sorted({size for by_size in curves.values() for size in by_size})
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.set_xticks([], minor=True)
    axes.legend()
    return figure


def entropy_figure(sets: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Return a figure of error over entropy from an array (entropy, error), (2, N), per set (LAMAE paper, 3.2.1)."""
    figure = Figure(figsize=(6, 3.6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, (name, (entropy, error)) in enumerate(sets.items()):
        some = np.linspace(0, len(entropy) - 1, min(2000, len(entropy))).astype(int)  # limits the size of the file
        colour, marker = OKABE_ITO[number % len(OKABE_ITO)], "ox^v"[number % 4]
        axes.scatter(entropy[some], error[some], s=8, alpha=0.4, label=_label(name), color=colour, marker=marker)
    axes.set(xlabel="entropy (bits)", ylabel="mean squared error", yscale="log")
    axes.legend()
    return figure


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _label(name: str) -> str:
    """Return a name as Matplotlib draws it as it is: not as a formula, not hidden from the legend, and not too long."""
    text = readable(name).replace("$", r"\$")
    text = f"{text[:100]}..." if len(text) > 100 else text
    return f" {text}" if text.startswith("_") else text
