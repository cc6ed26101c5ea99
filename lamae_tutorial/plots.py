"""Figures: reconstructions and score densities. Colours are Okabe and Ito's; line styles say the same as colours do."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from lamae_tutorial.benchmark.cells import Cell
from lamae_tutorial.benchmark.records import Row
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector

ID_COLOUR, OOD_COLOUR = "#0072B2", "#D55E00"
OKABE_ITO = (ID_COLOUR, OOD_COLOUR, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def show_image(axes: Axes, image: Tensor | NDArray[np.generic], title: str = "") -> None:
    """Draw one image, uint8 (C, H, W) or float (C, H, W) in [0, 1], without axes."""
    pixels = np.asarray(image).transpose(1, 2, 0)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    grey = pixels.shape[2] == 1
    axes.imshow(pixels[..., 0] if grey else pixels, cmap="gray" if grey else None, vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title, fontsize="small")


def image_grid(figure: Figure | SubFigure, rows: Mapping[str, Tensor], columns: Sequence[str] = ()) -> None:
    """Draw a row of images for each entry, its name at the left: uint8 or float tensors (N, C, H, W).

    `columns` are written over the first row.
    """
    grid = figure.subplots(len(rows), max(len(images) for images in rows.values()), squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, image in zip(line, images, strict=False):
            show_image(axes, image)
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    for axes, title in zip(grid[0], columns, strict=False):
        axes.set_title(title, fontsize="small")
    figure.subplots_adjust(left=0.25, right=0.98, bottom=0.03, top=0.92 if columns else 0.97, wspace=0.06, hspace=0.08)


def score_densities(axes: Axes, id_scores: NDArray[np.float64], ood: Mapping[str, NDArray[np.float64]]) -> None:
    """Draw the densities of ID and OoD scores.

    Scores beyond three times the 99.5% quantile of the ID scores are counted in the last bin, so that a few large ones
    do not squeeze the rest.
    """
    low = min(id_scores.min(), *(scores.min() for scores in ood.values()))
    high = max(id_scores.max(), *(scores.max() for scores in ood.values()))
    quantile = float(np.quantile(id_scores, 0.995))
    if quantile > 0:
        high = min(high, 3 * quantile)
    bins = np.linspace(low, max(high, low + 1e-12), min(60, 8 + int(len(id_scores) ** 0.5))).tolist()
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
            label=name,
        )
    axes.set_xlabel("score (higher = more out-of-distribution)")
    axes.set_ylabel("density")
    axes.legend()


def run_figure(cells: Sequence[Cell], images_a_set: int = 8) -> Figure:
    """Reconstructions by each detector and the densities of each score, for cells of one scenario and one seed."""
    scenario = cells[0].scenario
    rebuilding = [cell.detector for cell in cells if isinstance(cell.detector, ReconstructionDetector)]
    samples = {"ID": scenario.test.images, **{name: part.images for name, part in scenario.ood.items()}}
    rows: dict[str, Tensor] = {}
    for name, images in samples.items():
        some = images[np.linspace(0, len(images) - 1, min(images_a_set, len(images))).astype(int)]
        rows[name] = some
        for detector in rebuilding:
            rows[f"{name}: {detector.title}"] = detector.reconstruct(some)
    scores = {title: of_set for cell in cells for title, of_set in cell.scores.items()}
    columns = 2
    density_rows = -(-len(scores) // columns)
    heights = [0.7 * len(rows), 2.6 * density_rows]
    figure = Figure(figsize=(9, sum(heights)), facecolor="white")
    upper, lower = figure.subfigures(2, 1, height_ratios=heights)
    image_grid(upper, rows)
    grid = lower.subplots(density_rows, columns, squeeze=False).flatten()
    for axes in grid[len(scores) :]:
        axes.set_axis_off()
    for axes, (title, of_set) in zip(grid, scores.items(), strict=False):
        score_densities(axes, of_set["id"], {name: values for name, values in of_set.items() if name != "id"})
        axes.set_title(title)
    lower.subplots_adjust(left=0.08, right=0.98, bottom=0.12 / density_rows + 0.04, top=0.93, hspace=0.5, wspace=0.2)
    return figure


def auroc_figure(rows: Sequence[Row]) -> Figure:
    """AUROC of each detector on each OoD set, with its deviation: filled ours, hollow the paper's."""
    titles = list(dict.fromkeys(row.detector for row in rows))
    sets = list(dict.fromkeys(row.ood for row in rows))
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(titles) * len(sets)), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for row in rows:
        colour = OKABE_ITO[titles.index(row.detector) % len(OKABE_ITO)]
        height = sets.index(row.ood) * (len(titles) + 1) + titles.index(row.detector)
        style: dict[str, Any] = {"fmt": "o", "color": colour, "capsize": 3}
        axes.errorbar(100 * row.mean["auroc"], height, xerr=100 * np.nan_to_num(row.std["auroc"]), **style)
        if row.paper is not None:
            deviation = 100 * np.nan_to_num(row.paper.auroc_std)
            axes.errorbar(100 * row.paper.auroc_mean, height + 0.3, xerr=deviation, mfc="white", alpha=0.6, **style)
    heights = {
        sets.index(row.ood) * (len(titles) + 1) + titles.index(row.detector): f"{row.ood}  {row.detector}"
        for row in rows
    }
    axes.set_yticks(list(heights), list(heights.values()), fontsize="small")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set(xlabel="AUROC (%): filled ours, hollow the paper's")
    return figure


