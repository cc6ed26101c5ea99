"""The settings of each detector for an in-distribution set, and what differs from them.

A setting that the LAMAE paper or its authors' notebook changes for a set is written down here once; the command line,
the notebooks and the tests make their detectors with :func:`new_detector`.
"""

import json
from collections.abc import Mapping
from typing import Any

from lamae_tutorial.detectors import DETECTORS, Detector, find_detector

_CIFAR10 = {"channels": (64, 128, 128, 256), "latent_dim": 64}

# What the LAMAE paper and its authors' notebook change for an in-distribution set (Section 4.1), by detector; for
# "difference" a wider quick network, which tells held-back CIFAR-10 images from their pseudo-outliers better. PixelCNN
# tells 16 levels apart, with which an epoch takes a third of the time.
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
    },
}

_OF_THE_RUN = {"epochs", "random_state", "device", "verbose"}  # settings that make no other detector


def new_detector(name: str, id_name: str, **parameters: Any) -> Detector:
    """A detector with its settings for an in-distribution set, and with these parameters.

    Parameters
    ----------
    name : str
        See :func:`lamae_tutorial.detectors.find_detector`.
    id_name : str
        A key of `SETTINGS`, or a set that has no settings of its own.
    **parameters
        Of the detector; they count before the settings.

    Raises
    ------
    ValueError
        There is no such detector.
    """
    return find_detector(name)(**{**SETTINGS.get(id_name, {}).get(name, {}), **parameters})


def known_class(name: str) -> type[Detector] | None:
    """The package's class of this name; None for a class of a user's own, which cannot have the same name."""
    return next((detector for detector in DETECTORS.values() if detector.__name__ == name), None)


def variant(detector: type[Detector], settings: Mapping[str, Any], id_name: str) -> str:
    """What is changed in a detector against its settings for an in-distribution set: "beta=2, latent_dim=16".

    Without what belongs to the run: epochs, seed, device and verbosity. A setting that today's detector does not have,
    or the other way round, is not looked at.

    Parameters
    ----------
    detector : type
    settings : mapping
        Parameters of the detector, as in a record.
    id_name : str
        See :func:`new_detector`.
    """
    name = next((name for name, known in DETECTORS.items() if known is detector), "")
    usual = json.loads(json.dumps(detector(**SETTINGS.get(id_name, {}).get(name, {})).get_params()))
    mine = json.loads(json.dumps(dict(settings)))
    changed = sorted(key for key in mine.keys() & usual.keys() - _OF_THE_RUN if mine[key] != usual[key])
    return ", ".join(f"{key}={mine[key]}" for key in changed)
