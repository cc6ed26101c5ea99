"""The task of chapter 4: right answers, the stub, and typical mistakes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lamae_tutorial.teaching.exercises import check


def entropy(counts: Tensor) -> Tensor:
    p = counts[counts > 0] / counts.sum()
    return -(p * p.log2()).sum()


def answer(
    steps: Callable[[Tensor], Tensor] = lambda image: image.int().diff(dim=-1),
    bits: Callable[[Tensor], Tensor] = entropy,
) -> Callable[[Tensor], Tensor]:
    """Return an answer of this kind; the default is right."""
    return lambda images: torch.stack(
        [bits(torch.bincount((steps(image) + 255).flatten().int(), minlength=511)) for image in images]
    )


def test_the_solution() -> None:
    assert repr(check("4.2", answer())) == "Exercise 4.2: right."


def test_the_stub() -> None:
    assert "It returns nothing so far" in check("4.2", lambda images: ...).message


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (answer(lambda image: image.diff(dim=-1).int()), "Bytes wrap around"),
        (answer(lambda image: image.int().diff(dim=-1).abs()), "keep the sign"),
        (answer(lambda image: image.int()), "entropy of the levels"),
        (answer(lambda image: image.int().diff(dim=-2)), "below each other"),
        (answer(bits=lambda counts: torch.special.entr(counts / counts.sum()).sum()), "Take log2"),
        (answer(bits=lambda counts: -(counts / counts.sum() * (counts / counts.sum()).log2()).sum()), "0 log 0"),
        (lambda images: answer()(images).sum(), r"should have the shape (3,); got ()"),
        (lambda images: answer()(images) + 1, "For three images, the entropies should be"),
    ],
)
def test_a_mistake_is_told(wrong: Callable[[Tensor], Tensor], hint: str) -> None:
    verdict = check("4.2", wrong)
    assert not verdict.right and hint in verdict.message
