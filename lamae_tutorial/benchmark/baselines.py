"""Post-hoc detectors: rivals that score the features and logits of a classifier that is already trained.

They are those of the package pytorch-ood (the extra "baselines"). Its defaults hold, with two exceptions: KNN takes
k = 10 neighbours among at most 10,000 training images, and ViM's principal subspace has half of the features'
dimensions, as pytorch-ood itself chooses where features are few.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from lamae_tutorial.benchmark.experiments import CellSpec
from lamae_tutorial.benchmark.records import POST_HOC
from lamae_tutorial.data.images import MISSING, ImageSet
from lamae_tutorial.detectors import Detector, find_detector
from lamae_tutorial.detectors.classifying import ClassifyingDetector
from lamae_tutorial.training.state import plain_torch

METHODS = ("KNN", "ViM", "Mahalanobis", "RMD", "MaxLogit", "EnergyBased", "MaxSoftmax", "GEN")
NEIGHBOURS = 10
STORED = 10_000  # training images among which KNN looks for neighbours, so that scoring stays fast


def post_hoc_scores(
    detector: ClassifyingDetector, train: ImageSet, sets: Mapping[str, ImageSet]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the scores of all post-hoc detectors on the features and logits of a fitted detector.

    A method that cannot be applied, such as ViM to a detector without a linear last layer, is left out, and a warning
    says why. The detector's seed draws the images for KNN; PyTorch's and NumPy's generators are left alone.

    Parameters
    ----------
    detector : ClassifyingDetector
    train : ImageSet
        The images that the detector was trained on. Those without a label (-1) are left out.
    sets : mapping of str to ImageSet
        The images to score.

    Returns
    -------
    dict of str to dict of str to float64 array (N,)
        By kind, e.g. "ViM (post-hoc)", and key of `sets`. Higher = more out-of-distribution.

    Raises
    ------
    ValueError
        The extra "baselines" is not installed, or the detector has no `embed`.
    """
    _import()
    assert train.labels is not None  # the detector was trained with them
    features, labels = _tensors(detector, train)[0], train.labels
    features, labels = features[labels != MISSING], labels[labels != MISSING]
    some = np.random.default_rng(detector.seed_).permutation(len(labels))[:STORED]
    parts = {key: _tensors(detector, part) for key, part in sets.items()}
    scores = {}
    for name in METHODS:
        try:
            with plain_torch(), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                method = _new(name, detector, len(some))
                if hasattr(method, "fit_features"):
                    method.fit_features(*((features[some], labels[some]) if name == "KNN" else (features, labels)))
                    found = {key: method.predict_features(part) for key, (part, _) in parts.items()}
                else:
                    found = {key: method.predict_logits(part) for key, (_, part) in parts.items()}
            if not all(part.isfinite().all() for part in found.values()):
                raise ValueError("its scores are not finite")
        except (ValueError, LinAlgError) as error:
            warnings.warn(f"{name}{POST_HOC} is left out for {type(detector).__name__}: {error}", stacklevel=2)
        else:
            scores[f"{name}{POST_HOC}"] = {key: part.double().numpy() for key, part in found.items()}
    return scores


def takes_post_hoc(kind: type[Detector]) -> bool:
    """Return whether post-hoc detectors can score the features of this class."""
    return issubclass(kind, ClassifyingDetector) and kind.embed is not ClassifyingDetector.embed


def check_post_hoc(cells: Iterable[CellSpec]) -> None:
    """Check before any training that cells with post-hoc detectors can get them.

    Raises
    ------
    ValueError
        The extra "baselines" is not installed, or no detector of these cells has the features of a classifier.
    """
    names = list(dict.fromkeys(cell.detector for cell in cells if cell.post_hoc))
    if not names:
        return
    _import()
    if not any(takes_post_hoc(find_detector(name)) for name in names):
        raise ValueError(
            f"post-hoc detectors need the features of a classifier; {', '.join(names)}: none of these has them"
        )


def _import() -> Any:
    try:
        import pytorch_ood.detector
    except ImportError as error:
        raise ValueError(
            "post-hoc detectors need pytorch-ood; install it: pip install 'lamae-tutorial[baselines]'"
        ) from error
    return pytorch_ood.detector


def _new(name: str, detector: ClassifyingDetector, stored: int) -> Any:
    kind = getattr(_import(), name)
    if name == "KNN":
        return kind(None, k=min(NEIGHBOURS, stored), normalize=True, algorithm="brute")
    if name == "ViM":
        layer = detector.last_layer(detector.network_)
        weight = layer.weight.detach().cpu()
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu()
        return kind(None, d=layer.in_features // 2, w=weight, b=bias)
    return kind(None)


def _tensors(detector: ClassifyingDetector, part: ImageSet) -> tuple[Tensor, Tensor]:
    features, logits = detector.features(part.images)
    return torch.from_numpy(features), torch.from_numpy(logits)
