"""Fixtures shared by all tests."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from lamae_tutorial import ImageSet


@pytest.fixture(scope="session")
def mnist_test() -> ImageSet:
    """The MNIST test images from LAMAE_DATA or the cache folder. Tests may need no real data but MNIST."""
    return _mnist("test")


@pytest.fixture(scope="session")
def mnist_train() -> ImageSet:
    """The MNIST training images."""
    return _mnist("train")


def _mnist(split: str) -> ImageSet:
    from lamae_tutorial import load_images

    try:
        return load_images("mnist", split)
    except FileNotFoundError as error:
        pytest.skip(f"needs the real data: {error}")


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder. LAMAE_DATA is not set."""
    monkeypatch.delenv("LAMAE_DATA", raising=False)
    folder = tmp_path / "no data"
    folder.mkdir()
    return folder


@pytest.fixture
def bars() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An easy task: 8x8 images with a bright row (class 0), column (1) or border (2); OoD: both diagonals."""
    generator = torch.Generator().manual_seed(0)

    def noisy(patterns: torch.Tensor) -> torch.Tensor:
        noise = torch.randint(0, 60, patterns.shape, generator=generator)
        return (patterns * 180 + noise).to(torch.uint8)

    n = 240
    place = torch.randint(1, 7, (n,), generator=generator)
    labels = torch.arange(n) % 3
    images = torch.zeros(n, 1, 8, 8, dtype=torch.int64)
    for image, label, at in zip(images, labels, place, strict=True):
        if label == 0:
            image[0, at] = 1
        elif label == 1:
            image[0, :, at] = 1
        else:
            image[0, [0, 7]] = image[0, :, [0, 7]] = 1
    diagonal = torch.eye(8, dtype=torch.int64)
    return noisy(images), labels, noisy((diagonal | diagonal.flip(0)).expand(60, 1, 8, 8))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let skipped tests fail if CI=true, with the reason. Only a missing GPU is allowed."""
    report = yield
    reason = str(report.longrepr)
    if report.skipped and os.environ.get("CI") == "true" and "needs a CUDA device" not in reason:
        report.outcome, report.longrepr = "failed", f"With CI=true no test may skip: {reason}"
    return report


pytest_make_collect_report = pytest_runtest_makereport  # for files that skip as a whole


def pytest_configure(config: pytest.Config) -> None:
    # One thread per worker, to avoid oversubscription.
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
