"""Choose the pseudo-outliers for the difference-image detector with in-distribution images alone.

Run: python speed/pseudo_outliers.py --id SET --data DIR [--images N] [--epochs N] [--seeds N]

One strategy is left out: a detector trained with one strategy must separate unseen in-distribution images from the
pseudo-outliers of each *other* strategy, which stand for unknown outliers. "mixture" is trained anew for each column,
with all strategies except that one. The numbers are AUROCs in percent. No OoD set is read.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from lamae_tutorial import DifferenceDetector, auroc, bring_to_shape, load_images
from lamae_tutorial.benchmark.tables import text_table
from lamae_tutorial.detectors.pseudo_outliers import MIXTURE, STRATEGIES, make_outliers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="mnist", metavar="SET")
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=4000, help="to train on; testing takes a quarter as many")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    images = load_images(options.id, "train", options.data).images
    print(f"{options.id}, {options.images} images, {options.epochs} epochs, {options.seeds} seeds")
    names = list(STRATEGIES)
    tables = []
    for seed in range(options.seeds):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        chosen = bring_to_shape(images[order[: options.images * 5 // 4]], (3, 32, 32))
        train, test = chosen[: options.images], chosen[options.images :]

        def separated(strategies: list[str], held_back: list[str]) -> list[float]:
            detector = DifferenceDetector(pseudo_outliers=strategies, epochs=options.epochs, random_state=seed)  # noqa: B023
            return auroc_of_each(detector.fit(train), test, held_back, seed)  # noqa: B023

        rows = [separated([name], names) for name in names]
        rows.append([separated([other for other in names if other != name], [name])[0] for name in names])
        tables.append(rows)
    table = 100 * np.mean(tables, axis=0)
    np.fill_diagonal(table, np.nan)  # strategies seen in training
    lines = [
        [name, *("-" if np.isnan(value) else f"{value:.1f}" for value in row), f"{np.nanmean(row):.1f}"]
        for name, row in zip([*names, MIXTURE], table, strict=True)
    ]
    print(text_table(["trained with", *names, "mean"], lines))


def auroc_of_each(detector: DifferenceDetector, test: Tensor, strategies: list[str], seed: int) -> list[float]:
    """Return the AUROC of unseen in-distribution images against their pseudo-outliers, for each strategy."""
    inside = detector.score(test)
    generator = torch.Generator().manual_seed(seed)
    return [auroc(inside, detector.score(make_outliers(name, test.float() / 255, generator))) for name in strategies]


if __name__ == "__main__":
    main()
