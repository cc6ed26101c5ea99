"""Distances to stored vectors, by hand and compared with scikit-learn."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from lamae_tutorial.networks.neighbours import neighbour_distance


def test_neighbour_distance_by_hand() -> None:
    stored = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    points = torch.tensor([[0.0, 0.0], [6.0, 8.0]])
    for k, expected in ((1, [0, 0]), (2, [5, 5]), (3, [10, 10]), (9, [10, 10])):
        np.testing.assert_allclose(neighbour_distance(points, stored, k), expected, atol=1e-6)


def test_near_vectors_far_from_the_origin() -> None:
    generator = torch.Generator().manual_seed(0)
    stored = 100 + 0.01 * torch.rand(300, 20, generator=generator)
    points = 100 + 0.01 * torch.rand(50, 20, generator=generator)
    expected = NearestNeighbors(n_neighbors=7).fit(stored.double()).kneighbors(points.double())[0][:, -1]
    np.testing.assert_allclose(neighbour_distance(points, stored, 7), expected, rtol=1e-4)
