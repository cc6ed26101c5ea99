"""How much is computed: one frozen set of settings each for a quick look, a CPU and the papers' full size.

The command line, the notebooks and the tests take them from here. No PyTorch is imported, so that `--help` is quick.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Profile:
    """Settings of a leave-one-class-out run.

    Attributes
    ----------
    data_set : str
        See :func:`lamae_tutorial.load_images`.
    epochs : int
        At most, for each detector.
    seeds : int
        Repeats, with the seeds 0, 1, ...
    """

    data_set: str
    epochs: int
    seeds: int


_CIFAR10 = {"channels": (64, 128, 128, 256), "latent_dim": 64}

# What the LAMAE paper and its authors' notebook change for an in-distribution set (Section 4.1), by detector; for
# "difference" a wider quick network, which tells held-back CIFAR-10 images from their pseudo-outliers better.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "cifar10": {
        "autoencoder": _CIFAR10,
        "vae": _CIFAR10,
        "ssvae": _CIFAR10,
        "memae": {**_CIFAR10, "memory_size": 500},
        "lamae": {**_CIFAR10, "slots_per_class": 50, "skip_dim": 16},
        "difference": {"channels": (32, 64, 128), "latent_dim": 64},
    }
}

PROFILES = {
    "smoke": Profile("digits", epochs=40, seeds=3),
    "fast": Profile("mnist", epochs=20, seeds=3),
    "paper": Profile("mnist", epochs=200, seeds=10),
}
