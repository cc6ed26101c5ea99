"""What the choices that the LAMAE paper leaves open are worth: AUROC on MNIST without "1".

Run: python benchmarks/lamae_choices.py --data DIR [--epochs N] [--seeds N] [--only NAME ...]

Each line is one choice changed against the default. The held-out images are looked at to *describe* the choices; the
defaults follow the paper's text (see DESIGN.md), not this table.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from lamae_tutorial import LAMAE, leave_one_class_out
from lamae_tutorial.benchmark import evaluate


def slots_from(low: float, high: float) -> Callable[[nn.Module], None]:
    def change(network: nn.Module) -> None:
        nn.init.uniform_(network.memory.slots, low, high)

    return change


def raw_latent(network: nn.Module) -> None:
    network.encoder.layers[-1] = nn.Identity()


CHOICES: dict[str, tuple[dict[str, object], Callable[[nn.Module], None] | None]] = {
    "default": ({}, None),
    "latent not normalised": ({}, raw_latent),
    "slots from U(-0.2, 0.2)": ({}, slots_from(-0.2, 0.2)),
    "slots from U(-5, 5)": ({}, slots_from(-5, 5)),
    "mean over pixels": ({"reduction": "mean"}, None),
    "notebook": ({"variant": "notebook"}, None),
}


class Changed(LAMAE):
    """LAMAE whose network is changed before training."""

    change: Callable[[nn.Module], None] | None = None

    def build_network(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        network = super().build_network(image_shape, num_classes)
        if self.change is not None:
            self.change(network)
        return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CHOICES, default=list(CHOICES))
    options = parser.parse_args()
    print(
        f"{options.epochs} epochs, {options.seeds} seeds, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'choice':24} {'LAMAE':>6} {'LAMAE+':>6} {'accuracy':>8}")
    for name in options.only:
        settings, change = CHOICES[name]
        rows = []
        for seed in range(options.seeds):
            scenario = leave_one_class_out("mnist", 1, random_state=seed, root=options.data)
            detector = Changed(epochs=options.epochs, random_state=seed, **settings)
            detector.change = change
            detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
            error, plus = evaluate(detector, scenario, seed).results[:2]
            accuracy = (detector.classify(scenario.test.images) == scenario.test.labels.numpy()).mean()
            rows.append((100 * error.auroc, 100 * plus.auroc, 100 * accuracy))
        error, plus, accuracy = np.mean(rows, axis=0)
        print(f"{name:24} {error:6.1f} {plus:6.1f} {accuracy:8.1f}", flush=True)


if __name__ == "__main__":
    main()
