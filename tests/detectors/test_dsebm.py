"""DSEBM: energy, gradient, denoising loss and both scores, computed by hand."""

import pytest
import torch
from torch.nn import functional as F

from lamae_tutorial import DSEBM
from lamae_tutorial.detectors.dsebm import EnergyNetwork, energy_and_gradient

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network_of(detector: DSEBM) -> EnergyNetwork:
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 0)
    assert isinstance(network, EnergyNetwork)
    torch.nn.init.normal_(network.bias, std=0.1)
    return network.eval()


def test_energy_by_hand() -> None:
    network = network_of(DSEBM(channels=(4, 5), hidden=7))
    first, _, second, _, _, dense = network.layers
    maps = F.softplus(second(F.softplus(first(IMAGES))))
    assert maps.shape == (6, 5, 2, 2)
    units = F.softplus(maps.permute(0, 2, 3, 1).reshape(6, 20) @ dense.weight.T + dense.bias)
    expected = 0.5 * (IMAGES - network.bias).square().sum((1, 2, 3)) - units.sum(1)
    torch.testing.assert_close(network(IMAGES), expected)


def test_gradient_agrees_with_finite_differences_of_the_energy() -> None:
    network = network_of(DSEBM()).double()
    images = IMAGES.double()
    with torch.no_grad():
        energy, gradient = energy_and_gradient(network, images)
    torch.testing.assert_close(energy, network(images))
    direction = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    slope = (network(images + 1e-5 * direction) - network(images - 1e-5 * direction)) / 2e-5
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), slope)


def test_scores_by_hand_also_without_gradients_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = DSEBM()
    network = network_of(detector)
    rebuilt = IMAGES - energy_and_gradient(network, IMAGES)[1]
    monkeypatch.setattr("lamae_tutorial.detectors.dsebm._SCORE_BATCH", 4)
    with torch.no_grad():
        scores = detector.score_batch(network, IMAGES)
    assert tuple(scores) == DSEBM.score_kinds == ("energy", "reconstruction")
    torch.testing.assert_close(scores["energy"], network(IMAGES))
    torch.testing.assert_close(scores["reconstruction"], (IMAGES - rebuilt).square().sum((1, 2, 3)))
    assert not any(score.requires_grad for score in scores.values())


def test_the_loss_is_what_one_step_downhill_leaves_of_the_noise() -> None:
    detector = DSEBM(noise=0.2)
    network = network_of(detector)
    with torch.no_grad():
        value = detector.loss(network, IMAGES, None)
    assert value == detector.loss(network, IMAGES, None), "the same noise each time in evaluation mode"
    noisy = IMAGES + 0.2 * torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(0))
    rebuilt = noisy - energy_and_gradient(network, noisy)[1]
    torch.testing.assert_close(value, (IMAGES - rebuilt).square().sum((1, 2, 3)).mean())
    network.train()
    assert detector.loss(network, IMAGES, None) != detector.loss(network, IMAGES, None)


def test_training_differentiates_through_the_gradient() -> None:
    """The gradient of the weights agrees with finite differences of the loss."""
    detector = DSEBM(channels=(4,), hidden=3)
    network = network_of(detector).double().train()
    weight = network.layers[0].weight

    def loss() -> torch.Tensor:
        torch.manual_seed(0)
        return detector.loss(network, IMAGES.double(), None)

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        weight += 1e-5 * direction
        above = loss()
        weight -= 2e-5 * direction
        below = loss()
    torch.testing.assert_close((gradient * direction).sum(), (above - below).detach() / 2e-5)


def test_training_learns_to_denoise(bars) -> None:
    detector = DSEBM(epochs=25, batch_size=16, random_state=0, device="cpu").fit(bars[0])
    images = bars[0].float() / 255
    noisy = images + 0.3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    rebuilt = noisy - energy_and_gradient(detector.network_, noisy)[1]
    assert (rebuilt - images).square().mean() < 0.5 * (noisy - images).square().mean()


def test_bad_noise_is_refused(bars) -> None:
    with pytest.raises(ValueError, match=r"noise must be > 0; got 0"):
        DSEBM(noise=0).fit(bars[0])
