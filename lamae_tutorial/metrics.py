"""How well scores separate in-distribution (ID) from out-of-distribution (OoD) images.

A higher score always means more out-of-distribution. AUROC is symmetric in the two classes. AUPRC and the false
positive rate are not, so each function says which class is positive. Ties are handled as in scikit-learn.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import auc, average_precision_score, roc_curve

from lamae_tutorial.data.parameters import SHARE, check, number, one_of, whole

_TPR = number("lie in (0, 1]", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class Summary:
    """All metrics of one pair of ID and OoD scores, each in [0, 1].

    Attributes
    ----------
    auroc : float
        Area under the ROC curve.
    auprc_ood, auprc_id : float
        Average precision with OoD, or ID, as the positive class.
    fpr_at_tpr : float
        Share of OoD images accepted by the threshold that accepts the share `tpr` of the ID images.
    tpr : float
        Share of ID images accepted.
    """

    auroc: float
    auprc_ood: float
    auprc_id: float
    fpr_at_tpr: float
    tpr: float


def summary(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> Summary:
    """Return AUROC, AUPRC for both positive classes, and the false positive rate.

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.
    tpr : float
        Share of ID images to accept, in (0, 1].

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        Scores are empty, not finite or not one-dimensional, or `tpr` lies outside (0, 1].
    """
    check("tpr", tpr, _TPR)
    inside, outside = finite_scores(id_scores, "id_scores"), finite_scores(ood_scores, "ood_scores")
    scores = np.concatenate([inside, outside])
    is_ood = np.arange(len(scores)) >= len(inside)
    # ID is the positive class here: the positives of a threshold are the images that it accepts.
    ood_rate, id_rate, _ = roc_curve(~is_ood, -scores, drop_intermediate=False)
    return Summary(
        auroc=float(auc(ood_rate, id_rate)),
        auprc_ood=float(average_precision_score(is_ood, scores)),
        auprc_id=float(average_precision_score(~is_ood, -scores)),
        fpr_at_tpr=float(ood_rate[np.argmax(id_rate >= tpr)]),
        tpr=tpr,
    )


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the probability that an OoD score exceeds an ID score (ties count half).

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance.

    Raises
    ------
    ValueError
        See :func:`summary`.
    """
    return summary(id_scores, ood_scores).auroc


def auprc(id_scores: ArrayLike, ood_scores: ArrayLike, positive: Literal["ood", "id"] = "ood") -> float:
    """Return the area under the precision-recall curve, as average precision.

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.
    positive : {"ood", "id"}
        The positive class. The notebook of the LAMAE authors uses "id".

    Returns
    -------
    float
        In [0, 1]; chance is the share of the positive class.

    Raises
    ------
    ValueError
        See :func:`summary`; or `positive` has another value.
    """
    check("positive", positive, one_of("ood", "id"))
    result = summary(id_scores, ood_scores)
    return result.auprc_ood if positive == "ood" else result.auprc_id


def fpr_at_tpr(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> float:
    """Return the share of OoD images accepted when the share `tpr` of the ID images is accepted (ID is positive).

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.
    tpr : float
        In (0, 1]. The threshold is the lowest score that accepts at least this share.

    Returns
    -------
    float
        In [0, 1]; 0 is best.

    Raises
    ------
    ValueError
        See :func:`summary`.
    """
    return summary(id_scores, ood_scores, tpr).fpr_at_tpr


@dataclass(frozen=True)
class DeLong:
    """Result of the test whether two AUROCs on the same images differ.

    Attributes
    ----------
    difference : float
        First minus second AUROC.
    standard_error : float
        Standard error of the difference.
    p : float
        Two-sided p-value: the probability of a difference at least as large if the true difference is 0.
    """

    difference: float
    standard_error: float
    p: float


def delong(first_id: ArrayLike, first_ood: ArrayLike, second_id: ArrayLike, second_ood: ArrayLike) -> DeLong:
    """Test whether two detectors have different AUROCs on the same images (DeLong et al. 1988).

    The structural components are computed from midranks (Sun and Xu 2014), without a loop over pairs of images.

    Parameters
    ----------
    first_id, second_id : array of float (N,)
        Scores of the same ID images, N >= 2; higher = more out-of-distribution.
    first_ood, second_ood : array of float (M,)
        Scores of the same OoD images, M >= 2.

    Returns
    -------
    DeLong

    Raises
    ------
    ValueError
        The numbers of images differ or are less than two, or scores are not finite.
    """
    pairs = [
        (finite_scores(first_id, "first_id"), finite_scores(second_id, "second_id")),
        (finite_scores(first_ood, "first_ood"), finite_scores(second_ood, "second_ood")),
    ]
    for first, second in pairs:
        if len(first) != len(second) or len(first) < 2:
            raise ValueError(
                "both detectors need scores of the same images, at least two; got "
                f"{len(first)} and {len(second)} scores"
            )
    variance, difference = 0.0, 0.0
    components = [_components(pairs[0][which], pairs[1][which]) for which in (0, 1)]
    for first, second in zip(*components, strict=True):
        # The variance of the paired differences needs no covariance matrix.
        difference = float(np.mean(first - second))  # the same for ID and OoD: both components have the mean AUROC
        variance += float(np.var(first - second, ddof=1)) / len(first)
    error = math.sqrt(variance)
    p = math.erfc(abs(difference) / error / math.sqrt(2)) if error > 0 else float(difference == 0)
    return DeLong(difference, error, p)


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 10_000) -> tuple[float, float]:
    """Return the bootstrap percentile interval of the mean (Efron 1979). The resamples are the same in each call.

    Parameters
    ----------
    values : array of float (N,)
        One value per seed, N >= 2.
    level : float
        In (0, 1).
    resamples : int

    Returns
    -------
    low, high : float
    """
    check("level", level, SHARE)
    check("resamples", resamples, whole(1))
    numbers = finite_scores(values, "values")
    if len(numbers) < 2:
        raise ValueError(f"an interval needs at least two values; got {len(numbers)}")
    drawn = np.random.default_rng(0).integers(0, len(numbers), (resamples, len(numbers)))
    low, high = np.quantile(numbers[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _components(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the share of OoD above each ID image, and the share of ID below each OoD image (ties count half)."""
    ranks = rankdata(np.concatenate([inside, outside]))  # equal scores get the mean of their ranks
    below_id = ranks[: len(inside)] - rankdata(inside)  # OoD images below
    below_ood = ranks[len(inside) :] - rankdata(outside)  # ID images below
    return 1 - below_id / len(outside), below_ood / len(inside)


def finite_scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return scores as a float64 array (N,). Raise a ValueError with `name` if they are empty or not finite."""
    array = as_numbers(scores)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have the shape (N,) with N >= 1, one score per image; got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite; {np.count_nonzero(~np.isfinite(array))} of {array.size} are NaN or infinite"
        )
    return array


def as_numbers(values: Any) -> NDArray[np.float64]:
    """Return a float64 array of numbers of any kind, also of a tensor with gradients. Masked values become NaN."""
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().double().numpy()
    if np.ma.isMaskedArray(values):
        values = values.astype(np.float64).filled(np.nan)
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise ValueError("scores must be real numbers; got complex ones")
    return array.astype(np.float64, copy=False)
