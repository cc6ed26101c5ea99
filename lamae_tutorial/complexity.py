"""Image complexity: Shannon entropy, the complexity normaliser CN, total variation; plain and fancy images.

See the LAMAE paper (Zhang et al. 2021), Section 3.2. The entropy is in base 2, which reproduces the complexity column
of its Table 3. The logarithm in CN is natural, as in the authors' code.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lamae_tutorial.data.images import Images, check_images
from lamae_tutorial.data.parameters import POSITIVE, check, number, one_of
from lamae_tutorial.metrics import as_numbers, auroc

Measure = Literal["entropy", "total_variation"]

_BASE = number("be > 1", lambda value: value > 1)
_IMAGES = 1024  # images whose total variation is computed at a time
_CHUNK = 1 << 17  # pixels counted at a time; bins and counts then fit into the processor's cache


def shannon_entropy(images: Images, base: float = 2, per_channel: bool = False) -> Tensor:
    """Return the Shannon entropy of each image's histogram of 256 levels (LAMAE paper, Eqn 3).

    Parameters
    ----------
    images : uint8 (N, C, H, W), or float in [0, 1]
        Floats are rounded to the 256 levels.
    base : float
        Base of the logarithm, > 1; 2 gives bits.
    per_channel : bool
        By default one histogram counts the values of all channels. With True, each channel has a histogram, and the
        result is the mean of the channels' entropies.

    Returns
    -------
    float64 tensor (N,)
        From 0 (constant image) to log(256).

    Raises
    ------
    ValueError
        The images have another shape, type or range, or `base` is not above 1.
    """
    check("base", base, _BASE)
    levels = _levels(images)
    rows = levels.flatten(2) if per_channel else levels.flatten(1).unsqueeze(1)  # (N, histograms, pixels)
    per_image = rows.shape[1]
    rows = rows.flatten(0, 1)
    pixels = rows.shape[1]
    # A table of -p log p for every possible count, so that no logarithm is computed per image.
    shares = torch.arange(pixels + 1, dtype=torch.float64, device=rows.device) / pixels
    terms = torch.special.entr(shares) / float(np.log(base))
    entropies = []
    for chunk in rows.split(max(1, _CHUNK // pixels)):
        offsets = torch.arange(len(chunk), dtype=torch.int32, device=rows.device)[:, None] * 256
        bins = (chunk.to(torch.int32) + offsets).flatten()
        counts = torch.bincount(bins, minlength=256 * len(chunk))
        entropies.append(terms[counts].view(-1, 256).sum(1))
    return torch.cat(entropies).view(-1, per_image).mean(1)


def complexity_normalizer(images: Images) -> Tensor:
    """Return CN = ln(H + 1), where H is :func:`shannon_entropy` (LAMAE paper, Section 3.2.3).

    Parameters
    ----------
    images : uint8 (N, C, H, W), or float in [0, 1]

    Returns
    -------
    float64 tensor (N,), >= 0
    """
    return shannon_entropy(images).log1p()


def total_variation(images: Images) -> Tensor:
    """Return the total variation of each image: how much neighbouring pixels differ.

    This is the sum of the absolute differences of all horizontal and all vertical neighbours, over all channels.

    Parameters
    ----------
    images : uint8 (N, C, H, W), or float in [0, 1]
        Levels 0 to 255 count as 0 to 1. Floats are rounded to the 256 levels.

    Returns
    -------
    float64 tensor (N,), >= 0
        0 for a constant image.
    """
    sums = []
    for part in _levels(images).split(_IMAGES):
        levels = part.short()
        sums.append(sum(levels.diff(dim=axis).abs().flatten(1).sum(1) for axis in (2, 3)))
    return torch.cat(sums).double() / 255


def batch_entropy(images: Tensor) -> Tensor:
    """Return :func:`shannon_entropy` in bits, (N,), of float images (N, C, H, W) in [0, 1]: for networks and ONNX.

    It is in single precision, and nothing is checked.
    """
    levels = (images * 255).round().long().flatten(1)
    counts = torch.zeros(images.shape[0], 256, device=images.device)
    shares = counts.scatter_add(1, levels, torch.ones_like(levels, dtype=counts.dtype)) / levels.shape[1]
    return -(shares * shares.clamp_min(1e-12).log2()).sum(1)


def batch_variation(images: Tensor) -> Tensor:
    """Return :func:`total_variation`, (N,), of float images (N, C, H, W) in [0, 1]: for networks and ONNX.

    It is in single precision, and nothing is checked or rounded.
    """
    down, right = images.diff(dim=2).abs(), images.diff(dim=3).abs()
    return down.flatten(1).sum(1) + right.flatten(1).sum(1)


def complexity_normalized(
    scores: ArrayLike, images: Images, gamma: float = 1e-9, measure: Measure = "entropy"
) -> NDArray[np.float64]:
    """Divide reconstruction errors by the complexity of the images.

    With "entropy" the divisor is CN + gamma (LAMAE paper, Eqn 4): this is the "+" of AE+, MemAE+ and LAMAE+. With
    "total_variation" it is :func:`total_variation` + gamma, which is in no paper. A constant image has the complexity
    0, so its error is multiplied by 1 / gamma: such images are always detected.

    Parameters
    ----------
    scores : array of float (N,)
        Reconstruction errors, >= 0; higher = more out-of-distribution.
    images : uint8 (N, C, H, W), or float in [0, 1]
        The images that were scored.
    gamma : float
        Avoids a division by 0; > 0.
    measure : {"entropy", "total_variation"}

    Returns
    -------
    float64 array (N,), higher = more out-of-distribution

    Raises
    ------
    ValueError
        Scores are negative (the division would reverse their order), the number of scores and images differs, `gamma`
        is not positive, or there is no such measure.
    """
    errors = as_numbers(scores)
    if errors.shape != (len(images),):
        raise ValueError(f"scores must have the shape ({len(images)},), one per image; got {errors.shape}")
    if errors.size and not errors.min() >= 0:
        raise ValueError(f"scores must be reconstruction errors, >= 0; got a score of {errors.min()}")
    check("measure", measure, one_of(*get_args(Measure)))
    check("gamma", gamma, POSITIVE)
    complexity = complexity_normalizer(images) if measure == "entropy" else total_variation(images)
    return errors / (complexity.numpy() + gamma)


@dataclass(frozen=True)
class Characterization:
    """How complex OoD images are, compared with ID images.

    Attributes
    ----------
    kind : {"plain", "fancy"}
        "plain": on average less complex than the ID images; "fancy": at least as complex.
    ood_mean, ood_std, id_mean, id_std : float
        Mean and standard deviation of the entropy, in bits.
    overlap : float
        Probability that an OoD image has a higher entropy than an ID image (ties count half), in [0, 1]. This is the
        AUROC of a detector whose score is the entropy.
    """

    kind: Literal["plain", "fancy"]
    ood_mean: float
    ood_std: float
    id_mean: float
    id_std: float
    overlap: float


def characterize(ood_images: Images, id_images: Images) -> Characterization:
    """Decide between plain and fancy OoD images, as in the taxonomy of the LAMAE paper (Section 3.2.2).

    Parameters
    ----------
    ood_images, id_images : uint8 (N, C, H, W), or float in [0, 1]

    Returns
    -------
    Characterization
    """
    ood, inside = shannon_entropy(ood_images).numpy(), shannon_entropy(id_images).numpy()
    return Characterization(
        kind="plain" if ood.mean() < inside.mean() else "fancy",
        ood_mean=float(ood.mean()),
        ood_std=float(ood.std()),
        id_mean=float(inside.mean()),
        id_std=float(inside.std()),
        overlap=auroc(inside, ood),
    )


def _levels(images: Images) -> Tensor:
    """Return images as a uint8 tensor; floats in [0, 1] are rounded to 256 levels."""
    tensor = check_images(images).cpu()
    return tensor if tensor.dtype == torch.uint8 else (tensor * 255).round().to(torch.uint8)
