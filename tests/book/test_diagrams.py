"""The diagrams: drawn by the script, well-formed, true to the package's networks, and shown in a chapter."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

from lamae_tutorial import LAMAE, VAE, AutoEncoder, Detector, DifferenceDetector, MemAE
from lamae_tutorial.conformal import Calibration

ROOT = Path(__file__).parent.parent.parent
DIAGRAMS = sorted((ROOT / "book" / "diagrams").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
CLASSES, BATCH = 9, 11
MODELS: dict[str, type[Detector]] = {
    "autoencoder": AutoEncoder,
    "vae": VAE,
    "memae": MemAE,
    "lamae": LAMAE,
    "difference": DifferenceDetector,
}

each_diagram = pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)


def texts(path: Path) -> list[str]:
    return [element.text for element in ElementTree.parse(path).iter(f"{SVG}text")]


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors inside tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))
    elif isinstance(value, tuple):
        for each in value:
            yield from tensors(each)


def named(shape: torch.Size) -> str:
    return str(tuple(shape)).replace(f"({BATCH},", "(B,")


def shapes_of(detector: Detector) -> set[str]:
    """Shapes of parameters and of all that goes in and out of the modules of a network for 28 x 28 images."""
    network = detector.build_network((1, 28, 28), CLASSES).eval()
    found = {named(parameter.shape) for parameter in network.parameters()}

    def note(module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        found.update(named(tensor.shape) for tensor in tensors((inputs, outputs)))

    for module in network.modules():
        module.register_forward_hook(note)
    images = torch.rand(BATCH, 1, 28, 28)
    with torch.no_grad():
        network(images)
        scores = detector.score_batch(network, images)
        if isinstance(detector, VAE):
            found.update(named(tensor.shape) for tensor in tensors(network.encode(images)))
    return found | {named(tensor.shape) for tensor in tensors(scores)}


def test_the_script_draws_what_is_committed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "diagrams.py", "--out", tmp_path], check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in DIAGRAMS
    }, "run python tools/diagrams.py"
    assert {path.stem for path in DIAGRAMS} == {*MODELS, "p_value"}


@each_diagram
def test_well_formed_titled_and_on_its_own(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title" and len(root[0].text) > 10
    values = [value for element in root.iter() for value in element.attrib.values()]
    assert not [value for value in values if "//" in value or "data:" in value]
    assert not [element.tag for element in root.iter() if element.tag in (f"{SVG}image", f"{SVG}use", f"{SVG}script")]


@each_diagram
def test_text_has_eleven_pixels_on_a_phone_and_is_not_cut(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    width = float(root.get("width"))
    assert root.get("viewBox") == f"0 0 {width:g} {root.get('height')}"
    for element in root.iter(f"{SVG}text"):
        size = float(element.get("font-size", root.get("font-size")))
        assert size * 350 / width >= 11
        # DejaVu Sans is the widest of the fonts that may stand in for Helvetica; matplotlib brings it along.
        font = FontProperties(family="DejaVu Sans", weight=element.get("font-weight", "normal"))
        long = ImageFont.truetype(findfont(font), size).getlength(element.text)
        x = float(element.get("x")) - {"start": 0, "middle": 0.5, "end": 1}[element.get("text-anchor")] * long
        assert x >= 0 and x + long <= width, element.text


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_those_of_the_packages_network(name: str) -> None:
    found = re.findall(r"\([B\d, ]*,[\d, ]*\)", " ".join(texts(ROOT / "book" / "diagrams" / f"{name}.svg")))
    assert len(found) >= 4
    assert set(found) <= shapes_of(MODELS[name]())


def test_the_p_value_is_that_of_the_bars() -> None:
    path = ROOT / "book" / "diagrams" / "p_value.svg"
    corners = [each.get("points") for each in ElementTree.parse(path).iter(f"{SVG}polygon") if each.get("fill")]
    points = [np.array([corner.split(",") for corner in each.split()], dtype=float) for each in corners]
    known = [np.ptp(each[:, 1]) for each in points if np.ptp(each[:, 0]) < 10]
    (new,) = (
        float(each.get("height"))
        for each in ElementTree.parse(path).iter(f"{SVG}rect")
        if float(each.get("width")) < 10
    )
    (p,) = Calibration(np.array(known)).p_values([new])
    assert len(known) == 39 and f"= {p:g}" in " ".join(texts(path))


@each_diagram
def test_a_chapter_shows_it_with_words(path: Path) -> None:
    found = []
    for chapter in (ROOT / "book" / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.cell_type == "markdown":
                found += re.findall(rf"^!\[(.*)\]\(\.\./diagrams/{path.name}\)\n\n\*.*\*\n\n\S", cell.source, re.M)
    (alt,) = found
    assert 100 < len(alt) < 400
