"""Thresholds with a guaranteed false-alarm rate: split-conformal p-values (Vovk et al. 2005; Bates et al. 2023).

An image's p-value is the share of in-distribution calibration images that score at least as high, counting the image
itself. If an image is in-distribution too, that is exchangeable with the calibration images, its p-value lies at or
below alpha with a probability of at most alpha, whatever the detector. The calibration images must not have been
used to train the detector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from lamae_tutorial.metrics import finite_scores


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of in-distribution images that new scores are compared with.

    Attributes
    ----------
    scores : float64 array (n,)
        Higher = more out-of-distribution.
    groups : int64 array (n,) or None
        A group for each image, e.g. its *predicted* class; new images are then compared within their group alone
        (Mondrian conformal prediction), and the guarantee holds in each group. None compares with all.
    """

    scores: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        finite_scores(self.scores, "calibration scores")
        _check_groups(self.groups, self.scores)

    def p_values(self, scores: ArrayLike, groups: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """p-values of new scores: (1 + number of calibration scores at least as high) / (1 + n).

        Parameters
        ----------
        scores : array of float (N,)
        groups : int array (N,), optional
            Needed if the calibration has groups. In a group without calibration images every p-value is 1.

        Returns
        -------
        float64 array (N,), in [1 / (n + 1), 1]
            Small = out-of-distribution.

        Raises
        ------
        ValueError
            Scores that are not finite, or groups missing or superfluous.
        """
        values = finite_scores(scores, "scores")
        _check_groups(groups, values)
        if (groups is None) != (self.groups is None):
            raise ValueError(
                "the calibration has no groups; got groups for the scores"
                if self.groups is None
                else "the calibration has groups; give the group of each score"
            )
        if groups is None or self.groups is None:
            return _p_values(self.scores, values)
        result = np.empty(len(values))
        for group in np.unique(groups):
            result[groups == group] = _p_values(self.scores[self.groups == group], values[groups == group])
        return result

    def thresholds(self, alpha: float, groups: NDArray[np.int64] | None = None) -> float | NDArray[np.float64]:
        """The largest score whose p-value exceeds alpha; with groups, one for each of them: float64 (N,).

        Infinite where no p-value is as low as alpha.
        """
        if groups is None or self.groups is None:
            return conformal_threshold(self.scores, alpha)
        result = np.full(len(groups), np.inf)
        for group in np.intersect1d(groups, self.groups):
            result[groups == group] = conformal_threshold(self.scores[self.groups == group], alpha)
        return result

    def lowest_alpha(self) -> float:
        """The smallest p-value there can be; with groups, in the smallest of them. A lower alpha rejects nothing."""
        counts = [len(self.scores)] if self.groups is None else np.unique(self.groups, return_counts=True)[1]
        return 1 / (1 + int(min(counts)))


def conformal_threshold(scores: ArrayLike, alpha: float) -> float:
    """The largest score whose p-value, without groups, exceeds alpha; infinite if no p-value is as low as alpha.

    Parameters
    ----------
    scores : array of float (n,)
        Of the calibration images.
    alpha : float
        False-alarm rate, in (0, 1).
    """
    check_alpha(alpha)
    values = finite_scores(scores, "calibration scores")
    # p > alpha  <=>  (1 + count) > alpha (n + 1), so at least this many calibration scores must be as high.
    needed = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    return float(np.sort(values)[len(values) - needed]) if needed else float("inf")


def fisher(*p_values: ArrayLike) -> NDArray[np.float64]:
    """One score of several p-values of the same images: minus the sum of their logarithms (Fisher 1932).

    Joins what different scores see: an image counts as out-of-distribution if one of them finds it very unusual, or
    all of them a little. The scores of one detector depend on each other, so that the result is a score to be
    calibrated, and no p-value.

    Parameters
    ----------
    *p_values : array of float (N,), in (0, 1]

    Returns
    -------
    float64 array (N,), >= 0
        Higher = more out-of-distribution.

    Raises
    ------
    ValueError
        A p-value outside (0, 1].
    """
    values = np.stack([finite_scores(part, "p-values") for part in p_values])
    if not ((values > 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in (0, 1]; got values from {values.min():g} to {values.max():g}")
    return -np.log(values).sum(0)


def benjamini_hochberg(p_values: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Which of a batch to call out-of-distribution so that at most a share alpha of those called are in-distribution.

    Benjamini and Hochberg (1995). The false *discovery* rate is bounded in expectation, for conformal p-values too
    (Bates et al. 2023), while `p <= alpha` bounds the share of in-distribution images that are rejected.

    Parameters
    ----------
    p_values : array of float (N,), in [0, 1]
    alpha : float
        In (0, 1).

    Returns
    -------
    bool array (N,), True = called out-of-distribution
    """
    check_alpha(alpha)
    values = finite_scores(p_values, "p-values")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"p-values lie in [0, 1]; got values from {values.min()} to {values.max()}")
    # Conformal p-values lie on a grid and often meet the bound exactly: rounding must not decide.
    return np.asarray(false_discovery_control(values) <= alpha * (1 + 1e-12))


def check_alpha(alpha: float) -> None:
    """Refuse what is no false-alarm rate."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1); got {alpha!r}")


def _p_values(calibration: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    return (1 + len(calibration) - below) / (1 + len(calibration))


def _check_groups(groups: NDArray[np.int64] | None, scores: NDArray[np.float64]) -> None:
    if groups is not None and groups.shape != scores.shape:
        raise ValueError(f"there must be a group for each of {len(scores)} scores; got the shape {groups.shape}")
