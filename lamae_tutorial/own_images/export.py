"""Export of a fitted detector as an ONNX model, which runs without PyTorch and this package."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lamae_tutorial.complexity import batch_entropy
from lamae_tutorial.data.writing import check_file, only_process
from lamae_tutorial.detectors.base import ALPHA, Detector
from lamae_tutorial.detectors.reconstruction import CORRECTED

_ROUNDING = 2e-6  # relative difference of scores that counts as none
_OPSET = 18  # needed for ScatterElements with a sum, which counts grey levels


def export_onnx(detector: Detector, path: str | os.PathLike[str], alpha: float = ALPHA) -> Path:
    """Write a fitted detector that rebuilds images as an ONNX model.

    The input "images" is float32 (N, C, H, W) in [0, 1], with any N >= 1. Each output has N entries:

    - one output for each of the detector's `score_kinds`: float32, higher = more out-of-distribution;
    - "p_value", float32, and "is_ood", bool, True if the p-value is at most alpha: as
      :meth:`lamae_tutorial.Detector.p_values` and :meth:`lamae_tutorial.Detector.predict`, from the detector's
      calibration;
    - "predicted_class", int64, for detectors with a classifier;
    - "reconstruction", float32 (N, C, H, W) in [0, 1], as :meth:`lamae_tutorial.Detector.reconstruct`.

    **An image with a pixel outside [0, 1], or NaN, is no valid input.** PyTorch refuses it; the model marks it: all its
    scores, its p-value and its reconstruction are NaN, is_ood is True, and the class is -1. Other images of the batch
    are not affected.

    The model's metadata hold, as text, "alpha", "score" (the kind that p-values are computed from), and in JSON
    "class_names" and "image_shape" (C, H, W).

    Parameters
    ----------
    detector : Detector
        A fitted detector that rebuilds images.
    path : path
        The file. An existing file is replaced. It is written completely or not at all.
    alpha : float
        Share of in-distribution images that "is_ood" may reject, in (0, 1).

    Returns
    -------
    pathlib.Path

    Raises
    ------
    sklearn.exceptions.NotFittedError
    ValueError
        The detector does not rebuild images, its calibration has too few images for `alpha`, another process writes
        this file, or the packages of the extra "export" are missing.
    OSError
        The file cannot be written.
    """
    if not detector.rebuilds:
        raise ValueError(f"only detectors that rebuild images can be exported; got a {type(detector).__name__}")
    check_is_fitted(detector, "network_")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError("onnxscript is not installed; run: pip install 'lamae-tutorial[export]'") from error
    detector.check_alpha(alpha)
    target = Path(path)
    check_file(target)
    model = _Scorer(detector, alpha).eval()
    device = detector.network_device()
    example = torch.rand(2, *detector.image_shape_, device=device)
    told = {
        "alpha": str(alpha),
        "score": detector.calibration_kind_,
        "class_names": json.dumps(detector.class_names_),
        "image_shape": json.dumps(detector.image_shape_),
    }
    new = target.with_name(f".{target.name}.tmp")
    with only_process(target):
        try:
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=["images"],
                output_names=model.names,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
            assert program is not None  # as always with dynamo
            program.model.metadata_props.update(told)
            program.save(new, external_data=False)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    return target


class _Scorer(nn.Module):
    """Images to the outputs of :func:`export_onnx`, in the order of `names`.

    A p-value is a step function of the score. Its steps are the calibration scores, so the model has a table of the
    detector's own p-values between them, with a row for each group of the calibration.
    """

    steps: Tensor
    p_values: Tensor
    is_ood: Tensor

    def __init__(self, detector: Detector, alpha: float) -> None:
        super().__init__()
        self.detector = detector
        self.network = detector.network_
        calibration, device = detector.calibration_, detector.network_device()
        self.grouped = calibration.groups is not None
        steps = np.unique(calibration.scores)
        between = np.append(steps, np.nextafter(steps[-1], np.inf))
        groups = range(detector.num_classes_) if self.grouped else [None]
        table = np.stack(
            [calibration.p_values(between, None if group is None else np.full(len(between), group)) for group in groups]
        )
        # The model's scores differ from PyTorch's by rounding. A score that is equal but for this counts as equal.
        self.register_buffer("steps", torch.from_numpy(steps + _ROUNDING * np.abs(steps)).float().to(device))
        self.register_buffer("p_values", torch.from_numpy(table).float().to(device))
        self.register_buffer("is_ood", torch.from_numpy(table <= alpha).to(device))
        self.names = [*detector.score_kinds, "p_value", "is_ood"]
        if detector.classifies:
            self.names.append("predicted_class")
        self.names.append("reconstruction")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        valid = ((images >= 0) & (images <= 1)).flatten(1).all(1)
        images = torch.where(valid[:, None, None, None], images, 0.0)
        scores = self.detector.score_batch(self.network, images)
        # A maximum, where the package adds 1e-9: ONNX's optimiser would drop it from a sum.
        scores[CORRECTED] = scores["error"] / batch_entropy(images).log1p().clamp(min=1e-9)
        reconstructions, *rest = self.network(images)
        classes = rest[0].argmax(1) if self.detector.classifies else None
        step = (self.steps < scores[self.detector.calibration_kind_][:, None]).sum(1)
        row = classes if self.grouped and classes is not None else torch.zeros_like(step)
        real = [scores[kind] for kind in self.detector.score_kinds] + [self.p_values[row, step]]
        outputs = [torch.where(valid, values, torch.nan) for values in real]
        outputs.append(self.is_ood[row, step] | ~valid)
        if classes is not None:
            outputs.append(torch.where(valid, classes, -1))
        outputs.append(torch.where(valid[:, None, None, None], reconstructions, torch.nan))
        return tuple(outputs)
