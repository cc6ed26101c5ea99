"""All detectors by name: one file and one entry here add one."""

from lamae_tutorial.detectors.autoencoder import AutoEncoder
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.detectors.difference import DifferenceDetector
from lamae_tutorial.detectors.dsebm import DSEBM
from lamae_tutorial.detectors.godin import GODIN
from lamae_tutorial.detectors.lamae import LAMAE
from lamae_tutorial.detectors.memae import MemAE
from lamae_tutorial.detectors.pixelcnn import PixelCNN
from lamae_tutorial.detectors.ssvae import SSVAE
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
}
