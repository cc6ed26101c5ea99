"""Conformal p-values: results by hand, and a test of their guarantee."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from lamae_tutorial.conformal import Calibration, benjamini_hochberg, conformal_threshold, fisher

FOUR = np.array([1.0, 2.0, 2.0, 5.0])


def test_p_values_by_hand() -> None:
    p = Calibration(FOUR).p_values([0.0, 1.0, 2.0, 2.5, 5.0, 6.0])
    np.testing.assert_allclose(p, [5 / 5, 5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5])
    assert Calibration(FOUR).lowest_alpha() == 1 / 5


def test_p_values_within_groups() -> None:
    calibration = Calibration(FOUR, np.array([0, 0, 1, 1]))
    p = calibration.p_values([2.0, 2.0, 9.0, 9.0], np.array([0, 1, 1, 7]))
    np.testing.assert_allclose(p, [2 / 3, 3 / 3, 1 / 3, 1 / 5])  # group 7 has no scores: compared with all
    assert calibration.lowest_alpha() == 1 / 3


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.3])
def test_threshold_says_what_p_values_say(alpha: float) -> None:
    generator = np.random.default_rng(0)
    for n in (1, 9, 19, 20, 99, 100, 101):
        scores = generator.integers(0, 30, n).astype(float)  # with ties
        new = np.arange(-1, 32).astype(float)
        accepted = Calibration(scores).p_values(new) > alpha
        np.testing.assert_array_equal(accepted, new <= conformal_threshold(scores, alpha))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_false_alarms_stay_at_alpha(alpha: float) -> None:
    """Over many calibration sets, a fresh ID score is rejected with probability at most alpha, and not much less."""
    generator = np.random.default_rng(1)
    repeats, n = 4000, 199
    alarms = sum(
        Calibration(scores[:-1]).p_values(scores[-1:])[0] <= alpha
        for scores in generator.standard_exponential((repeats, n + 1))
    )
    assert binom.ppf(1e-4, repeats, alpha) <= alarms <= binom.ppf(1 - 1e-4, repeats, alpha)


def test_guarantee_holds_in_each_group_only_with_groups() -> None:
    """One group scores higher than the other. Without groups it has nearly all false alarms."""
    generator = np.random.default_rng(2)
    groups = generator.integers(0, 2, 40_000)
    scores = generator.standard_normal(40_000) + 2 * groups
    half = slice(None, 20_000), slice(20_000, None)
    alone = Calibration(scores[half[0]]).p_values(scores[half[1]]) <= 0.05
    split = Calibration(scores[half[0]], groups[half[0]]).p_values(scores[half[1]], groups[half[1]]) <= 0.05
    for group in (0, 1):
        assert split[groups[half[1]] == group].mean() == pytest.approx(0.05, abs=0.01)
    assert alone[groups[half[1]] == 0].mean() < 0.01
    assert alone[groups[half[1]] == 1].mean() > 0.08


@pytest.mark.parametrize("alpha", [Fraction(1, 100), Fraction(1, 20), Fraction(1, 5)])
def test_benjamini_hochberg_by_its_definition(alpha: Fraction) -> None:
    generator = np.random.default_rng(3)
    for n in (19, 99, 999):  # number of calibration images
        for m in (1, 8, 100):
            ranks = 1 + (generator.random(m) ** 4 * n).astype(int)
            exact = sorted(Fraction(int(rank), n + 1) for rank in ranks)
            passing = [p for i, p in enumerate(exact, 1) if p <= alpha * i / m]
            called = ranks <= max(passing, default=0) * (n + 1)
            np.testing.assert_array_equal(benjamini_hochberg(ranks / (n + 1), float(alpha)), called)


def test_benjamini_hochberg_calls_p_values_that_meet_the_bound_exactly() -> None:
    p = np.array([5 / 800] * 5 + [1.0] * 3)  # 5/800 = 0.01 * 5/8
    np.testing.assert_array_equal(benjamini_hochberg(p, 0.01), p < 1)
    assert not benjamini_hochberg([0.9, 0.8], 0.2).any()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="calibration scores must be finite; 1 of 2 are NaN or infinite"):
        Calibration(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"groups must have the shape \(4,\)"):
        Calibration(FOUR, np.array([0, 1]))
    with pytest.raises(ValueError, match="give the group of each score"):
        Calibration(FOUR, np.array([0, 0, 1, 1])).p_values([1.0])
    with pytest.raises(ValueError, match="has no groups"):
        Calibration(FOUR).p_values([1.0], np.array([0]))
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\); got 5"):
        benjamini_hochberg([0.5], 5)
    with pytest.raises(ValueError, match=r"p-values must lie in \[0, 1\]; got values from 0.5 to 1.5"):
        benjamini_hochberg([0.5, 1.5], 0.1)


def test_fisher_joins_p_values() -> None:
    np.testing.assert_allclose(fisher([0.5, 1.0], [0.1, 1.0]), [-np.log(0.05), 0.0], atol=1e-12)
    for bad in ([0.0, 0.5], [0.5, 1.5]):
        with pytest.raises(ValueError, match=r"p-values must lie in \(0, 1\]; got values from 0"):
            fisher([0.5, 0.5], bad)
