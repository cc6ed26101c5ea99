"""Random changes of training images that do not change their class, by torchvision's transforms."""

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

# By name. "affine" keeps upright things upright: no flip, because a mirrored digit is another sign.
AUGMENTATIONS: dict[str, v2.Transform] = {
    "affine": v2.RandomAffine(
        degrees=15, translate=(0.07, 0.07), scale=(0.88, 1.12), shear=11, interpolation=InterpolationMode.BILINEAR
    ),
    "flip+affine": v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                degrees=0, translate=(0.12, 0.12), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR
            ),
        ]
    ),
}
_TOGETHER = 8  # images that get the same change; one call for each image would take five times as long


def augment(images: Tensor, name: str) -> Tensor:
    """Change images at random. PyTorch's global generator draws; each eight images of a batch get the same change.

    Parameters
    ----------
    images : float tensor (B, C, H, W)
    name : str
        A key of `AUGMENTATIONS`. "affine": rotation by up to 15 degrees, shear up to 11 degrees, scale 0.88 to 1.12,
        shift up to 7% of the side. "flip+affine": a horizontal mirror image half of the time, scale 0.9 to 1.1, shift
        up to 12%; for photographs.

    Returns
    -------
    float tensor (B, C, H, W), in channels-last memory
    """
    transform = AUGMENTATIONS[name]
    changed = torch.cat([transform(part) for part in images.split(_TOGETHER)])
    return changed.contiguous(memory_format=torch.channels_last)
