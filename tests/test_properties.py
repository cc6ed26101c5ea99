"""Properties that hold for any input: metrics, p-values, entropy, shapes, and scikit-learn's own checks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils import estimator_checks

from lamae_tutorial import DETECTORS, auroc, bring_to_shape, complexity_normalized, shannon_entropy, summary
from lamae_tutorial.conformal import Calibration

# Only a few values, to make ties common.
scores = hnp.arrays(np.float64, st.integers(2, 30), elements=st.integers(-4, 4).map(lambda value: value / 2))
images = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)),
    elements=st.integers(0, 255),
)
quick = settings(max_examples=60, deadline=None)


@quick
@given(scores, scores)
def test_metrics_against_scikit_learn(inside: np.ndarray, outside: np.ndarray) -> None:
    values = np.concatenate([inside, outside])
    is_ood = np.arange(len(values)) >= len(inside)
    found = summary(inside, outside)
    assert found.auroc == pytest.approx(roc_auc_score(is_ood, values))
    assert found.auprc_ood == pytest.approx(average_precision_score(is_ood, values))
    assert found.auprc_id == pytest.approx(average_precision_score(~is_ood, -values))
    assert auroc(outside, inside) == pytest.approx(1 - found.auroc)
    assert auroc(np.exp(inside), np.exp(outside)) == found.auroc, "only the order counts"
    assert 0 <= found.fpr_at_tpr <= 1


@quick
@given(scores, scores)
def test_p_values(calibration: np.ndarray, new: np.ndarray) -> None:
    p = Calibration(calibration).p_values(new)
    assert ((p >= 1 / (1 + len(calibration))) & (p <= 1)).all(), "never 0"
    order = np.argsort(new)
    assert (np.diff(p[order]) <= 0).all(), "a higher score has no higher p-value"


@quick
@given(images)
def test_entropy(pixels: np.ndarray) -> None:
    entropy = shannon_entropy(pixels).numpy()
    for image, bits in zip(pixels, entropy, strict=True):
        counts = np.unique(image, return_counts=True)[1]
        assert 0 <= bits <= np.log2(min(256, image.size)) + 1e-12
        assert bits == pytest.approx(-(counts / image.size * np.log2(counts / image.size)).sum())
    shuffled = np.random.default_rng(0).permuted(pixels.reshape(len(pixels), -1), axis=1).reshape(pixels.shape)
    np.testing.assert_allclose(shannon_entropy(shuffled), entropy, atol=1e-12)
    np.testing.assert_allclose(shannon_entropy(255 - pixels), entropy, atol=1e-12)
    assert (complexity_normalized(np.ones(len(pixels)), pixels) > 0).all()


@quick
@given(images, st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12))
def test_bringing_to_a_shape(pixels: np.ndarray, channels: int, height: int, width: int) -> None:
    tensor = torch.from_numpy(pixels)
    brought = bring_to_shape(tensor, (channels, height, width))
    assert brought.shape == (len(pixels), channels, height, width) and brought.dtype == torch.uint8
    assert torch.equal(bring_to_shape(brought, (channels, height, width)), brought)
    if channels >= pixels.shape[1] and height >= pixels.shape[2] and width >= pixels.shape[3]:
        copies = channels // pixels.shape[1]
        assert brought.long().sum() == copies * tensor.long().sum(), "padding and copying lose nothing"


# scikit-learn's other checks use matrices (N, features), which image detectors refuse.
@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
    ],
)
@pytest.mark.parametrize("name", DETECTORS)
def test_scikit_learns_checks(name: str, check: str) -> None:
    getattr(estimator_checks, check)(DETECTORS[name].__name__, DETECTORS[name]())
