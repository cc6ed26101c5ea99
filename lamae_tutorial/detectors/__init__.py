"""All detectors by name. To add one, write a file and add an entry here; `find_detector` finds a user's own class."""

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from lamae_tutorial.detectors.autoencoder import AutoEncoder
from lamae_tutorial.detectors.base import Detector as Detector
from lamae_tutorial.detectors.classifier import Classifier
from lamae_tutorial.detectors.difference import DifferenceDetector
from lamae_tutorial.detectors.dsebm import DSEBM
from lamae_tutorial.detectors.godin import GODIN
from lamae_tutorial.detectors.lamae import LAMAE
from lamae_tutorial.detectors.lance import LANCE
from lamae_tutorial.detectors.memae import MemAE
from lamae_tutorial.detectors.pixelcnn import PixelCNN
from lamae_tutorial.detectors.registry import ENTRY_POINTS
from lamae_tutorial.detectors.ssvae import SSVAE
from lamae_tutorial.detectors.trivial import Trivial
from lamae_tutorial.detectors.vae import VAE

DETECTORS: dict[str, type[Detector]] = {
    "autoencoder": AutoEncoder,
    "vae": VAE,
    "ssvae": SSVAE,
    "memae": MemAE,
    "lamae": LAMAE,
    "godin": GODIN,
    "difference": DifferenceDetector,
    "pixelcnn": PixelCNN,
    "dsebm": DSEBM,
    "classifier": Classifier,
    "lance": LANCE,
    "trivial": Trivial,
}


def find_detector(name: str) -> type[Detector]:
    """Return the detector class with this name.

    Parameters
    ----------
    name : str
        A key of `DETECTORS`, an entry point of an installed package (group `lamae_tutorial.detectors`), or
        "module:Class". The module may lie in the current folder.

    Raises
    ------
    ValueError
        No detector has this name, or the object found is not a detector class.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    module, colon, attribute = name.partition(":")
    if name in points:
        kind = points[name].load()
    elif colon:
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            kind = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{name} cannot be imported: {error}") from error
    else:
        raise ValueError(f"unknown detector {name}; there are {', '.join([*DETECTORS, *points])}, and module:Class")
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise ValueError(f"{name} must be a class derived from lamae_tutorial.Detector; got {kind!r}")
    return kind
