"""Distances to stored vectors."""

import torch
from torch import Tensor


def neighbour_distance(points: Tensor, stored: Tensor, k: int) -> Tensor:
    """Return the Euclidean distance of each point to its k-th nearest stored vector.

    It is computed in double precision by a matrix product, which needs an array of B x M numbers.

    Parameters
    ----------
    points : float (B, D)
    stored : float (M, D)
    k : int
        >= 1; if there are fewer than k stored vectors, the farthest one counts.

    Returns
    -------
    float64 tensor (B,)
    """
    distances = torch.cdist(points.double(), stored.double(), compute_mode="use_mm_for_euclid_dist")
    return distances.kthvalue(min(k, len(stored)), dim=1).values
