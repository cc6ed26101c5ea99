"""Shapes for images of any size, and the paper's order of layers."""

import pytest
import torch
from torch import nn

from lamae_tutorial.networks.convolutional import ConvDecoder, ConvEncoder, classifier
from lamae_tutorial.networks.resnet import ResNetDecoder, resnet_features


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 17, 30), (1, 1, 5)])
@pytest.mark.parametrize("channels", [(16, 32, 64), (32, 64)])
def test_decoder_mirrors_encoder(shape: tuple[int, int, int], channels: tuple[int, ...]) -> None:
    encoder, decoder = ConvEncoder(shape, channels, 12), ConvDecoder(shape, channels, 12)
    images = torch.rand(4, *shape)
    latent = encoder(images)
    rebuilt = decoder(latent)
    assert latent.shape == (4, 12) and rebuilt.shape == images.shape
    assert rebuilt.min() >= 0 and rebuilt.max() <= 1
    halved = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in halved] == list(channels)
    assert {layer.stride for layer in halved} == {(2, 2)}


def test_every_layer_but_the_last_is_normalised() -> None:
    encoder, decoder = ConvEncoder((1, 28, 28)), ConvDecoder((1, 28, 28))
    norms = [
        layer
        for layer in [*encoder.modules(), *decoder.modules()]
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    assert len(norms) == 4 + 3
    last = [layer for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)][-1]
    assert last.bias is not None


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 14)])
def test_resnet_decoder_mirrors_the_encoder(shape: tuple[int, int, int]) -> None:
    features, size = resnet_features(shape[0], 18)
    vectors = features(torch.rand(2, *shape))
    rebuilt = ResNetDecoder(shape, size)(vectors)
    assert vectors.shape == (2, 512) and rebuilt.shape == (2, *shape)
    assert rebuilt.min() >= 0 and rebuilt.max() <= 1
    # For images of about 32 x 32 the stem keeps the size.
    assert features.conv1(torch.rand(1, *shape)).shape[2:] == shape[1:]
    counts = [sum(isinstance(layer, nn.Conv2d) for layer in resnet_features(3, d)[0].modules()) for d in (18, 34)]
    assert counts == [20, 36], "17 and 33 convolutions and 3 shortcuts each"


def test_classifier_depth() -> None:
    single, deep = classifier(6, 4), classifier(6, 4, (9, 8))
    assert sum(isinstance(layer, nn.Linear) for layer in single) == 1
    assert sum(isinstance(layer, nn.Linear) for layer in deep) == 3
    assert deep(torch.rand(5, 6)).shape == (5, 4)
