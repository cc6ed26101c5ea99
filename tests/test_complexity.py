"""Entropy compared with results by hand, scikit-image and the LAMAE paper's Table 3; total variation; normalisers."""

import numpy as np
import pytest
import torch
from skimage.measure import shannon_entropy as skimage_entropy

from lamae_tutorial import (
    ImageSet,
    characterize,
    complexity_normalized,
    complexity_normalizer,
    load_images,
    shannon_entropy,
)
from lamae_tutorial.benchmark.reported import reported_complexity
from lamae_tutorial.complexity import batch_entropy, batch_variation, total_variation

RNG = np.random.default_rng(0)


def test_by_hand() -> None:
    images = torch.tensor([[7, 7, 7, 7], [0, 255, 0, 255], [1, 2, 3, 4], [0, 0, 0, 1]], dtype=torch.uint8)
    images = images.view(4, 1, 2, 2)
    expected = [0, 1, 2, 0.75 * np.log2(4 / 3) + 0.25 * 2]
    np.testing.assert_allclose(shannon_entropy(images), expected, atol=1e-15)
    np.testing.assert_allclose(shannon_entropy(images, base=np.e), np.array(expected) * np.log(2), atol=1e-15)
    np.testing.assert_allclose(complexity_normalizer(images), np.log(np.array(expected) + 1), atol=1e-15)


@pytest.mark.parametrize("shape", [(40, 1, 28, 28), (40, 3, 32, 32), (3, 1, 1, 1), (5000, 1, 40, 40)])
def test_equals_scikit_image(shape: tuple[int, ...]) -> None:
    images = RNG.integers(0, 40, shape, dtype=np.uint8)
    some = images[:40]
    np.testing.assert_allclose(
        shannon_entropy(images)[: len(some)], [skimage_entropy(image) for image in some], atol=1e-12
    )
    by_channel = [np.mean([skimage_entropy(channel) for channel in image]) for image in some]
    np.testing.assert_allclose(shannon_entropy(images, per_channel=True)[: len(some)], by_channel, atol=1e-12)


def test_floats_are_the_same_256_levels() -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (9, 3, 8, 8), dtype=np.uint8))
    assert torch.equal(shannon_entropy(images), shannon_entropy(images.float() / 255))


def test_table_3_complexity_column(mnist_test: ImageSet) -> None:
    entropy = shannon_entropy(mnist_test.images)
    ours = {f"mnist-{digit}": round(entropy[mnist_test.labels == digit].mean().item(), 2) for digit in range(10)}
    assert ours == reported_complexity()


def test_normalized_error_by_hand() -> None:
    images = torch.tensor([[7, 7], [0, 255]], dtype=torch.uint8).view(2, 1, 1, 2)
    corrected = complexity_normalized([3.0, 3.0], images)
    np.testing.assert_allclose(corrected, [3e9, 3 / np.log(2)], rtol=1e-8)
    np.testing.assert_allclose(complexity_normalized([3.0, 3.0], images, gamma=1.0)[0], 3.0)


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[0, 51, 51], [255, 51, 0]], dtype=torch.uint8)
    # horizontally 51 + 0 + 204 + 51, vertically 255 + 0 + 51; of 255
    assert total_variation(image.view(1, 1, 2, 3)).tolist() == [612 / 255]
    colour = torch.stack([image, image, torch.zeros_like(image)])[None]
    assert total_variation(colour).tolist() == [2 * 612 / 255]
    flat = torch.full((2, 1, 1, 1), 9, dtype=torch.uint8)
    assert total_variation(flat).tolist() == [0, 0] and total_variation(flat).dtype == torch.float64


def test_total_variation_equals_numpys_differences_of_many_images() -> None:
    images = RNG.integers(0, 256, (1500, 3, 6, 5), dtype=np.uint8)
    wide = images.astype(float) / 255
    expected = sum(np.abs(np.diff(wide, axis=axis)).sum((1, 2, 3)) for axis in (2, 3))
    np.testing.assert_allclose(total_variation(images), expected, rtol=1e-12)
    assert torch.equal(total_variation(images), total_variation(torch.from_numpy(images).float() / 255))


def test_error_normalized_by_total_variation() -> None:
    images = torch.tensor([[7, 7], [0, 51]], dtype=torch.uint8).view(2, 1, 1, 2)
    np.testing.assert_allclose(
        complexity_normalized([3.0, 3.0], images, measure="total_variation"), [3e9, 15], rtol=1e-8
    )
    by_keyword = complexity_normalized([3.0, 3.0], images, measure="total_variation", gamma=0.8)
    np.testing.assert_allclose(by_keyword, [3.75, 3])
    with pytest.raises(ValueError, match=r"measure must be \"entropy\" or \"total_variation\"; got 'tv'"):
        complexity_normalized([3.0, 3.0], images, measure="tv")


def test_what_cannot_be_normalized_is_refused() -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    for scores, message in [([-1.0, 2.0], "errors, >= 0"), ([1.0], r"the shape \(2,\)"), ([np.nan, 1.0], ">= 0")]:
        with pytest.raises(ValueError, match=message):
            complexity_normalized(scores, images)
    with pytest.raises(ValueError, match="gamma must be > 0"):
        complexity_normalized([1.0, 1.0], images, gamma=0)
    with pytest.raises(ValueError, match=r"float images must lie in \[0, 1\]"):
        shannon_entropy(torch.full((1, 1, 2, 2), 1.5))


def test_characterize() -> None:
    digits = load_images("digits", "test").images
    noise = load_images("noise", n=100, image_shape=(1, 8, 8)).images
    constant = load_images("constant", n=100, image_shape=(1, 8, 8)).images
    fancy, plain = characterize(noise, digits), characterize(constant, digits)
    assert (fancy.kind, plain.kind) == ("fancy", "plain")
    assert (fancy.overlap, plain.overlap) == (1, 0)
    assert plain.ood_mean == plain.ood_std == 0
    assert fancy.id_mean == pytest.approx(shannon_entropy(digits).mean().item())


def test_complexities_of_a_batch_are_those_of_the_package() -> None:
    levels = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    levels[0] = 7
    images = levels.float() / 255
    torch.testing.assert_close(batch_entropy(images).double(), shannon_entropy(levels), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(batch_variation(images).double(), total_variation(levels))
