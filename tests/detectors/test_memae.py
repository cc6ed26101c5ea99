"""MemAE: its memory compared with the equations in NumPy, and its loss."""

import numpy as np
import pytest
import torch

from lamae_tutorial import MemAE, MemoryBank, auroc

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("shrink", "threshold"), [("1/N", 1 / 7), ("1.2/N", 1.2 / 7), (0.0, 0.0), (0.15, 0.15)])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_memory_equals_the_equations(shrink: float | str, threshold: float, temperature: float) -> None:
    torch.manual_seed(0)
    memory = MemoryBank(7, 5, shrink, temperature)
    latent = torch.randn(20, 5)
    read, weights = memory(latent)
    slots = memory.slots.detach().double().numpy()
    for row, z in enumerate(latent.double().numpy()):
        cosine = np.array([z @ m / np.linalg.norm(z) / np.linalg.norm(m) for m in slots])
        w = np.exp(cosine / temperature) / np.exp(cosine / temperature).sum()
        w = np.where(w > threshold, w, 0)
        w = w / w.sum() if w.sum() > 0 else w
        np.testing.assert_allclose(weights[row].detach(), w, atol=1e-5)
        np.testing.assert_allclose(read[row].detach(), w @ slots, atol=1e-5)


def test_a_row_that_shrinks_to_nothing_gives_zeros_and_finite_gradients() -> None:
    memory = MemoryBank(50, 5, "20/N")
    latent = torch.randn(4, 5, requires_grad=True)
    read, weights = memory(latent)
    assert not weights.any() and not read.any()
    (read.sum() - (weights * (weights + 1e-12).log()).sum()).backward()
    assert torch.isfinite(latent.grad).all() and torch.isfinite(memory.slots.grad).all()


def test_a_threshold_that_empties_every_row_still_trains(bars) -> None:
    detector = MemAE(shrink_threshold=0.9, epochs=2, batch_size=16, random_state=0, device="cpu").fit(bars[0])
    scores = detector.scores(bars[2])
    assert all(np.isfinite(values).all() for values in scores.values())
    assert torch.equal(*detector.reconstruct(bars[0][[0, 100]])), "nothing of the image can be left"


@pytest.mark.parametrize("weight", [0.0002, 0.5])
def test_loss_is_error_plus_entropy(weight: float) -> None:
    detector = MemAE(entropy_weight=weight, memory_size=9)
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 0).eval()
    rebuilt, weights = network(IMAGES)
    w = weights.detach().double().numpy()
    entropy = -sum(x * np.log(x) for x in w.flat if x > 0)
    error = (IMAGES - rebuilt).square().sum().item()
    assert detector.loss(network, IMAGES, None).item() == pytest.approx((error + weight * entropy) / 6, rel=1e-5)


def test_shrinkage_makes_weights_sparse(bars) -> None:
    torch.manual_seed(0)
    latent = torch.randn(50, 32)
    kept = [(MemoryBank(100, 32, shrink)(latent)[1] > 0).float().mean().item() for shrink in (0, "1/N", "1.3/N")]
    assert kept[0] == 1 and 0.3 < kept[1] < 0.7 and kept[2] < 0.15


@pytest.mark.parametrize("bad", ["N/2", "x", -0.1, 1.0, "7/N"])
def test_bad_thresholds_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="shrink_threshold must be a number"):
        MemoryBank(5, 3, bad)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        MemoryBank(0, 3)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        MemoryBank(5, 3, temperature=0)


def test_detects_the_diagonals_with_few_slots(bars) -> None:
    images, _, ood = bars
    detector = MemAE(memory_size=12, epochs=25, batch_size=16, random_state=1, device="cpu").fit(images[:180])
    assert auroc(detector.score(images[180:]), detector.score(ood)) > 0.9
