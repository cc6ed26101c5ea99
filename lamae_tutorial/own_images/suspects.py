"""The page of `lamae score --report`: the most suspicious images, and all scores beside the calibration scores."""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from lamae_tutorial import plots
from lamae_tutorial.benchmark.page import as_html
from lamae_tutorial.benchmark.tables import Table
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.own_images.scoring import Summary

_COLUMNS = 8


def page_of_suspects(detector: Detector, source: str, summary: Summary, alpha: float) -> str:
    """Return one self-contained HTML page.

    Parameters
    ----------
    detector : Detector
        Fitted and calibrated.
    source : str
        The source of the images, for the title.
    summary : Summary
        The result of :func:`lamae_tutorial.own_images.scoring.score_images`.
    alpha : float
        The false-alarm rate of the verdicts.
    """
    counts = Table(
        "Counts",
        f"An image is called OoD if its p-value is at most {alpha:g}. This is expected of at most {100 * alpha:g}% of "
        "in-distribution images.",
        pd.DataFrame(
            {
                "images": [str(summary.images)],
                "called OoD": [str(summary.outliers)],
                "share": [f"{summary.outliers / max(1, summary.images - summary.problems):.1%}"],
                "not scored": [str(summary.problems)],
            }
        ),
    )
    most = Table(
        "Most suspicious",
        f"Ordered by the score {detector.calibration_kind_!r}, as in the pictures."
        + (f" Without the {summary.resumed} images of the interrupted run." if summary.resumed else ""),
        pd.DataFrame(
            [[str(place), path, f"{score:.4g}"] for place, (score, path, _) in enumerate(summary.suspects, 1)],
            columns=["", "path", "score"],
        ),
    )
    figures = {}
    if summary.suspects:
        figures["Most suspicious images"] = _pictures(detector, summary)
    if summary.scores:
        figures["Scores"] = _densities(detector, summary, alpha)
    return as_html(f"Scores of {source}", [counts, most] if len(most.frame) else [counts], figures)


def _pictures(detector: Detector, summary: Summary) -> Figure:
    """Draw each image; if the detector rebuilds images, draw the reconstruction and the difference below it."""
    images = torch.stack([pixels for _, _, pixels in summary.suspects])
    kinds = {"image": images.float() / 255}
    if detector.rebuilds:
        kinds["rebuilt"] = detector.reconstruct(images)
        kinds["difference"] = (kinds["image"] - kinds["rebuilt"]).abs()
    rows = {
        f"{start + 1}-{min(start + _COLUMNS, len(images))}: {name}": values[start : start + _COLUMNS]
        for start in range(0, len(images), _COLUMNS)
        for name, values in kinds.items()
    }
    return plots.reconstructions_figure(rows)


def _densities(detector: Detector, summary: Summary, alpha: float) -> Figure:
    """Draw all scores beside the calibration scores, and the threshold (one for each group of the calibration)."""
    figure = Figure(figsize=(9, 3.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    calibration = detector.calibration_
    plots.score_densities(axes, calibration.scores, {"these images": np.asarray(summary.scores)})
    groups = None if calibration.groups is None else np.unique(calibration.groups)
    for number, threshold in enumerate(np.atleast_1d(calibration.thresholds(alpha, groups))):
        axes.axvline(threshold, color="black", linewidth=1, label="_" if number else f"threshold, alpha = {alpha:g}")
    axes.legend()
    return figure
