"""Generated image sets: constant images and noise (LAMAE paper, Section 4.1)."""

from collections.abc import Callable
from numbers import Integral
from operator import index
from typing import Any

import numpy as np
import torch

from lamae_tutorial.data.images import ImageSet, ImageShape
from lamae_tutorial.data.readers import check_memory

SPLITS = ("train", "test", "all")


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")


def constant_images(
    n: int = 10_000,
    image_shape: ImageShape = (1, 28, 28),
    random_state: int = 0,
    colour: bool = False,
    split: str = "test",
) -> ImageSet:
    """Return images of one value each, drawn uniformly from 0..255 ("Constant" in the LAMAE paper, Section 4.1).

    Parameters
    ----------
    n : int
        Number of images, 1 or more.
    image_shape : (int, int, int)
        Channels (1 or 3), height, width.
    random_state : int
        Seed. Each split has its own random stream.
    colour : bool
        Draw one value per channel. By default all channels of an image are equal, as in the paper.
    split : {"train", "test", "all"}

    Returns
    -------
    ImageSet
        Without labels.

    Raises
    ------
    ValueError
        Another split, number, shape or seed, or more images than half of the memory can hold.
    """
    n, image_shape, random_state = _check(n, image_shape, random_state, split)
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    channels = image_shape[0]
    values = rng.integers(0, 256, (n, channels if colour else 1, 1, 1), dtype=np.uint8)
    return ImageSet("constant", torch.from_numpy(values).expand(n, *image_shape).contiguous(), known=True)


def noise_images(
    n: int = 10_000,
    image_shape: ImageShape = (1, 28, 28),
    random_state: int = 0,
    split: str = "test",
) -> ImageSet:
    """Return images of independent uniform values from 0..255 ("Noise" in the LAMAE paper, Section 4.1).

    Parameters, result and errors are the same as in :func:`constant_images`, without `colour`.
    """
    n, image_shape, random_state = _check(n, image_shape, random_state, split)
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    images = torch.from_numpy(rng.integers(0, 256, (n, *image_shape), dtype=np.uint8))
    return ImageSet("noise", images, known=True)


def _check(n: Any, image_shape: Any, random_state: Any, split: str) -> tuple[int, ImageShape, int]:
    check_split(split)
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n must be an integer of 1 or more; got {n!r}")
    if not isinstance(random_state, Integral) or random_state < 0:
        raise ValueError(f"random_state must be an integer of 0 or more; got {random_state!r}")
    try:
        channels, height, width = (index(length) for length in image_shape)
    except (TypeError, ValueError):
        channels = height = width = 0
    if channels not in (1, 3) or min(height, width) < 1:
        raise ValueError(f"image_shape must be (1 or 3, height, width); got {image_shape!r}")
    check_memory(int(n) * channels * height * width, f"{n} images need an array")
    return int(n), (channels, height, width), int(random_state)


SYNTHETIC: dict[str, Callable[..., ImageSet]] = {"constant": constant_images, "noise": noise_images}
