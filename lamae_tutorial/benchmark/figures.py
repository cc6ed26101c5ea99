"""Figures from records: this module collects the arrays, and `plots.py` draws them."""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamae_tutorial import plots
from lamae_tutorial.benchmark.records import Result, array_key, read_records, read_settings, saved_arrays
from lamae_tutorial.benchmark.tables import Row, aggregate, correlations
from lamae_tutorial.data.writing import make_folder, write_file


def figures(records: dict[Result, Path]) -> dict[str, Figure]:
    """Return the figures that can be drawn from these records, by name.

    "auroc-ID" for each ID set: our AUROC and the paper's. "reconstructions-OOD" and "densities-OOD": MemAE and LAMAE,
    seed 0 (LAMAE paper, Figures 3 and 4). "memory-size": LAMAE by slots per class (Figure 5). "entropy-error": the
    autoencoder, seed 0 (Section 3.2.1).
    """
    rows = aggregate(records)
    drawn = {
        f"auroc-{id_name}": _aurocs([row for row in rows if row.id == id_name and row.is_main])
        for id_name in dict.fromkeys(row.id for row in rows)
    }
    drawn |= _examples(rows, records)
    if sizes := _memory_sizes(rows, read_settings(dict.fromkeys(records.values()))):
        drawn["memory-size"] = plots.memory_figure(sizes)
    if of_set := correlations(records).get(0):
        drawn["entropy-error"] = plots.entropy_figure({name: values[:2] for name, (_, values) in of_set.items()})
    return drawn


def run_figure(files: Iterable[Path]) -> Figure:
    """Draw examples, reconstructions and the densities of each score. The cells share one scenario and one seed."""
    images: dict[str | None, dict[str, NDArray[np.uint8]]] = {}  # by OoD set (None for ID), then by name of the row
    scores: dict[str, tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]] = {}
    for path in files:
        arrays = saved_arrays(path) or {}
        for result in read_records([path]):
            for ood, name in ((None, "ID"), (result.ood, result.ood)):
                for what, shown in (("image", name), ("reconstruction", f"{name}: {result.detector}")):
                    if array_key(what, ood) in arrays:
                        images.setdefault(ood, {})[shown] = arrays[array_key(what, ood)]
            kind = f"score/{result.score}"
            of_ood = scores.setdefault(result.title, (arrays[array_key(kind)], {}))[1]
            of_ood[result.ood] = arrays[array_key(kind, result.ood)]
    rows = {shown: array for of_set in images.values() for shown, array in of_set.items()}
    return plots.run_figure(rows, scores)


def save_figures(drawn: Mapping[str, Figure], folder: Path, prefix: str = "") -> list[Path]:
    """Write each figure as PNG and SVG, and return the files."""
    make_folder(folder)
    files = []
    for name, figure in drawn.items():
        for kind, content in (("png", plots.to_png(figure)), ("svg", to_svg(figure))):
            files.append(folder / f"{prefix}{_file_name(name)}.{kind}")
            write_file(files[-1], content)
    return files


def _file_name(name: str) -> str:
    """Return the name as a file may have it: without `/` and not too long, and then with a hash of the whole."""
    allowed = re.sub(r"[/\x00-\x1f]", "_", name)[:60]
    return name if allowed == name else f"{allowed}-{hashlib.sha256(ascii(name).encode()).hexdigest()[:8]}"


def to_svg(figure: Figure) -> bytes:
    """Return the figure as the bytes of an SVG file. The same figure always gives the same bytes."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "lamae"}):
        figure.savefig(buffer, format="svg", dpi=288, metadata={"Date": None})  # dpi: of images
    return buffer.getvalue()


def _aurocs(rows: Sequence[Row]) -> Figure:
    return plots.auroc_figure(
        [
            (
                row.ood,
                row.title,
                (row.mean["auroc"], row.std["auroc"]),
                None if row.paper is None else (row.paper.auroc_mean, row.paper.auroc_std),
            )
            for row in rows
        ]
    )


def _examples(rows: Sequence[Row], records: dict[Result, Path]) -> dict[str, Figure]:
    """Draw Figures 3 and 4 for each held-out class for which both detectors kept reconstructions with seed 0."""
    kept: dict[str, dict[str, Path]] = {}
    for row in rows:
        for result in row.results:
            usual = result.score == result.default_score and not result.variant
            if result.detector in ("MemAE", "LAMAE") and usual and result.held_out and result.seed == 0:
                kept.setdefault(row.ood, {})[result.detector] = records[result]
    drawn = {}
    for ood, path_of in kept.items():
        images: dict[str, NDArray[np.uint8]] = {}
        densities: dict[str, tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]] = {}
        for title in sorted(path_of, reverse=True):  # MemAE first
            saved = saved_arrays(path_of[title])
            if saved is None or array_key("reconstruction", ood) not in saved:
                continue
            for name, shown in ((None, "ID"), (ood, ood)):
                images.setdefault(shown, saved[array_key("image", name)])
                images[f"{shown}: {title}"] = saved[array_key("reconstruction", name)]
            inside, outside = (saved[array_key("score/error", name)] for name in (None, ood))
            densities[title] = (inside, {ood: outside})
        if len(densities) == 2:
            order = sorted(images, key=lambda name: not name.startswith("ID"))
            drawn[f"reconstructions-{ood}"] = plots.reconstructions_figure({name: images[name] for name in order})
            drawn[f"densities-{ood}"] = plots.densities_figure(densities)
    return drawn


def _memory_sizes(
    rows: Sequence[Row], settings: Mapping[Result, Mapping[str, Any]]
) -> dict[str, dict[int, tuple[float, float]]]:
    """Return mean and deviation of AUROC by slots per class, for LAMAE and LAMAE+, if several sizes were run."""
    sizes: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        size = settings[row.results[0]].get("slots_per_class")
        if row.detector == "LAMAE" and row.is_main and row.variant in ("", f"slots_per_class={size}"):
            title = f"{row.results[0].title}, {row.ood}"
            if isinstance(size, int):  # not a tuple with one number per class
                sizes.setdefault(title, {})[size] = (row.mean["auroc"], row.std["auroc"])
    return {title: of_size for title, of_size in sizes.items() if len(of_size) > 1}
