"""Stamp the repository's address into every file that names it, or print the address that stands there.

Run: python tools/address.py [https://github.com/OWNER/NAME]

`book/_config.yml` says which address stands there now; the other files must have the same one.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = "book/_config.yml"


def stamped_files(root: Path = ROOT) -> list[str]:
    """The files that name the address, and no others do."""
    notebooks = sorted((root / "book/notebooks").glob("*.ipynb"))
    return [CONFIG, "CITATION.cff", "pyproject.toml", *(str(path.relative_to(root)) for path in notebooks)]


def current(root: Path = ROOT) -> str:
    """The address that stands there now."""
    return re.search(r"^  url: (\S+)$", (root / CONFIG).read_text(encoding="utf-8"), re.M)[1]


def address(text: str) -> str:
    """The address in its one form, without `/` or `.git` at the end. On GitHub, because Colab opens notebooks there."""
    url = text.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]*\w", url, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected https://github.com/OWNER/NAME, got {text!r}")
    return url


def stamp(url: str, root: Path = ROOT) -> None:
    """Replace the address that stands there by `url`, byte for byte, and leave all else as it is."""
    # What follows must not belong to the name: a longer name is another repository.
    old = re.compile(re.escape(current(root)).encode() + rb"(?![\w-]|\.\w)")
    texts = {root / name: (root / name).read_bytes() for name in stamped_files(root)}
    without = [str(path.relative_to(root)) for path, text in texts.items() if not old.search(text)]
    if without:
        raise SystemExit(f"nothing changed: {', '.join(without)} lacks the address {current(root)} of {CONFIG}")
    for path, text in texts.items():
        path.write_bytes(old.sub(url.encode(), text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", type=address, help="the new address, https://github.com/OWNER/NAME")
    url = parser.parse_args().url
    if url:
        stamp(url)
        print(f"{url} stands in {', '.join(stamped_files())}")
    else:
        print(current())


if __name__ == "__main__":
    main()
