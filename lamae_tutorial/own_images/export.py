"""A fitted detector as an ONNX model: image in, score out, without PyTorch or this package where it runs."""

import os
from pathlib import Path

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.detectors.reconstruction import CORRECTED

_OPSET = 18  # ScatterElements with a sum, which counts grey levels


def export_onnx(detector: Detector, path: str | os.PathLike[str]) -> Path:
    """Write a fitted detector that rebuilds images as an ONNX model.

    Its input "images" is float32 (N, C, H, W) in [0, 1], any N >= 1. Its outputs, each with N entries: one for each of
    the detector's `score_kinds`, float32, higher = more out-of-distribution; "predicted_class", int64, for detectors
    with a classifier.

    Parameters
    ----------
    detector : Detector
        Fitted, one that rebuilds images.
    path : path
        New file, or one to be replaced; written whole or not at all.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    sklearn.exceptions.NotFittedError
    ValueError
        A detector of another kind, or the packages of the extra "export" are missing.
    """
    if not detector.rebuilds:
        raise ValueError(f"only detectors that rebuild images can be exported; got a {type(detector).__name__}")
    check_is_fitted(detector, "network_")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError("the export needs more packages: pip install 'lamae-tutorial[export]'") from error
    target = Path(path)
    model = _Scorer(detector).eval()
    device = detector.network_device()
    example = torch.rand(2, *detector.image_shape_, device=device)
    new = target.with_name(f".{target.name}.tmp")
    try:
        torch.onnx.export(
            model,
            (example,),
            new,
            dynamo=True,
            external_data=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=model.names,
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    return target


class _Scorer(nn.Module):
    """Images to the outputs of :func:`export_onnx`, in the order of `names`."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.network = detector.network_
        self.names = [*detector.score_kinds, *(["predicted_class"] if detector.classifies else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores = self.detector.score_batch(self.network, images)
        scores[CORRECTED] = scores["error"] / (entropy(images).log1p() + 1e-9)
        outputs = [scores[kind] for kind in self.detector.score_kinds]
        if self.detector.classifies:
            outputs.append(self.network(images)[1].argmax(1))
        return tuple(outputs)


def entropy(images: Tensor) -> Tensor:
    """`shannon_entropy` in bits, of float images (N, C, H, W) in [0, 1], in operations that ONNX has: float (N,)."""
    levels = (images * 255).round().long().flatten(1)
    counts = torch.zeros(images.shape[0], 256, device=images.device)
    shares = counts.scatter_add(1, levels, torch.ones_like(levels, dtype=counts.dtype)) / levels.shape[1]
    return -(shares * shares.clamp_min(1e-12).log2()).sum(1)
