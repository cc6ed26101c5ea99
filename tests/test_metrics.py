"""Metrics compared with their definitions and with results by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from lamae_tutorial import auprc, auroc, fpr_at_tpr, summary
from lamae_tutorial.metrics import bootstrap_interval, delong


def test_by_hand() -> None:
    inside, outside = [1.0, 2.0, 3.0, 4.0], [2.5, 5.0]
    assert auroc(inside, outside) == 6 / 8
    assert fpr_at_tpr(inside, outside, tpr=0.75) == 0.5
    assert fpr_at_tpr(inside, outside, tpr=0.76) == 0.5
    assert fpr_at_tpr(inside, [0.0, 5.0], tpr=1) == 0.5
    assert auprc(inside, outside) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert auroc([0, 0], [0, 0]) == 0.5


def average_precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the mean over all positives of the precision at their score."""
    return float(np.mean([(positive >= s).sum() / ((positive >= s).sum() + (negative >= s).sum()) for s in positive]))


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_equal_their_definitions_with_ties(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.integers(0, levels, rng.integers(1, 80)) / 7
    outside = rng.integers(levels // 4, levels + levels // 4 + 1, rng.integers(1, 80)) / 7
    result = summary(inside, outside, tpr=0.9)
    pairs = outside[:, None] - inside
    assert result.auroc == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-12)
    assert result.auprc_ood == pytest.approx(average_precision(outside, inside), abs=1e-12)
    assert result.auprc_id == pytest.approx(average_precision(-inside, -outside), abs=1e-12)
    threshold = min(score for score in inside if np.mean(inside <= score) >= 0.9)
    assert result.fpr_at_tpr == pytest.approx(np.mean(outside <= threshold), abs=1e-12)
    assert auprc(inside, outside, positive="id") == result.auprc_id
    assert auprc(inside, outside) == result.auprc_ood
    assert fpr_at_tpr(inside, outside, 0.9) == result.fpr_at_tpr


def test_direction_higher_is_more_ood() -> None:
    assert auroc([0, 1], [2, 3]) == 1
    assert fpr_at_tpr([0, 1], [2, 3]) == 0
    assert auroc([2, 3], [0, 1]) == 0
    assert fpr_at_tpr([2, 3], [0, 1]) == 1


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [np.inf], [[1.0, 2.0]], 3.0])
def test_bad_scores_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="id_scores"):
        auroc(bad, [1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ood_scores"):
        auroc([1.0], bad)  # type: ignore[arg-type]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got 95"):
        fpr_at_tpr([1.0], [2.0], tpr=95)
    with pytest.raises(ValueError, match='positive must be "ood" or "id"'):
        auprc([1.0], [2.0], positive="both")  # type: ignore[arg-type]


def test_delong_by_hand() -> None:
    # Three ID and two OoD images. Shares of OoD above each ID image: first 1, 1, 1/2; second 1/2, 1/2, 1.
    # Shares of ID below each OoD image: first 1, 2/3; second 1, 1/3. AUROC 5/6 and 2/3.
    result = delong([1.0, 2.0, 4.0], [5.0, 3.0], [3.0, 2.0, 1.0], [4.0, 1.5])
    id_differences, ood_differences = [1 / 2, 1 / 2, -1 / 2], [0, 1 / 3]
    variance = np.var(id_differences, ddof=1) / 3 + np.var(ood_differences, ddof=1) / 2
    assert result.difference == pytest.approx(5 / 6 - 2 / 3)
    assert result.standard_error == pytest.approx(np.sqrt(variance))
    assert result.p == pytest.approx(2 * (1 - norm.cdf((1 / 6) / np.sqrt(variance))))


def test_delong_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, (2, 300)), rng.normal(0.8, 1, (2, 200))
    inside[1] += inside[0]  # two correlated detectors
    outside[1] += outside[0]
    pair = (inside[0], outside[0], inside[1].round(1), outside[1].round(1))  # the second with ties
    result = delong(*pair)
    assert result.difference == pytest.approx(auroc(*pair[:2]) - auroc(*pair[2:]), abs=1e-12)
    differences = []
    for _ in range(500):
        i, o = rng.integers(0, 300, 300), rng.integers(0, 200, 200)
        differences.append(auroc(pair[0][i], pair[1][o]) - auroc(pair[2][i], pair[3][o]))
    assert result.standard_error == pytest.approx(np.std(differences), rel=0.1)


def test_delong_of_the_same_and_of_perfect_scores() -> None:
    inside, outside = [1.0, 2.0, 3.0], [2.5, 4.0]
    assert delong(inside, outside, inside, outside).p == 1
    assert delong([1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [1.0, 2.0]).p == 0
    with pytest.raises(ValueError, match="the same images, at least two; got 2 and 3"):
        delong(inside, outside, inside, [1.0, 2.0, 3.0])


def test_bootstrap_interval() -> None:
    low, high = bootstrap_interval([0.0, 1.0])
    assert (low, high) == (0.0, 1.0)  # a quarter of the resamples is (0, 0), and a quarter is (1, 1)
    values = np.random.default_rng(1).normal(0.5, 0.1, 50)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.003)
    with pytest.raises(ValueError, match="at least two values"):
        bootstrap_interval([0.5])
