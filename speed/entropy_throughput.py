"""Shannon entropy of 10,000 images of 28 x 28: our function and a loop over scikit-image's.

Run: python speed/entropy_throughput.py [--rounds N]

Each round times our function on all images and scikit-image on a tenth of them. The result is the median of the ratios.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from skimage.measure import shannon_entropy as skimage_entropy

from lamae_tutorial import shannon_entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    # A fifth of the pixels is random and the rest is black, as in MNIST.
    images = rng.integers(0, 256, (10_000, 28, 28), dtype=np.uint8) * (rng.random((10_000, 28, 28)) < 0.2)
    tensor = torch.from_numpy(images.astype(np.uint8))[:, None]
    shannon_entropy(tensor)  # warm-up
    ours, peer = [], []
    for _ in range(options.rounds):
        start = time.perf_counter()
        fast = shannon_entropy(tensor)
        ours.append(len(images) / (time.perf_counter() - start))
        start = time.perf_counter()
        slow = [skimage_entropy(image) for image in tensor[:1000, 0].numpy()]
        peer.append(1000 / (time.perf_counter() - start))
    np.testing.assert_allclose(fast[:1000].numpy(), slow, atol=1e-12)
    ratios = [mine / other for mine, other in zip(ours, peer, strict=True)]
    print(f"{torch.get_num_threads()} threads, {options.rounds} rounds")
    print(f"ours         {statistics.median(ours):9.0f} images/s")
    print(f"scikit-image {statistics.median(peer):9.0f} images/s, ours / this: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
