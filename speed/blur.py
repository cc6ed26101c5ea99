"""Gaussian blur of a batch with a different width for each image: our function and a loop over torchvision's.

Run: python speed/blur.py [--rounds N]

The two treat the border differently: torchvision reflects the image, ours averages only the pixels inside the image.
"""

import argparse
import statistics
import time

import torch
from torchvision.transforms.v2.functional import gaussian_blur

from lamae_tutorial.detectors.pseudo_outliers import blur

SIDE = 32
KERNEL = SIDE - 1  # odd, as torchvision requires; a wider kernel is even slower


def by_torchvision(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    deviations = SIDE * (0.05 + 0.15 * torch.rand(len(images), generator=generator))
    pairs = zip(images, deviations.tolist(), strict=True)
    return torch.stack([gaussian_blur(image, [KERNEL, KERNEL], [deviation, deviation]) for image, deviation in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.rand(128, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    seconds: dict[str, list[float]] = {"ours": [], "torchvision": []}
    made = {}
    for _ in range(1 + options.rounds):
        for name, function in (("ours", blur), ("torchvision", by_torchvision)):
            generator = torch.Generator().manual_seed(1)
            start = time.perf_counter()
            made[name] = function(images, generator)
            seconds[name].append(time.perf_counter() - start)
    ours, peer = (values[1:] for values in seconds.values())  # the first round is a warm-up
    ratios = [other / mine for mine, other in zip(ours, peer, strict=True)]
    print(f"128 images of 3 x {SIDE} x {SIDE}, one thread, {options.rounds} rounds")
    print(f"ours        {1000 * statistics.median(ours):7.1f} ms")
    print(f"torchvision {1000 * statistics.median(peer):7.1f} ms, this / ours: {statistics.median(ratios):.0f}")
    difference = (made["ours"] - made["torchvision"]).abs().amax((0, 1))
    middle = difference[SIDE // 2 - 1 : SIDE // 2 + 1, SIDE // 2 - 1 : SIDE // 2 + 1]
    print(f"largest difference {difference.max():.3f}, in the middle of the images {middle.max():.3f}")


if __name__ == "__main__":
    main()
