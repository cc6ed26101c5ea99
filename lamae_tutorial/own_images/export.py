"""Export of a fitted detector as an ONNX model, which runs without PyTorch and this package."""

import os
from pathlib import Path

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.detectors.reconstruction import CORRECTED

_OPSET = 18  # needed for ScatterElements with a sum, which counts grey levels


def export_onnx(detector: Detector, path: str | os.PathLike[str]) -> Path:
    """Write a fitted detector that rebuilds images as an ONNX model.

    The input "images" is float32 (N, C, H, W) in [0, 1], with any N >= 1. Each output has N entries. There is one
    output for each of the detector's `score_kinds`: float32, higher = more out-of-distribution. Detectors with a
    classifier also have the output "predicted_class", int64.

    Parameters
    ----------
    detector : Detector
        A fitted detector that rebuilds images.
    path : path
        The file. An existing file is replaced. It is written completely or not at all.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    sklearn.exceptions.NotFittedError
    ValueError
        The detector does not rebuild images, or the packages of the extra "export" are missing.
    """
    if not detector.rebuilds:
        raise ValueError(f"only detectors that rebuild images can be exported; got a {type(detector).__name__}")
    check_is_fitted(detector, "network_")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError("onnxscript is not installed; run: pip install 'lamae-tutorial[export]'") from error
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
    """Return `shannon_entropy` in bits, (N,), of float images (N, C, H, W) in [0, 1], with operations of ONNX only."""
    levels = (images * 255).round().long().flatten(1)
    counts = torch.zeros(images.shape[0], 256, device=images.device)
    shares = counts.scatter_add(1, levels, torch.ones_like(levels, dtype=counts.dtype)) / levels.shape[1]
    return -(shares * shares.clamp_min(1e-12).log2()).sum(1)
