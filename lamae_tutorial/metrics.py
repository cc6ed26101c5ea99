"""How well scores separate in-distribution (ID) from out-of-distribution (OoD) images.

Throughout, a higher score means more out-of-distribution. AUROC is symmetric in the two classes; AUPRC and the false
positive rate are not, so that each says which class is the positive one. Ties are handled as in scikit-learn.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
        Share of OoD images accepted at the threshold that accepts the share `tpr` of the ID images.
    tpr : float
        That share.
    """

    auroc: float
    auprc_ood: float
    auprc_id: float
    fpr_at_tpr: float
    tpr: float


def summary(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> Summary:
    """AUROC, AUPRC of both kinds and the false positive rate, from one sort of the scores.

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.
    tpr : float
        Share of ID images to be accepted, in (0, 1].

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        Empty or non-finite scores, scores that are not one-dimensional, or a share outside (0, 1].
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must lie in (0, 1]; got {tpr}")
    inside, outside = finite_scores(id_scores, "id_scores"), finite_scores(ood_scores, "ood_scores")
    values = np.concatenate([inside, outside])
    order = np.argsort(values, kind="stable")
    values = values[order]
    is_id = order < len(inside)
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # the last of each run of equal scores
    # Images with a score up to each distinct value: what a threshold there accepts.
    id_accepted = np.cumsum(is_id)[last]
    ood_accepted = last + 1 - id_accepted
    id_rate = id_accepted / len(inside)
    ood_rate = ood_accepted / len(outside)
    id_rejected = len(inside) - np.append(0, id_accepted[:-1])
    ood_rejected = len(outside) - np.append(0, ood_accepted[:-1])
    return Summary(
        auroc=float(np.trapezoid(np.append(0, id_rate), np.append(0, ood_rate))),
        auprc_ood=_average_precision(ood_rejected[::-1], id_rejected[::-1]),
        auprc_id=_average_precision(id_accepted, ood_accepted),
        fpr_at_tpr=float(ood_rate[np.argmax(id_rate >= tpr)]),
        tpr=tpr,
    )


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Area under the ROC curve: the probability that an OoD score exceeds an ID score, ties counted half.

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
    """Area under the precision-recall curve, as average precision.

    Parameters
    ----------
    id_scores, ood_scores : array of float (N,), (M,)
        Higher = more out-of-distribution.
    positive : {"ood", "id"}
        The class that is looked for. The LAMAE authors' notebook takes "id".

    Returns
    -------
    float
        In [0, 1]; chance is the share of the positive class.

    Raises
    ------
    ValueError
        See :func:`summary`; or another word for `positive`.
    """
    if positive not in ("ood", "id"):
        raise ValueError(f'positive must be "ood" or "id"; got {positive!r}')
    result = summary(id_scores, ood_scores)
    return result.auprc_ood if positive == "ood" else result.auprc_id


def fpr_at_tpr(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> float:
    """Share of OoD images that are accepted when the share `tpr` of the ID images is accepted; ID is positive.

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


def finite_scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    """Scores as a float64 array (N,); a ValueError that calls them `name` if they are empty or not finite."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one score an image, at least one; got the shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} scores are not finite")
    return array


def _average_precision(true_positives: NDArray[np.int64], false_positives: NDArray[np.int64]) -> float:
    """Sum of precision times gain in recall, over cumulative counts from the strictest threshold on."""
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / true_positives[-1]
    return float(np.sum(precision * np.diff(recall, prepend=0)))
