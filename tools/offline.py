"""Write the offline edition: one zip with the book, the slides, the PDF, the notebooks and the package.

All of it is in one folder, `lamae-tutorial`, whose `index.html` opens from a USB stick.

Run: python tools/offline.py [--html DIR] [--slides DIR] [--pdf FILE] [--student DIR] [--wheel FILE] [--out FILE]
"""

import argparse
import re
import sys
import zipfile
from html import escape
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
FOLDER = "lamae-tutorial"
TITLE = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))["title"]
LICENCES = {
    "LICENSE": ROOT / "LICENSE",
    "LICENSE-TEXT": ROOT / "LICENSE-TEXT",
    "LICENSE-mini_mnist.md": ROOT / "lamae_tutorial" / "data" / "mini_mnist.md",
}
INDEX = """<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
body {{ max-width: 42em; margin: 2em auto; padding: 0 1em; font: 1.1em/1.5 Georgia, serif; }}
pre {{ background: #f4f5f7; padding: 0.6em; overflow-x: auto; }}
li {{ margin-bottom: 0.3em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Everything here opens without a network.</p>
<ul>
<li><a href="book/index.html">The book</a>: its pages, with search.</li>
<li><a href="lamae-tutorial.pdf">The book as a PDF</a>: for paper.</li>
<li><a href="slides/index.html">Slides</a> of the chapters.</li>
<li>Notebooks, for Jupyter: the chapters in <a href="book/plain/">book/plain</a>, and for students, with
stubs in place of the solutions, in <a href="student/">student</a>.</li>
<li>The package <code>lamae_tutorial</code>, with the small data set, records and models that the chapters
use: <a href="{wheel}">{wheel}</a>.</li>
</ul>
<h2>To run the notebooks</h2>
<p>They need Python 3.10 or newer, PyTorch, and some smaller packages. These are not here: PyTorch alone is
up to 5 GB, and differs between machines. Where they are already installed, no network is needed:</p>
<pre>python -m pip install --no-index --no-deps {wheel}</pre>
<p>Elsewhere, run this once with a network. It installs them all:</p>
<pre>python -m pip install {wheel} notebook</pre>
<p>For a room without a network, let a machine of the same kind collect them on the stick first:</p>
<pre>python -m pip download --dest packages {wheel} notebook</pre>
<p>and install from there:</p>
<pre>python -m pip install --no-index --find-links packages lamae-tutorial notebook</pre>
<h2>Licences</h2>
<p>Code: MIT (<a href="LICENSE">LICENSE</a>). Text and figures: CC BY 4.0
(<a href="LICENSE-TEXT">LICENSE-TEXT</a>). The images of <code>mini_mnist</code>: CC BY-SA 3.0
(<a href="LICENSE-mini_mnist.md">LICENSE-mini_mnist.md</a>).</p>
</body>
</html>
"""


def files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def without_server(path: Path) -> bytes:
    """Return a file without what browsers forbid to a page that no server sent: fonts ahead of time, and `fetch`."""
    content = path.read_bytes()
    if path.suffix == ".html":
        return re.sub(rb'<link rel="preload" as="font"[^>]*>', b"", content)
    if path.name == "documentation_options.js":  # the search fetches each page that it found, for a summary
        return content.replace(b"SHOW_SEARCH_SUMMARY: true", b"SHOW_SEARCH_SUMMARY: false")
    return content


def write(html: Path, slides: Path, pdf: Path, student: Path, wheel: Path, out: Path) -> None:
    """Write the zip.

    Raises
    ------
    FileNotFoundError
        A part is missing.
    """
    parts = {"book": html, "slides": slides, "lamae-tutorial.pdf": pdf, "student": student, wheel.name: wheel}
    files: dict[str, Path] = {}
    for name, path in {**parts, **LICENCES}.items():
        below = files_below(path) if path.is_dir() else {"": path} if path.is_file() else {}
        if not below:
            raise FileNotFoundError(f"{path} is missing; run: make offline")
        files |= {f"{name}/{inside}".rstrip("/"): each for inside, each in below.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{FOLDER}/index.html", INDEX.format(title=escape(TITLE), wheel=escape(wheel.name)))
        for name, path in files.items():
            archive.writestr(f"{FOLDER}/{name}", without_server(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs = Path("runs")
    for option, default in (
        ("--html", ROOT / "book" / "_build" / "html"),
        ("--slides", runs / "slides"),
        ("--pdf", runs / "lamae-tutorial.pdf"),
        ("--student", runs / "student"),
        ("--out", runs / "lamae-tutorial-offline.zip"),
    ):
        parser.add_argument(option, type=Path, default=default, help="(default: %(default)s)")
    parser.add_argument("--wheel", type=Path, required=True)
    options = parser.parse_args()
    try:
        write(**vars(options))
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(f"{options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
