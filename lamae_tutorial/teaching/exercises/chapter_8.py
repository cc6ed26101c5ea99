"""Chapter 8: the distance to the k-th nearest stored feature."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.teaching.exercises import expect_close


def exercise_2(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Check `neighbour_score(features, stored, k)`: minus the cosine to the k-th nearest stored feature, (B,)."""
    generator = torch.Generator().manual_seed(0)
    features = 3 * torch.randn(4, 5, generator=generator)  # other lengths than 1, so that the norms matter
    stored = torch.randn(6, 5, generator=generator)
    for k in (1, 3):
        cosines = (F.normalize(features, dim=1) @ F.normalize(stored, dim=1).T).sort(1, descending=True).values
        products = (features @ stored.T).sort(1, descending=True).values
        typical = {
            "The sign is turned. A high score means OoD, so it is minus the cosine.": cosines[:, k - 1],
            "These are products, not cosines. Divide by the lengths of both vectors.": -products[:, k - 1],
            f"This is the mean of the {k} nearest. The k-th alone counts.": -cosines[:, :k].mean(1),
            "This is the nearest one. Take the k-th.": -cosines[:, 0],
            "These are the farthest. Sort from the highest cosine down.": -cosines[:, -k],
        }
        given = answer(features.clone(), stored.clone(), k)
        expect_close(given, -cosines[:, k - 1], f"With k = {k}, the scores of 4 images", typical=typical)
    few = answer(features.clone(), stored[:2].clone(), 10)
    cosines = F.normalize(features, dim=1) @ F.normalize(stored[:2], dim=1).T
    expect_close(few, -cosines.amin(1), "With k = 10 and 2 stored features, the scores", "The farthest one counts.")
