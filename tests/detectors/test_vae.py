"""VAE and SSVAE: evidence lower bound, scores and missing labels, computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from lamae_tutorial import SSVAE, VAE
from lamae_tutorial.detectors.vae import VariationalNetwork, gaussian_nll

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, -1, -1, 0])


def network_of(detector: VAE | SSVAE) -> VariationalNetwork:
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 3)
    assert isinstance(network, VariationalNetwork)
    return network.eval()


def test_likelihood_is_that_of_a_gaussian_for_each_pixel() -> None:
    mean, log_variance = torch.rand(6, 1, 8, 8), torch.randn(6, 1, 8, 8)
    expected = -Normal(mean, (0.5 * log_variance).exp()).log_prob(IMAGES).sum((1, 2, 3))
    torch.testing.assert_close(gaussian_nll(IMAGES, mean, log_variance), expected)
    by_torch = F.gaussian_nll_loss(mean, IMAGES, log_variance.exp(), full=True, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(gaussian_nll(IMAGES, mean, log_variance), by_torch)


@pytest.mark.parametrize("kind", [VAE, SSVAE])
def test_loss_is_minus_the_elbo_plus_the_classification_of_labelled_images(kind) -> None:
    detector = kind(beta=0.5) if kind is SSVAE else kind()
    network = network_of(detector)
    mean, log_variance, logits = network.encode(IMAGES)
    nll = gaussian_nll(IMAGES, *network.decode(mean, logits))
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    expected = (nll + divergence).mean()
    if kind is SSVAE:
        labelled = LABELS >= 0
        expected += 0.5 * F.cross_entropy(logits[labelled], LABELS[labelled], reduction="sum") / 6
    torch.testing.assert_close(detector.loss(network, IMAGES, LABELS), expected)


@pytest.mark.parametrize("kind", [VAE, SSVAE])
def test_scores_by_hand(kind) -> None:
    detector = kind(num_samples=3)
    network = network_of(detector)
    scores = detector.score_batch(network, IMAGES)
    assert {*scores, "error+"} == set(detector.score_kinds)
    mean, log_variance, logits = network.encode(IMAGES)
    rebuilt = network.decode(mean, logits)[0]
    torch.testing.assert_close(scores["error"], (IMAGES - rebuilt).square().sum((1, 2, 3)))
    assert network.noise.shape == (3, 32)
    samples = [mean + (0.5 * log_variance).exp() * noise for noise in network.noise]
    nll = sum(gaussian_nll(IMAGES, *network.decode(sample, logits)) for sample in samples) / 3
    torch.testing.assert_close(scores["probability"], nll)
    if logits is not None:
        torch.testing.assert_close(scores["energy"], -logits.exp().sum(1).log())


def test_training_samples_the_latent_and_evaluation_does_not() -> None:
    detector = VAE()
    network = network_of(detector)
    assert detector.loss(network, IMAGES, None) == detector.loss(network, IMAGES, None)
    network.train()
    assert detector.loss(network, IMAGES, None) != detector.loss(network, IMAGES, None)


def test_variance_of_a_pixel_is_what_the_decoder_says_and_the_lower_bound_together() -> None:
    latent = 100 * torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    for lowest in (-6.0, -1.0):
        network = network_of(VAE(min_log_variance=lowest))
        raw = network.decoder(latent)[:, 1:]
        assert raw.min() < lowest < raw.max()
        variance = network.decode(latent, None)[1].exp()
        torch.testing.assert_close(variance, raw.exp() + math.exp(lowest), rtol=1e-4, atol=0)


@pytest.mark.parametrize("raw", [-1000.0, 1000.0])
def test_log_variance_of_the_posterior_stays_within_10(raw: float) -> None:
    network = network_of(VAE())
    torch.nn.init.zeros_(network.posterior.weight)
    torch.nn.init.constant_(network.posterior.bias, raw)
    mean, log_variance, _ = network.encode(IMAGES)
    assert (log_variance == math.copysign(10, raw)).all()
    assert (mean == raw).all()
    assert torch.isfinite(VAE().loss(network, IMAGES, None))


def test_two_calls_agree(bars) -> None:
    detector = VAE(epochs=1, random_state=0, device="cpu").fit(bars[0])
    np.testing.assert_array_equal(detector.score(bars[2], "probability"), detector.score(bars[2], "probability"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_ssvae_learns_with_any_share_of_labels_missing(bars, share: float) -> None:
    images, labels, _ = bars
    partly = labels.clone()
    partly[torch.rand(len(labels), generator=torch.Generator().manual_seed(0)) < share] = -1
    detector = SSVAE(epochs=25, batch_size=16, random_state=0, device="cpu", min_log_variance=-4.0, beta=10.0)
    detector.fit(images[:180], partly[:180])
    assert detector.num_classes_ == 3
    assert (detector.classify(images[180:]) == labels[180:].numpy()).mean() > (0.5 if share > 0.5 else 0.95)


def test_ssvae_needs_some_label(bars) -> None:
    with pytest.raises(ValueError, match="labels of 0 classes"):
        SSVAE(epochs=1).fit(bars[0], torch.full_like(bars[1], -1))
    with pytest.raises(ValueError, match="labels must be >= -1; got labels from -2"):
        SSVAE(epochs=1).fit(bars[0], bars[1] - 2)
