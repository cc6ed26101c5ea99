"""What detectors with a classifier have in common."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamae_tutorial.data.images import Images
from lamae_tutorial.detectors.base import Detector


@dataclass(kw_only=True, eq=False, repr=False)
class ClassifyingDetector(Detector):
    """A detector whose network returns class logits as its second output. It needs labels 0..S-1."""

    needs_labels: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

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
