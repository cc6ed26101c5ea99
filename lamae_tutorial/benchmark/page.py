"""The report's figures, and all of it as one HTML page that needs nothing else."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamae_tutorial import plots
from lamae_tutorial.benchmark.cells import Result, new_detector
from lamae_tutorial.benchmark.records import Row, aggregate
from lamae_tutorial.benchmark.tables import Table, correlations, saved_arrays

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.2rem 0.6rem; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: Canvas; }
tr:nth-child(even) { background: color-mix(in srgb, CanvasText 6%, Canvas); }
.table { overflow-x: auto; }
.above { color: light-dark(#0072B2, #56B4E9); font-weight: bold; }
.below { color: light-dark(#B34700, #E69F00); font-weight: bold; }
img { max-width: 100%; background: white; }
"""


def figures(records: dict[Result, Path]) -> dict[str, Figure]:
    """The figures that these records permit, by name.

    "auroc-ID" for each ID set: ours and the paper's. "reconstructions-OOD" and "densities-OOD" (the LAMAE paper's
    Figures 3 and 4): MemAE and LAMAE with seed 0. "memory-size" (its Figure 5): LAMAE by slots per class.
    "entropy-error" (its Section 3.2.1), seed 0.
    """
    rows = aggregate(records)
    drawn = {
        f"auroc-{id_name}": plots.auroc_figure([row for row in rows if row.id == id_name and "(" not in row.detector])
        for id_name in dict.fromkeys(row.id for row in rows)
    }
    drawn |= _examples(rows, records)
    sizes = _memory_sizes(rows)
    if len(sizes) > 1:
        drawn["memory-size"] = plots.memory_figure(sizes)
    if of_set := correlations(records).get(0):
        drawn["entropy-error"] = plots.entropy_figure({name: values[:2] for name, (_, values) in of_set.items()})
    return drawn


def save_figures(drawn: dict[str, Figure], folder: Path, prefix: str = "") -> list[Path]:
    """Write each figure as PNG and SVG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in drawn.items():
        for kind, content in (("png", plots.to_png(figure)), ("svg", to_svg(figure))):
            files.append(folder / f"{prefix}{name}.{kind}")
            files[-1].write_bytes(content)
    return files


def to_svg(figure: Figure) -> bytes:
    """The figure as the bytes of an SVG file, the same at each call."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "lamae"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def as_html(title: str, tables: Sequence[Table], drawn: dict[str, Figure]) -> str:
    """One page with the figures in it."""
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
    ]
    for table in tables:
        parts += [f"<h2>{escape(table.title)}</h2>", f"<p>{escape(table.note)}</p>", '<div class="table"><table>']
        parts.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in table.header) + "</tr>")
        for line in table.lines:
            parts.append("<tr>" + "".join(_html_cell(cell) for cell in line) + "</tr>")
        parts.append("</table></div>")
    for name, figure in drawn.items():
        picture = base64.b64encode(to_svg(figure)).decode()
        parts.append(f"<h2>{escape(name)}</h2>")
        parts.append(f'<img alt="{escape(name)}" src="data:image/svg+xml;base64,{picture}">')
    return "\n".join([*parts, "</html>", ""])


def _html_cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("above", "below") else ""
    return f"<td{mark}>{escape(text)}</td>"


def _examples(rows: Sequence[Row], records: dict[Result, Path]) -> dict[str, Figure]:
    """Figures 3 and 4 for each OoD set where both detectors have kept reconstructions with seed 0."""
    kept: dict[str, dict[str, Path]] = {}
    for row in rows:
        for result in row.results:
            if row.detector in ("MemAE", "LAMAE") and result.seed == 0:
                kept.setdefault(row.ood, {})[row.detector] = records[result]
    drawn = {}
    for ood, path_of in kept.items():
        images: dict[str, torch.Tensor] = {}
        densities: dict[str, tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]] = {}
        for title in sorted(path_of, reverse=True):  # MemAE first
            saved = saved_arrays(path_of[title])
            if saved is None or f"reconstruction/{ood}" not in saved:
                continue
            for name, shown in (("id", "ID"), (ood, ood)):
                images.setdefault(shown, torch.from_numpy(saved[f"image/{name}"]))
                images[f"{shown}: {title}"] = torch.from_numpy(saved[f"reconstruction/{name}"])
            densities[title] = (saved[f"{title}/id"], {ood: saved[f"{title}/{ood}"]})
        if len(densities) == 2:
            order = sorted(images, key=lambda name: not name.startswith("ID"))
            drawn[f"reconstructions-{ood}"] = plots.reconstructions_figure({name: images[name] for name in order})
            drawn[f"densities-{ood}"] = plots.densities_figure(densities)
    return drawn


def _memory_sizes(rows: Sequence[Row]) -> dict[str, dict[int, tuple[float, float]]]:
    """Mean and deviation of AUROC by slots per class, for LAMAE and LAMAE+; empty if only one size was run."""
    sizes: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        title, _, changed = row.detector.partition(" [")
        key, _, value = changed.rstrip("]").partition("=")
        if title in ("LAMAE", "LAMAE+") and (key == "slots_per_class" and value.isdecimal()):
            sizes.setdefault(f"{title}, {row.ood}", {})[int(value)] = (row.mean["auroc"], row.std["auroc"])
    for row in rows:  # the usual size is no change
        curve = sizes.get(f"{row.detector}, {row.ood}")
        if curve is not None:
            curve[new_detector("lamae", row.id).get_params()["slots_per_class"]] = (row.mean["auroc"], row.std["auroc"])
    return sizes
