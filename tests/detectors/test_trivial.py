"""Trivial scores compared with NumPy and scikit-learn; the stored images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.measure import shannon_entropy as skimage_entropy
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from lamae_tutorial import Detector, noise_images
from lamae_tutorial.cli import main
from lamae_tutorial.detectors.trivial import Trivial

Bars = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def fitted(bars: Bars) -> Trivial:
    images, labels, _ = bars
    return Trivial(random_state=0, device="cpu").fit(images[:200], labels[:200], (images[200:], labels[200:]))


def by_scikit_learn(points: np.ndarray, stored: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k).fit(stored).kneighbors(points)[0][:, -1]


def test_scores_by_hand(fitted: Trivial, bars: Bars) -> None:
    train, ood = (part.numpy().astype(float).reshape(len(part), -1) / 255 for part in (bars[0][:200], bars[2]))
    scores = fitted.scores(bars[2])
    np.testing.assert_allclose(scores["pixels"], by_scikit_learn(ood, train, 10), rtol=1e-5)
    np.testing.assert_allclose(scores["mean_image"], ((ood - train.mean(0)) ** 2).sum(1), rtol=1e-5)
    np.testing.assert_allclose(scores["ink"], ood.mean(1), rtol=1e-5)
    np.testing.assert_allclose(scores["entropy"], [skimage_entropy(image) for image in bars[2].numpy()], rtol=1e-9)
    squares = ood.reshape(-1, 8, 8)
    variation = sum(np.abs(np.diff(squares, axis=axis)).sum((1, 2)) for axis in (1, 2))
    np.testing.assert_allclose(scores["total_variation"], variation, rtol=1e-9)
    with torch.no_grad():
        train, ood = (F.normalize(fitted.network_.encoder(part.float() / 255)) for part in (bars[0][:200], bars[2]))
    np.testing.assert_allclose(scores["untrained"], by_scikit_learn(ood.numpy(), train.numpy(), 10), rtol=1e-4)


def test_nothing_is_trained(fitted: Trivial, bars: Bars) -> None:
    assert fitted.history_ == []
    torch.manual_seed(3)
    again = Trivial(random_state=0, device="cpu", epochs=1).fit(bars[0][::2])
    for name, value in again.network_.encoder.state_dict().items():
        assert torch.equal(value, fitted.network_.encoder.state_dict()[name]), "the seed alone draws the weights"


def test_a_small_memory_is_drawn_with_the_seed(bars: Bars, tmp_path: Path) -> None:
    images = bars[0]
    small, same, other = (
        Trivial(random_state=seed, memory_size=20, neighbours=1, device="cpu").fit(images, None, (images, None))
        for seed in (0, 0, 1)
    )
    distances = small.score(images)
    assert ((distances < 1e-6).sum(), np.count_nonzero(small.network_.count)) == (20, 1)
    np.testing.assert_array_equal(distances, same.score(images))
    assert not np.array_equal(distances < 1e-6, other.score(images) < 1e-6)
    loaded = Detector.load(small.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(loaded.score(bars[2]), small.score(bars[2]))


def test_more_neighbours_than_images_and_more_images_than_a_batch() -> None:
    noise = noise_images(1500, (1, 8, 8)).images
    few = Trivial(random_state=0, device="cpu").fit(noise[:6], None, (noise[6:8], None))
    pixels = (noise.float() / 255).flatten(1)
    farthest = torch.cdist(pixels, pixels[:6]).amax(1).numpy()
    np.testing.assert_allclose(few.score(noise), farthest, rtol=1e-4)
    many = Trivial(random_state=0, device="cpu", neighbours=1).fit(noise, None, (noise[:5], None))
    for kind in ("pixels", "untrained"):
        assert many.score(noise, kind).max() < 1e-3, "each image is stored"


def test_settings_are_checked(bars: Bars) -> None:
    with pytest.raises(ValueError, match=r"memory_size must be a whole number in 1\.\.1000000; got 0"):
        Trivial(memory_size=0).fit(bars[0])
    with pytest.raises(ValueError, match=r"neighbours must be a whole number in 1\.\.65536; got 0"):
        Trivial(neighbours=0).fit(bars[0])


def test_rows_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["benchmark", "table1", "--profile", "smoke", "--seeds", "1", "--detectors", "trivial", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for title in ("Trivial", *(f"Trivial ({kind})" for kind in Trivial.score_kinds[1:])):
        assert f"| digits-1 | {title} " in shown
