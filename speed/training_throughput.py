"""Training speed of LAMAE's default MNIST network, compared with the same network in a textbook DataLoader loop.

Run: python speed/training_throughput.py [--images N] [--rounds N]

Both train on the same random 28 x 28 images in turn, round by round, so a drift in the machine's speed affects both.
The script prints the median of the ratios of all rounds. The textbook loop is the usual one: a Dataset with PIL images
and ToTensor, a shuffling DataLoader, Adam, and `loss.item()` at each step. "Network alone" (training steps on one batch
that is already in memory) is the upper bound for any loop.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from lamae_tutorial import LAMAE
from lamae_tutorial.data.images import TrainingData
from lamae_tutorial.training.loop import TrainingSettings, train

BATCH = 128


class TextbookDataset(Dataset):
    """Does what torchvision.datasets.MNIST with ToTensor does for one image, without reading files."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return to_tensor(Image.fromarray(self.images[index])), int(self.labels[index])


def textbook_epoch(detector: LAMAE, images: np.ndarray, labels: np.ndarray, workers: int) -> float:
    network = detector.build_network((1, 28, 28), 10)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(TextbookDataset(images, labels), batch_size=BATCH, shuffle=True, num_workers=workers)
    network.train()
    start = time.perf_counter()
    running = 0.0
    for batch, targets in loader:
        optimizer.zero_grad()
        loss = detector.loss(network, batch, targets)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return len(images) / (time.perf_counter() - start)


def network_alone(detector: LAMAE, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return images per second of training steps on one batch of floats that is already in memory."""
    network = detector.build_network((1, 28, 28), 10)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    batch, targets, steps = images[:BATCH].float() / 255, labels[:BATCH], len(images) // BATCH
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        detector.loss(network, batch, targets).backward()
        optimizer.step()
    return steps * BATCH / (time.perf_counter() - start)


def our_epoch(detector: LAMAE, images: torch.Tensor, labels: torch.Tensor) -> float:
    network = detector.build_network((1, 28, 28), 10)
    settings = TrainingSettings(epochs=1, batch_size=BATCH, device="cpu", verbose=False)
    data = TrainingData(images, labels, images[:2], labels[:2], num_classes=10, seed=0)
    history = train(network, detector.loss, data, settings)
    return len(images) / history[0]["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, options.images)
    tensors = torch.from_numpy(images)[:, None], torch.from_numpy(labels)
    detector = LAMAE()
    our_epoch(detector, tensors[0][:2000], tensors[1][:2000])  # warm-up
    speeds: dict[str, list[float]] = {
        "ours": [],
        "textbook, no workers": [],
        "textbook, 2 workers": [],
        "network alone": [],
    }
    for _ in range(options.rounds):
        speeds["ours"].append(our_epoch(detector, *tensors))
        speeds["textbook, no workers"].append(textbook_epoch(detector, images, labels, 0))
        speeds["textbook, 2 workers"].append(textbook_epoch(detector, images, labels, 2))
        speeds["network alone"].append(network_alone(detector, *tensors))
    print(f"{torch.get_num_threads()} threads, {options.images} images, {options.rounds} rounds")
    for name, values in speeds.items():
        ratios = [ours / other for ours, other in zip(speeds["ours"], values, strict=True)]
        print(f"{name:22} {statistics.median(values):8.0f} images/s, ours / this: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
