"""AUROC of constant images by grey level, with Fashion-MNIST as ID and reconstruction errors as scores.

Run: python speed/constant_levels.py --data DIR [--epochs N] [--detectors NAME ...]

The LAMAE paper uses constant images as an OoD set and does not say how their levels are drawn. Each column is a band of
levels, compared with the same ID test images. The last two columns are all levels, and all but the darkest band.
"""

import argparse

import torch

from lamae_tutorial import DETECTORS, auroc, cross_dataset
from lamae_tutorial.benchmark.tables import text_table

BAND = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--detectors", nargs="+", default=["autoencoder", "vae", "ssvae", "memae"])
    options = parser.parse_args()
    scenario = cross_dataset("fashion_mnist", ["constant"], root=options.data)
    levels = torch.arange(256, dtype=torch.uint8)
    images = levels[:, None, None, None].expand(-1, *scenario.test.images.shape[1:])  # (256, 1, 28, 28)
    bands = {f"{low}-{low + BAND - 1}": slice(low, low + BAND) for low in range(0, len(levels), BAND)}
    bands |= {"all": slice(None), f"{BAND}-255": slice(BAND, None)}
    lines = []
    for name in options.detectors:
        detector = DETECTORS[name](epochs=options.epochs, random_state=0)
        detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
        inside, outside = detector.score(scenario.test.images), detector.score(images)
        lines.append([name, *(f"{100 * auroc(inside, outside[band]):.1f}" for band in bands.values())])
        print(text_table(["detector", *bands], lines), flush=True)


if __name__ == "__main__":
    main()
