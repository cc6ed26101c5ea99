"""All detectors by name: one file and one entry here add one."""

from lamae_tutorial.detectors.autoencoder import AutoEncoder
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.detectors.lamae import LAMAE
from lamae_tutorial.detectors.memae import MemAE

DETECTORS: dict[str, type[Detector]] = {"autoencoder": AutoEncoder, "memae": MemAE, "lamae": LAMAE}