def reconstructions_figure(rows: Mapping[str, Tensor]) -> Figure:
    """Images and their reconstructions, a row each (LAMAE paper, Fig. 3)."""
    figure = Figure(figsize=(9, 0.8 * len(rows)), facecolor="white")
    image_grid(figure, rows)
    return figure


def densities_figure(
    scores: Mapping[str, tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]],
) -> Figure:
    """The densities of each detector's ID and OoD scores side by side (LAMAE paper, Fig. 4)."""
    figure = Figure(figsize=(9, 3.2), facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (title, (inside, ood)) in zip(panels, scores.items(), strict=True):
        score_densities(axes, inside, ood)
        axes.set_title(title)
    return figure


def memory_figure(curves: Mapping[str, Mapping[int, tuple[float, float]]]) -> Figure:
    """AUROC (mean, deviation) by memory slots per class (LAMAE paper, Fig. 5)."""
    figure = Figure(figsize=(6, 3.4), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, (name, by_size) in enumerate(curves.items()):
        sizes = sorted(by_size)
        means, deviations = (np.array([100 * by_size[size][part] for size in sizes]) for part in (0, 1))
        colour, marker = OKABE_ITO[number % len(OKABE_ITO)], "os^vD"[number % 5]
        axes.errorbar(sizes, means, yerr=np.nan_to_num(deviations), label=name, color=colour, marker=marker, capsize=3)
    axes.set(xscale="log", xlabel="memory slots per class", ylabel="AUROC (%)")
    ticks = sorted({size for by_size in curves.values() for size in by_size})
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.set_xticks([], minor=True)
    axes.legend()
    return figure


def entropy_figure(sets: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Reconstruction error over entropy: an array (2, N) of both for each set (LAMAE paper, Section 3.2.1)."""
    figure = Figure(figsize=(6, 3.6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, (name, (entropy, error)) in enumerate(sets.items()):
        some = np.linspace(0, len(entropy) - 1, min(2000, len(entropy))).astype(int)  # a file of moderate size
        colour, marker = OKABE_ITO[number % len(OKABE_ITO)], "ox^v"[number % 4]
        axes.scatter(entropy[some], error[some], s=8, alpha=0.4, label=name, color=colour, marker=marker)
    axes.set(xlabel="entropy (bits)", ylabel="mean squared error", yscale="log")
    axes.legend()
    return figure


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
