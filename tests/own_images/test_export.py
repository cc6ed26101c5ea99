"""An exported detector gives the same scores as PyTorch."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.exceptions import NotFittedError

from lamae_tutorial import DETECTORS, GODIN, AutoEncoder
from lamae_tutorial.own_images.export import export_onnx

Bars = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
REBUILDING = [name for name, kind in DETECTORS.items() if kind.rebuilds]
# PyTorch's exporter warns about its own internals.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.mark.parametrize("name", REBUILDING)
def test_onnxruntime_gives_the_same_scores(name: str, bars: Bars, tmp_path: Path) -> None:
    images, labels, ood = bars
    detector = DETECTORS[name](epochs=2, batch_size=16, random_state=0, device="cpu").fit(images, labels)
    path = export_onnx(detector, tmp_path / "model.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (ood, ood[:1], images, torch.zeros_like(ood[:1])):  # any number of images, and a blank one
        outputs = session.run(None, {"images": batch.float().numpy() / 255})
        found = dict(zip([output.name for output in session.get_outputs()], outputs, strict=True))
        for kind, scores in detector.scores(batch).items():
            np.testing.assert_allclose(found.pop(kind), scores, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.pop("p_value"), detector.p_values(batch), atol=0.05)
        np.testing.assert_allclose(found.pop("reconstruction"), detector.reconstruct(batch), atol=1e-5)
        assert (found.pop("is_ood") == (detector.predict(batch) == -1)).mean() > 0.95
        if detector.num_classes_:
            np.testing.assert_array_equal(found.pop("predicted_class"), detector.classify(batch))
        assert not found


def test_what_cannot_be_exported(bars: Bars, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only detectors that rebuild images can be exported; got a GODIN"):
        export_onnx(GODIN(), tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(AutoEncoder(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
