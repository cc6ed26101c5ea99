"""Thresholds with a guaranteed false-alarm rate: split-conformal p-values (Vovk et al. 2005; Bates et al. 2023).

The p-value of an image is the share of in-distribution calibration images that score at least as high, counting the
image itself. If the image is also in-distribution (exchangeable with the calibration images), its p-value is at most
alpha with a probability of at most alpha, for any detector. The detector must not be trained on the calibration images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from lamae_tutorial.data.parameters import SHARE, check
from lamae_tutorial.metrics import finite_scores


@dataclass(frozen=True, eq=False)
class Calibration:
    """In-distribution scores. New scores are compared with them.

    Attributes
    ----------
    scores : float64 array (n,)
        Higher = more out-of-distribution.
    groups : int64 array (n,) or None
        The group of each image, e.g. its *predicted* class. New images are then compared only within their group
        (Mondrian conformal prediction), and the guarantee holds in each group. None compares with all images. Images
        of a group without calibration images are also compared with all: the guarantee does not hold for them, but
        they are not accepted for that reason alone.
    """

    scores: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", finite_scores(self.scores, "calibration scores"))
        object.__setattr__(self, "groups", _check_groups(self.groups, self.scores))

    def p_values(self, scores: ArrayLike, groups: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return p-values of new scores: (1 + number of calibration scores at least as high) / (1 + n).

        Parameters
        ----------
        scores : array of float (N,)
        groups : int array (N,), optional
            Required if the calibration has groups.

        Returns
        -------
        float64 array (N,), in [1 / (n + 1), 1]
            Small = out-of-distribution.

        Raises
        ------
        ValueError
            Scores are not finite, groups are missing, or groups are given but the calibration has none.
        """
        values = finite_scores(scores, "scores")
        groups = _check_groups(groups, values)
        if (groups is None) != (self.groups is None):
            raise ValueError(
                "the calibration has no groups; got groups for the scores: leave them out"
                if self.groups is None
                else "the calibration has groups; got none: give the group of each score"
            )
        if groups is None or self.groups is None:
            return _p_values(self.scores, values)
        result = np.empty(len(values))
        for group in np.unique(groups):
            result[groups == group] = _p_values(self._comparable(group), values[groups == group])
        return result

    def _comparable(self, group: int) -> NDArray[np.float64]:
        """The calibration scores of a group; all of them if it has none."""
        inside = self.scores[self.groups == group]
        return inside if len(inside) else self.scores

    def thresholds(self, alpha: float, groups: NDArray[np.int64] | None = None) -> float | NDArray[np.float64]:
        """Return the largest score whose p-value exceeds alpha; with groups, one for each entry: float64 (N,).

        It is infinite if no p-value is as low as alpha.
        """
        if groups is None or self.groups is None:
            return conformal_threshold(self.scores, alpha)
        result = np.empty(len(groups))
        for group in np.unique(groups):
            result[groups == group] = conformal_threshold(self._comparable(group), alpha)
        return result

    def lowest_alpha(self) -> float:
        """Return the smallest possible p-value; with groups, in the smallest group. A lower alpha rejects nothing."""
        counts = [len(self.scores)] if self.groups is None else np.unique(self.groups, return_counts=True)[1]
        return 1 / (1 + int(min(counts)))


def conformal_threshold(scores: ArrayLike, alpha: float) -> float:
    """Return the largest score whose p-value, without groups, exceeds alpha; infinite if no p-value is that low.

    Parameters
    ----------
    scores : array of float (n,)
        Scores of the calibration images.
    alpha : float
        False-alarm rate, in (0, 1).
    """
    check_alpha(alpha)
    values = finite_scores(scores, "calibration scores")
    # p > alpha  <=>  (1 + count) > alpha (n + 1), so at least this many calibration scores must be as high.
    needed = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    return float(np.sort(values)[len(values) - needed]) if needed else float("inf")


def fisher(*p_values: ArrayLike) -> NDArray[np.float64]:
    """Combine several p-values of each image into one score: minus the sum of their logarithms (Fisher 1932).

    The result is high if one p-value is very small, or if all of them are rather small. The scores of one detector
    depend on each other, so the result is not a p-value. Calibrate it like any other score.

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
        A p-value lies outside (0, 1].
    """
    values = np.stack([finite_scores(part, "p-values") for part in p_values])
    if not ((values > 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in (0, 1]; got values from {values.min():g} to {values.max():g}")
    return -np.log(values).sum(0)


def benjamini_hochberg(p_values: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Choose which images of a batch to call out-of-distribution, with a bound on the false *discovery* rate.

    The expected share of in-distribution images among those called is at most alpha (Benjamini and Hochberg 1995), also
    for conformal p-values (Bates et al. 2023). In contrast, `p <= alpha` bounds the share of rejected images among the
    in-distribution images.

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
        raise ValueError(f"p-values must lie in [0, 1]; got values from {values.min()} to {values.max()}")
    # Conformal p-values lie on a grid and often equal the bound exactly. The factor avoids errors by rounding.
    return np.asarray(false_discovery_control(values) <= alpha * (1 + 1e-12))


def check_alpha(alpha: float) -> None:
    """Raise a ValueError if a false-alarm rate lies outside (0, 1)."""
    check("alpha", alpha, SHARE)


def _p_values(calibration: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    return (1 + len(calibration) - below) / (1 + len(calibration))


def _check_groups(groups: NDArray[np.int64] | None, scores: NDArray[np.float64]) -> NDArray[np.int64] | None:
    if groups is None:
        return None
    array = np.asarray(groups)
    if array.shape != scores.shape or array.dtype.kind not in "iu":
        raise ValueError(
            f"groups must have the shape ({len(scores)},), one whole number per score; got {array.dtype}, {array.shape}"
        )
    return array
