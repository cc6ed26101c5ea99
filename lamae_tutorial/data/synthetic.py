"""Generated image sets: constant images and noise (LAMAE paper, Section 4.1)."""

from collections.abc import Callable

import numpy as np
import torch

from lamae_tutorial.data.images import ImageSet, ImageShape, check_image_shape
from lamae_tutorial.data.parameters import SEED, check, one_of, whole

SPLITS = ("train", "test", "all")


def check_split(split: str) -> None:
    """Raise a ValueError if a split is not one of `SPLITS`."""
    check("split", split, one_of(*SPLITS))


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
        Number of images.
    image_shape : (int, int, int)
        Channels (1 or 3), height, width.
    random_state : int
        Seed, in 0..4294967295. Each split has its own random stream.
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
        A parameter has another type or range, or the images would need more than 64 GiB.
    """
    shape = channels, _, _ = _check(n, image_shape, random_state, split)
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    values = rng.integers(0, 256, (n, channels if colour else 1, 1, 1), dtype=np.uint8)
    return ImageSet("constant", torch.from_numpy(values).expand(n, *shape).contiguous(), known=True)


def noise_images(
    n: int = 10_000,
    image_shape: ImageShape = (1, 28, 28),
    random_state: int = 0,
    split: str = "test",
) -> ImageSet:
    """Return images of independent uniform values from 0..255 ("Noise" in the LAMAE paper, Section 4.1).

    Parameters and result are the same as in :func:`constant_images`, without `colour`.
    """
    shape = _check(n, image_shape, random_state, split)
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    images = torch.from_numpy(rng.integers(0, 256, (n, *shape), dtype=np.uint8))
    return ImageSet("noise", images, known=True)


def _check(n: int, image_shape: ImageShape, random_state: int, split: str) -> ImageShape:
    check("n", n, whole(1, 10**15, "be a whole number >= 1"))
    check("random_state", random_state, SEED)
    check_split(split)
    return check_image_shape(image_shape, n)


SYNTHETIC: dict[str, Callable[..., ImageSet]] = {"constant": constant_images, "noise": noise_images}
