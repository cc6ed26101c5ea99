"""PixelCNN: a prediction depends on all earlier values and on no later one; bits by hand."""

import math

import numpy as np
import pytest
import torch

from lamae_tutorial import PixelCNN, complexity_normalizer
from lamae_tutorial.detectors.pixelcnn import PixelCNNNetwork, gate

SIZE = (4, 5)  # rows, columns


def network_of(channels: int, **settings) -> PixelCNNNetwork:
    torch.manual_seed(0)
    network = PixelCNN(**{"levels": 8, "features": 6, **settings}).build_network((channels, *SIZE), 0)
    assert isinstance(network, PixelCNNNetwork)
    return network.double().eval()


def influence(network: PixelCNNNetwork, channels: int) -> np.ndarray:
    """Return which value (column) changes which prediction (row), in raster order and by channel within a pixel."""
    values = torch.rand(1, channels, *SIZE, dtype=torch.float64, requires_grad=True)
    logits = network(values * 2 - 1)
    rows = []
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            for channel in range(channels):
                weights = torch.randn(logits[channel].shape[1], dtype=torch.float64)
                output = logits[channel][0, :, row, column] @ weights
                (gradient,) = torch.autograd.grad(output, values, retain_graph=True)
                rows.append(gradient[0].permute(1, 2, 0).flatten().numpy())
    return np.stack(rows) != 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kernel_size", "layers"), [(3, 6), (5, 3)])
def test_every_value_depends_on_all_before_it_and_on_none_after(channels: int, kernel_size: int, layers: int) -> None:
    moved = influence(network_of(channels, kernel_size=kernel_size, layers=layers), channels)
    n = channels * SIZE[0] * SIZE[1]
    np.testing.assert_array_equal(moved, np.tri(n, n, -1, dtype=bool))


def test_one_layer_sees_its_half_of_the_kernel_without_a_blind_spot() -> None:
    moved = influence(network_of(1, kernel_size=5, layers=1), 1)[3 * SIZE[1] + 2].reshape(SIZE)
    expected = np.zeros(SIZE, dtype=bool)
    expected[1:3] = True  # two rows above, two columns to each side
    expected[3, :2] = True
    np.testing.assert_array_equal(moved, expected)


def test_a_later_value_changes_no_earlier_prediction_in_the_detectors_own_images(bars) -> None:
    detector = PixelCNN(epochs=1, random_state=0, device="cpu", layers=2).fit(bars[0])
    images = bars[0][:1].float() / 255
    changed = images.clone()
    changed[0, 0, 4, 3] = 1 - changed[0, 0, 4, 3]
    with torch.no_grad():
        one, other = (detector.network_(2 * part - 1)[0].flatten(2) for part in (images, changed))
    at = 4 * 8 + 3
    torch.testing.assert_close(one[..., : at + 1], other[..., : at + 1])
    assert not torch.allclose(one[..., at + 1], other[..., at + 1])


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_bits_by_hand(levels: int) -> None:
    detector = PixelCNN(levels=levels)
    torch.manual_seed(0)
    network = detector.build_network((3, *SIZE), 0).eval()
    images = torch.randint(0, 256, (4, 3, *SIZE)).float() / 255
    classes = torch.div(images * 255 + 0.5, 256 / levels, rounding_mode="floor").long()
    assert classes.max() == levels - 1
    logits = network(classes.float() / (levels - 1) * 2 - 1)
    assert [tuple(part.shape) for part in logits] == 3 * [(4, levels, *SIZE)]
    expected = torch.zeros(4)
    for channel, part in enumerate(logits):
        chosen = part.softmax(1).gather(1, classes[:, channel : channel + 1])
        expected -= chosen.log2().sum((1, 2, 3)) / (3 * SIZE[0] * SIZE[1])
    with torch.no_grad():
        scores = detector.score_batch(network, images)
        torch.testing.assert_close(detector.loss(network, images, None), expected.mean())
    torch.testing.assert_close(scores["nll"], expected)
    torch.testing.assert_close(scores["normalized"], expected / (complexity_normalizer(images).float() + 1e-9))


def test_a_model_that_knows_nothing_needs_all_bits() -> None:
    detector = PixelCNN(levels=16)
    network = detector.build_network((1, 8, 8), 0)
    for head in network.heads:
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    torch.testing.assert_close(detector.score_batch(network, torch.rand(3, 1, 8, 8))["nll"], torch.full((3,), 4.0))


def test_training_saves_bits(bars) -> None:
    detector = PixelCNN(epochs=15, learning_rate=1e-2, levels=4, random_state=0, device="cpu").fit(bars[0])
    levels = np.bincount(bars[0].flatten().numpy() // 64, minlength=4) / bars[0].numel()
    entropy = -sum(share * math.log2(share) for share in levels if share)
    assert detector.history_[-1]["validation_loss"] < 0.7 * entropy, (
        "better than pixels that know nothing of each other"
    )


def test_gate() -> None:
    maps = torch.tensor([0.5, -1.0, 2.0, 0.0]).view(1, 4, 1, 1)
    expected = [math.tanh(0.5) / (1 + math.exp(-2)), math.tanh(-1) / 2]
    torch.testing.assert_close(gate(maps).flatten(), torch.tensor(expected))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, r"levels must be a whole number in 2\.\.256; got 1"),
        ({"levels": 300}, r"levels must be a whole number in 2\.\.256; got 300"),
        ({"kernel_size": 4}, r"kernel_size must be an odd whole number in 3\.\.99; got 4"),
        ({"layers": 0}, "layers must be a whole number in 1..1000; got 0"),
        ({"features": 0}, "features must be a whole number in 1..4096; got 0"),
    ],
)
def test_bad_options_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelCNN(**settings).check_settings()
