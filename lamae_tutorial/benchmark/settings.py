"""The settings of each detector for an in-distribution set, and how given settings differ from them.

This is the only place for settings that depend on the set. The command line, the notebooks and the tests create their
detectors with :func:`new_detector`.
"""

import json
from collections.abc import Mapping
from typing import Any

from lamae_tutorial.detectors import DETECTORS, Detector, find_detector

_CIFAR10 = {"channels": (64, 128, 128, 256), "latent_dim": 64}

# By in-distribution set and detector: what the LAMAE paper (Section 4.1) and its authors' notebook change. "difference"
# has a wider quick network, which separates held-back CIFAR-10 images from their pseudo-outliers better. PixelCNN uses
# 16 levels, so an epoch takes a third of the time.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "mnist": {"pixelcnn": {"levels": 16}},
    "cifar10": {
        "autoencoder": _CIFAR10,
        "vae": _CIFAR10,
        "ssvae": _CIFAR10,
        "memae": {**_CIFAR10, "memory_size": 500},
        "lamae": {**_CIFAR10, "slots_per_class": 50, "skip_dim": 16},
        "difference": {"channels": (32, 64, 128), "latent_dim": 64},
        "pixelcnn": {"levels": 16},
        "classifier": {"augmentation": "flip+affine"},
        "lance": {"augmentation": "flip+affine"},
    },
}

_OF_THE_RUN = {"epochs", "random_state", "device", "verbose"}  # these settings belong to the run, not to the variant


def new_detector(name: str, id_name: str, **parameters: Any) -> Detector:
    """Return a detector with its settings for an in-distribution set and with these parameters.

    Parameters
    ----------
    name : str
        See :func:`lamae_tutorial.detectors.find_detector`.
    id_name : str
        A key of `SETTINGS`, or any other set; then the detector's defaults are used.
    **parameters
        Parameters of the detector. They override the settings.

    Raises
    ------
    ValueError
        The detector does not exist.
    """
    return find_detector(name)(**{**SETTINGS.get(id_name, {}).get(name, {}), **parameters})


def known_class(name: str) -> type[Detector] | None:
    """Return the package's detector class of this name, or None. A user's own class cannot have such a name."""
    return next((detector for detector in DETECTORS.values() if detector.__name__ == name), None)


def variant(detector: type[Detector], settings: Mapping[str, Any], id_name: str) -> str:
    """Return how settings differ from a detector's settings for an in-distribution set: "beta=2, latent_dim=16".

    Epochs, seed, device and verbosity are ignored. So are parameters that only the record or only today's detector has.

    Parameters
    ----------
    detector : type
    settings : mapping
        Parameters of the detector, as stored in a record.
    id_name : str
        See :func:`new_detector`.
    """
    name = next((name for name, known in DETECTORS.items() if known is detector), "")
    usual = json.loads(json.dumps(detector(**SETTINGS.get(id_name, {}).get(name, {})).get_params()))
    mine = json.loads(json.dumps(dict(settings)))
    changed = sorted(key for key in mine.keys() & usual.keys() - _OF_THE_RUN if mine[key] != usual[key])
    return ", ".join(f"{key}={mine[key]}" for key in changed)
