"""Pseudo-outliers: outliers that are made from in-distribution images alone.

The difference-image paper trains a binary classifier without real outliers, but does not say what it uses instead. Here
it is a strategy: a function that takes a batch of images and a generator and returns a batch of changed images. Random
numbers are drawn anew for each image. `speed/pseudo_outliers.py` compares the strategies without any OoD image.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Strategy = Callable[[Tensor, torch.Generator | None], Tensor]
Generator = torch.Generator | None

MIXTURE = "mixture"
_GRID = 4  # patches per side


def gaussian_noise(images: Tensor, generator: Generator = None) -> Tensor:
    """Add Gaussian noise with a standard deviation of 0.3 to 1."""
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return images + _each(images, 0.3, 1.0, generator) * noise


def uniform_noise(images: Tensor, generator: Generator = None) -> Tensor:
    """Replace 50% to 100% of the image's intensity by uniform noise."""
    share = _each(images, 0.5, 1.0, generator)
    return (1 - share) * images + share * torch.rand(images.shape, generator=generator, device=images.device)


def salt_and_pepper(images: Tensor, generator: Generator = None) -> Tensor:
    """Set 10% to 50% of the pixels to 0 or 1, in all channels alike."""
    drawn = torch.rand(images[:, :1].shape, generator=generator, device=images.device)
    share = _each(images, 0.1, 0.5, generator)
    return torch.where(drawn < share, (drawn < share / 2).to(images.dtype), images)


# torchvision blurs a whole batch with one width, but here each image has its own. A loop over its calls takes 17 to 38
# times as long as these two matrix products (three runs of `speed/blur.py`: 128 images of 3 x 32 x 32, one thread).
def blur(images: Tensor, generator: Generator = None) -> Tensor:
    """Blur with a Gaussian whose standard deviation is 5% to 20% of the side."""
    share = _each(images, 0.05, 0.2, generator)
    rows, columns = (_blur_matrix(size, share * size) for size in images.shape[2:])
    return rows @ images @ columns.mT


def patch_permutation(images: Tensor, generator: Generator = None) -> Tensor:
    """Put the 4 x 4 patches of the image in random order; a remainder at the right and lower border stays."""
    n, channels, height, width = images.shape
    rows, columns = height // _GRID, width // _GRID
    if not rows or not columns:
        raise ValueError(
            f"patch_permutation needs images of at least {_GRID} x {_GRID} pixels; got {height} x {width}: "
            "choose another strategy"
        )
    inner = images[:, :, : rows * _GRID, : columns * _GRID]
    patches = inner.reshape(n, channels, _GRID, rows, _GRID, columns).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.rand(patches.shape[:2], generator=generator, device=images.device).argsort(1)
    patches = patches[torch.arange(n, device=images.device)[:, None], order]  # (n, 16, C, rows, columns)
    patches = patches.view(n, _GRID, _GRID, channels, rows, columns).permute(0, 3, 1, 4, 2, 5)
    result = images.clone()
    result[:, :, : rows * _GRID, : columns * _GRID] = patches.reshape(inner.shape)
    return result


def mixing(images: Tensor, generator: Generator = None) -> Tensor:
    """Mix 30% to 70% of the image with another image."""
    share = _each(images, 0.3, 0.7, generator)
    return share * images + (1 - share) * images.roll(1, 0)


def cut_paste(images: Tensor, generator: Generator = None) -> Tensor:
    """Paste a rectangle of another image in the same place; its sides are 30% to 70% of the image's."""
    inside = torch.ones_like(images[:, :1], dtype=torch.bool)
    for axis, size in ((2, images.shape[2]), (3, images.shape[3])):
        length = _each(images, 0.3, 0.7, generator) * size
        start = _each(images, 0.0, 1.0, generator) * (size - length)
        place = torch.arange(size, device=images.device).view([-1 if at == axis else 1 for at in range(4)])
        inside = inside & (place >= start) & (place < start + length)
    return torch.where(inside, images.roll(1, 0), images)


def inversion(images: Tensor, generator: Generator = None) -> Tensor:
    """Invert the image: 1 - x."""
    return 1 - images


def contrast(images: Tensor, generator: Generator = None) -> Tensor:
    """Multiply the distance from the image's mean by 0 to 0.4 or by 3 to 20, each with probability 1/2."""
    lower, higher = _each(images, 0.0, 0.4, generator), _each(images, 3.0, 20.0, generator)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + torch.where(_each(images, 0.0, 1.0, generator) < 0.5, lower, higher) * (images - mean)


STRATEGIES: dict[str, Strategy] = {
    "gaussian_noise": gaussian_noise,
    "uniform_noise": uniform_noise,
    "salt_and_pepper": salt_and_pepper,
    "blur": blur,
    "patch_permutation": patch_permutation,
    "mixing": mixing,
    "cut_paste": cut_paste,
    "inversion": inversion,
    "contrast": contrast,
}


def find_strategy(wanted: str | Sequence[str] | Strategy) -> Strategy:
    """Return a strategy by its name.

    Parameters
    ----------
    wanted : str, sequence of str or callable
        A key of `STRATEGIES`; several keys, one of which is drawn for each image; "mixture" for all keys; or a function
        (images, generator or None) -> images, which is returned unchanged.

    Returns
    -------
    callable (float images (B, C, H, W) in [0, 1], torch.Generator or None) -> (B, C, H, W)
        Its values may lie outside [0, 1]; :func:`make_outliers` clips them. Without a generator it uses PyTorch's
        global one.

    Raises
    ------
    ValueError
        No strategy has that name.
    """
    if callable(wanted):
        return wanted
    if isinstance(wanted, str):
        names = list(STRATEGIES) if wanted == MIXTURE else [wanted]
    else:
        names = list(wanted) if isinstance(wanted, Sequence | np.ndarray) else []
    unknown = [name for name in names if not isinstance(name, str) or name not in STRATEGIES]
    if unknown or not names:
        raise ValueError(
            f"pseudo_outliers must be {MIXTURE!r}, a function, or one or more of {', '.join(STRATEGIES)}; "
            f"got {wanted!r}"
        )
    if len(names) == 1:
        return STRATEGIES[names[0]]

    def mixture(images: Tensor, generator: Generator = None) -> Tensor:
        made = torch.stack([STRATEGIES[name](images, generator) for name in names])
        which = torch.randint(len(names), (len(images),), generator=generator, device=images.device)
        return made[which, torch.arange(len(images), device=images.device)]

    return mixture


def make_outliers(wanted: str | Sequence[str] | Strategy, images: Tensor, generator: Generator = None) -> Tensor:
    """Make pseudo-outliers of images, clipped to [0, 1]; see :func:`find_strategy`.

    Raises
    ------
    ValueError
        No strategy has that name, or a user's function returns another shape.
    """
    made = find_strategy(wanted)(images, generator)
    if made.shape != images.shape:
        raise ValueError(
            f"pseudo_outliers must return images of the shape {tuple(images.shape)}; got {tuple(made.shape)}: "
            "mend the function"
        )
    return made.clamp(0, 1)


def _each(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """Draw a number from U(low, high) for each image, (B, 1, 1, 1)."""
    drawn = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return low + (high - low) * drawn


def _blur_matrix(size: int, deviation: Tensor) -> Tensor:
    """Return matrices (B, 1, size, size) that blur a column when multiplied with it; their rows sum to 1."""
    place = torch.arange(size, device=deviation.device)
    return (-(place[:, None] - place).square() / (2 * deviation.square())).softmax(-1)
