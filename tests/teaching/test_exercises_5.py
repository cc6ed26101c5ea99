"""The implementation task of chapter 5: its solution passes, and typical mistakes get their own messages."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lamae_tutorial.teaching.exercises import check


def glued(images: Tensor) -> Tensor:
    half = images.shape[3] // 2
    return torch.cat([images[..., :half], images.roll(-1, 0)[..., half:]], 3)


def in_place(images: Tensor) -> Tensor:
    half = images.shape[3] // 2
    images[..., half:] = images.roll(-1, 0)[..., half:].clone()
    return images


def without_wrap(images: Tensor) -> Tensor:
    made = glued(images)
    made[-1] = images[-1]
    return made


def above_each_other(images: Tensor) -> Tensor:
    return glued(images.mT).mT


def test_the_solution_passes() -> None:
    assert check("5.2", glued).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: ..., "It returns nothing so far"),
        (lambda images: images, "The images came back as they were"),
        (in_place, "It changes the images that it was given"),
        (above_each_other, "The halves lie above each other"),
        (lambda images: torch.cat([images.roll(-1, 0)[..., :4], images[..., 4:]], 3), "The halves are exchanged"),
        (lambda images: torch.cat([images[..., :4], images.roll(1, 0)[..., 4:]], 3), "The right half is the previous"),
        (lambda images: torch.cat([images[..., :4], images.roll(-1, 0)[..., :4]], 3), "The left half of the next"),
        (without_wrap, "Does the last image get its right half from the first"),
        (lambda images: images[..., :4], "should have the shape"),
        (lambda images: torch.cat([images[..., :-4], images.roll(-1, 0)[..., -4:]], 3), "has W // 2 columns"),
    ],
)
def test_a_wrong_answer_gets_its_message(answer: Callable[[Tensor], Tensor], message: str) -> None:
    verdict = check("5.2", answer)
    assert not verdict.right and message in verdict.message
