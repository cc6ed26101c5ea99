"""Deeper encoders: shapes for images of any size."""

import pytest
import torch

from lamae_tutorial.networks.deep import deep_encoder


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (1, 5, 9), (1, 1, 1), (1, 64, 40), (3, 32, 32), (3, 5, 2)])
def test_images_of_any_size_become_features(shape: tuple[int, int, int]) -> None:
    network = deep_encoder(shape, 16).eval()
    assert network(torch.rand(3, *shape)).shape == (3, 16)


def test_layers_of_the_networks() -> None:
    def widths(shape: tuple[int, int, int]) -> list[int]:
        return [layer.out_channels for layer in deep_encoder(shape, 128) if isinstance(layer, torch.nn.Conv2d)]

    assert widths((1, 28, 28)) == [16, 32, 32, 64, 64]
    assert widths((3, 32, 32)) == [24, 32, 32, 128, 128, 128, 128]


def test_the_dense_layer_does_not_grow_with_large_images() -> None:
    sizes = [sum(part.numel() for part in deep_encoder((1, side, side), 128).parameters()) for side in (28, 256)]
    assert sizes[0] == sizes[1]
