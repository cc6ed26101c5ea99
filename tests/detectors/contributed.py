"""The detectors in CONTRIBUTING.md, read from its text."""

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

from lamae_tutorial import Detector

PAGE = Path(__file__).parent.parent.parent / "CONTRIBUTING.md"


def block(language: str) -> str:
    """Return the page's only code block in this language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return text


def detectors() -> dict[str, type[Detector]]:
    """Return the page's classes, defined in a module with the name that the page uses."""
    if "mydetectors" not in sys.modules:
        file = Path(tempfile.mkdtemp()) / "mydetectors.py"
        file.write_text(block("python"), encoding="utf-8")
        spec = importlib.util.spec_from_file_location("mydetectors", file)
        sys.modules["mydetectors"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["mydetectors"])
    module = sys.modules["mydetectors"]
    return {"mydetectors:Denoiser": module.Denoiser, "mydetectors:PCA": module.PCA}
