"""Checks of the tasks of chapter 5, the difference-image detector."""

from collections.abc import Callable

import torch
from torch import Tensor

from lamae_tutorial.teaching.exercises import NotYet, expect_close


def exercise_2(glued: Callable[[Tensor], Tensor]) -> None:
    """Check a pseudo-outlier: the left half of each image beside the right half of the next one."""
    images = torch.rand(3, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    given = images.clone()
    following, previous = images.roll(-1, 0), images.roll(1, 0)
    wanted = torch.cat([images[..., :4], following[..., 4:]], 3)
    got = glued(images)
    if not torch.equal(images, given):
        raise NotYet("It changes the images that it was given: work on `images.clone()`, or use `torch.cat`.")
    for message, wrong in (
        ("The images came back as they were.", images),
        (
            "The halves lie above each other; the width is the last dimension.",
            torch.cat([images[:, :, :3], following[:, :, 3:]], 2),
        ),
        (
            "The right half is the previous image's; `roll(-1, 0)` brings the next one, `roll(1, 0)` the previous.",
            torch.cat([images[..., :4], previous[..., 4:]], 3),
        ),
        (
            "The left half of the next image stands on the right; take its columns from W // 2 on.",
            torch.cat([images[..., :4], following[..., :4]], 3),
        ),
        (
            "The halves are exchanged: the left one should be the image's own.",
            torch.cat([following[..., :4], images[..., 4:]], 3),
        ),
    ):
        if isinstance(got, Tensor) and torch.equal(got, wrong):
            raise NotYet(message)
    expect_close(
        got, wanted, "For three images", "Does the last image get its right half from the first? `roll` wraps around."
    )
    narrow = torch.arange(10.0).view(2, 1, 1, 5)
    wanted = torch.tensor([[0.0, 1, 7, 8, 9], [5, 6, 2, 3, 4]]).view(2, 1, 1, 5)
    expect_close(glued(narrow), wanted, "For images of five columns, the result", "The left half has W // 2 columns.")
