"""Speed of training several seeds side by side in one pass, compared with one seed after the other.

The rounds alternate, so both see the same load. On a GPU one small network leaves most of the device idle; on a CPU it
does not.

    python speed/seeds_side_by_side.py --device cuda --seeds 10
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from lamae_tutorial.data.images import ImageSet
from lamae_tutorial.detectors import DETECTORS
from lamae_tutorial.detectors.together import fit_together
from lamae_tutorial.training.loop import resolve_device


def seconds(device: torch.device, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["lamae", "memae", "godin"], choices=DETECTORS)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (options.images, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.arange(options.images) % 10
    training, validation = ImageSet("random", images, labels), ImageSet("random", images[:100], labels[:100])
    print(f"{device}, {torch.get_num_threads()} threads, {options.images} images, {options.seeds} seeds")
    for name in options.detectors:

        def detectors(name: str = name) -> list:
            return [
                DETECTORS[name](epochs=1, random_state=seed, device=str(device), verbose=False)
                for seed in range(options.seeds)
            ]

        def in_turn() -> None:
            for detector in detectors():
                detector.fit(training.images, training.labels, validation)

        def at_once() -> None:
            fit_together(detectors(), [(training, validation)] * options.seeds)

        in_turn(), at_once()  # warm-up
        ratios = [seconds(device, in_turn) / seconds(device, at_once) for _ in range(options.rounds)]
        print(
            f"{name:12} in turn / side by side: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
