"""A report as one HTML page that needs no other files."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from matplotlib.figure import Figure

from lamae_tutorial.benchmark import tables
from lamae_tutorial.benchmark.figures import to_svg
from lamae_tutorial.benchmark.tables import Table
from lamae_tutorial.data.writing import readable

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


def as_html(title: str, shown: Sequence[Table], drawn: Mapping[str, Figure]) -> str:
    """Return an HTML page that contains the tables and the figures."""
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(readable(title))}</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{_STYLE}</style>",
        f"<h1>{escape(readable(title))}</h1>",
    ]
    for table in shown:
        parts += [f"<h2>{escape(table.title)}</h2>", f"<p>{escape(table.note)}</p>", tables.as_html(table.frame)]
    for name, figure in drawn.items():
        picture = base64.b64encode(to_svg(figure)).decode()
        parts.append(f"<h2>{escape(readable(name))}</h2>")
        parts.append(f'<img alt="{escape(readable(name))}" src="data:image/svg+xml;base64,{picture}">')
    return "\n".join([*parts, "</html>", ""])
