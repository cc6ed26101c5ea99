"""The label-assisted memory: Eqn (1) in NumPy, and the notebook's variant."""

import numpy as np
import pytest
import torch

from lamae_tutorial import LabelAssistedMemory

CLASSES, SLOTS, LATENT = 4, 3, 5


def read_one(memory: LabelAssistedMemory, latent: np.ndarray, predicted: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute both variants with loops."""
    slots = memory.slots.detach().double().numpy()
    norm = 1 if memory.variant == "notebook" else 2
    weights = np.zeros((CLASSES, SLOTS))
    for s in range(CLASSES):
        for i in range(SLOTS):
            cosine = latent @ slots[s, i] / np.linalg.norm(latent, norm) / np.linalg.norm(slots[s, i], norm)
            if s == predicted:
                weights[s, i] = np.exp(cosine)
            elif memory.variant == "notebook":
                weights[s, i] = np.exp(0)
    weights /= weights.sum()
    return sum(weights[s, i] * slots[s, i] for s in range(CLASSES) for i in range(SLOTS)), weights


@pytest.mark.parametrize("variant", ["paper", "notebook"])
def test_equals_the_equation(variant) -> None:
    torch.manual_seed(0)
    memory = LabelAssistedMemory(CLASSES, SLOTS, LATENT, variant)
    assert memory.slots.shape == (CLASSES, SLOTS, LATENT)
    latent, logits = torch.randn(20, LATENT), torch.randn(20, CLASSES)
    read, weights = memory(latent, logits)
    assert read.shape == (20, LATENT) and weights.shape == (20, CLASSES, SLOTS)
    for row in range(20):
        expected_read, expected_weights = read_one(memory, latent[row].double().numpy(), int(logits[row].argmax()))
        np.testing.assert_allclose(weights[row].detach(), expected_weights, atol=1e-6)
        np.testing.assert_allclose(read[row].detach(), expected_read, atol=1e-5)


def test_paper_reads_the_predicted_class_alone_and_the_notebook_all() -> None:
    latent, logits = torch.randn(6, LATENT), torch.eye(CLASSES)[[0, 1, 2, 3, 0, 1]]
    for variant, shares in [("paper", 1.0), ("notebook", None)]:
        weights = LabelAssistedMemory(CLASSES, SLOTS, LATENT, variant)(latent, logits)[1]  # type: ignore[arg-type]
        of_predicted = weights.sum(2)[torch.arange(6), logits.argmax(1)]
        if shares is not None:
            assert torch.equal((weights > 0).sum((1, 2)), torch.full((6,), SLOTS))
            np.testing.assert_allclose(of_predicted.detach(), 1, atol=1e-6)
        else:
            # The slots of the eight other classes leave at most e / (e + 8) of the attention to the predicted class.
            assert (weights > 0).all() and (of_predicted < np.e / (np.e + CLASSES - 1)).all()


def test_classes_of_different_size() -> None:
    memory = LabelAssistedMemory(3, [1, 4, 2], LATENT)
    assert memory.slots.shape == (3, 4, LATENT)
    read, weights = memory(torch.randn(3, LATENT), torch.eye(3))
    assert (weights > 0).sum(2).diagonal().tolist() == [1, 4, 2]
    torch.testing.assert_close(read[0], memory.slots[0, 0])
    notebook = LabelAssistedMemory(3, [1, 4, 2], LATENT, "notebook")(torch.randn(3, LATENT), torch.eye(3))[1]
    assert (notebook > 0).sum(2).tolist() == [[1, 4, 2]] * 3


def test_gradients_reach_slots_and_latent_but_not_the_classifier() -> None:
    memory = LabelAssistedMemory(CLASSES, SLOTS, LATENT)
    latent = torch.randn(2, LATENT, requires_grad=True)
    logits = torch.tensor([[0.0, 0, 1, 0], [0, 0, 2, 0]], requires_grad=True)
    memory(latent, logits)[0].square().sum().backward()
    assert logits.grad is None
    assert latent.grad is not None and latent.grad.abs().sum() > 0
    assert memory.slots.grad is not None
    assert memory.slots.grad[2].abs().sum() > 0 and memory.slots.grad[[0, 1, 3]].abs().sum() == 0


def test_a_zero_latent_gives_no_nan() -> None:
    for variant in ("paper", "notebook"):
        read, weights = LabelAssistedMemory(CLASSES, SLOTS, LATENT, variant)(  # type: ignore[arg-type]
            torch.zeros(1, LATENT), torch.eye(CLASSES)[:1]
        )
        assert torch.isfinite(read).all() and torch.isfinite(weights).all()


@pytest.mark.parametrize("slots", [0, [1, 2], [1, 0, 2, 3], []])
def test_bad_sizes_are_refused(slots) -> None:
    with pytest.raises(ValueError, match="slots_per_class must be one number >= 1, or 4 of them"):
        LabelAssistedMemory(CLASSES, slots, LATENT)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match='variant must be "paper" or "notebook"'):
        LabelAssistedMemory(CLASSES, SLOTS, LATENT, "code")  # type: ignore[arg-type]
