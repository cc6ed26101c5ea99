"""Random changes of training images."""

import pytest
import torch

from lamae_tutorial.training.augmentation import AUGMENTATIONS, augment


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(20, 1, 28, 28), (3, 3, 32, 32)])
def test_changed_images_are_images_of_the_same_things(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    images = torch.zeros(shape)
    images[:, :, shape[2] // 4 : -(shape[2] // 4), 8:14] = 1
    changed = augment(images, name)
    assert changed.shape == shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1 + 1e-6
    assert not torch.equal(changed, images)
    ink = changed.sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert ((ink > 0.6) & (ink < 1.4)).all(), "scale 0.88 to 1.12 changes the area by at most a quarter"


def test_the_generator_decides_and_eight_images_share_a_change() -> None:
    images = torch.rand(1, 1, 9, 9).expand(24, 1, 9, 9)
    first, second, third = (augment(images, "affine") for seed in (1, 1, 2) if torch.manual_seed(seed))
    assert torch.equal(first, second) and not torch.equal(first, third)
    for start in (0, 8, 16):
        assert torch.equal(first[start], first[start + 7])
    assert not torch.equal(first[0], first[8]) and not torch.equal(first[8], first[16])


def test_only_photographs_are_mirrored() -> None:
    torch.manual_seed(0)
    images = torch.zeros(400, 1, 20, 20)
    images[..., :5] = 1  # the left side
    sides = {name: (augment(images, name)[..., :10].sum((1, 2, 3)) > 40).float().mean() for name in AUGMENTATIONS}
    assert sides["affine"] == 1 and 0.3 < sides["flip+affine"] < 0.7
