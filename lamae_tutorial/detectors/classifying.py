"""What detectors with a classifier have in common."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lamae_tutorial.data.images import Images
from lamae_tutorial.detectors.base import Detector


@dataclass(kw_only=True, eq=False, repr=False)
class ClassifyingDetector(Detector):
    """A detector whose network returns class logits as its second output. It needs labels 0..S-1.

    Two more hooks serve methods that work on the features of a classifier: `embed`, and `last_layer` where it exists.
    """

    needs_labels: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def embed(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classifier's features, (B, D), and its logits, (B, S), of float images (B, C, H, W) in [0, 1].

        The features are the input of the layer that makes the logits.
        """
        raise ValueError(f"{type(self).__name__} does not say what its features are: write `embed`")

    def last_layer(self, network: nn.Module) -> nn.Linear:
        """Return the linear layer that maps the features to the logits. Raise a ValueError if there is none."""
        raise ValueError(f"{type(self).__name__} has no linear layer from its features to its logits")

    def features(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features and the logits of each image: float32 (N, D) and (N, S).

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            The images have another shape, type or range, or the detector has no `embed`.
        """
        fitted = self.as_fitted()
        parts = self.batched(images, lambda batch: fitted.embed(self.network_, batch))
        features, logits = (torch.cat(part).float().cpu().numpy() for part in zip(*parts, strict=True))
        return features, logits

    def classify(self, images: Images) -> NDArray[np.int64]:
        """Return the predicted in-distribution class of each image: int64 (N,) in 0..S-1.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        """
        return torch.cat(self.batched(images, lambda batch: self.network_(batch)[1].argmax(1))).cpu().numpy()


def confidence(logits: Tensor) -> dict[str, Tensor]:
    """Return two scores of the classifier alone, (B,) each: higher = more out-of-distribution.

    "energy" is -logsumexp of the logits (Liu et al. 2020). "msp" is 1 minus the largest softmax probability (Hendrycks
    and Gimpel 2017). The reproduced papers do not report them.
    """
    return {"energy": -logits.logsumexp(1), "msp": 1 - logits.softmax(1).amax(1)}
