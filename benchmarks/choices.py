"""What the choices that the papers leave open are worth: AUROC on MNIST with one digit held out.

Run: python benchmarks/choices.py lamae|vae --data DIR [--held-out K] [--epochs N] [--seeds N] [--only NAME ...]

Each line is one choice changed against the default. The held-out images are looked at to *describe* the choices; what
is made of them stands in DESIGN.md.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from lamae_tutorial import DETECTORS, leave_one_class_out
from lamae_tutorial.benchmark import evaluate

Change = Callable[[nn.Module], None]


def slots_from(low: float, high: float) -> Change:
    def change(network: nn.Module) -> None:
        nn.init.uniform_(network.memory.slots, low, high)

    return change


def raw_latent(network: nn.Module) -> None:
    network.encoder.layers[-1] = nn.Identity()


CHOICES: dict[str, dict[str, tuple[dict[str, Any], Change | None]]] = {
    "lamae": {
        "default": ({}, None),
        "latent not normalised": ({}, raw_latent),
        "slots from U(-0.2, 0.2)": ({}, slots_from(-0.2, 0.2)),
        "slots from U(-5, 5)": ({}, slots_from(-5, 5)),
        "mean over pixels": ({"reduction": "mean"}, None),
        "notebook": ({"variant": "notebook"}, None),
    },
    "vae": {f"log variance >= {lowest}": ({"min_log_variance": lowest}, None) for lowest in (-6.0, -3.0, -1.0, 0.0)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", choices=CHOICES)
    parser.add_argument("--data")
    parser.add_argument("--held-out", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"without {options.held_out}, {options.epochs} epochs, {options.seeds} seeds, {threads} threads")
    for name, (settings, change) in CHOICES[options.detector].items():
        if options.only and name not in options.only:
            continue
        aurocs: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            scenario = leave_one_class_out("mnist", options.held_out, random_state=seed, root=options.data)
            detector = DETECTORS[options.detector](epochs=options.epochs, random_state=seed, **settings)
            if change is not None:
                detector.build_network = changed(detector.build_network, change)
            detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
            for result in evaluate(detector, scenario, seed).results:
                aurocs.setdefault(result.detector, []).append(100 * result.auroc)
        print(f"{name:24}", ", ".join(f"{title} {np.mean(values):.1f}" for title, values in aurocs.items()), flush=True)


def changed(build: Callable[..., nn.Module], change: Change) -> Callable[..., nn.Module]:
    def build_and_change(*arguments: Any) -> nn.Module:
        network = build(*arguments)
        change(network)
        return network

    return build_and_change


if __name__ == "__main__":
    main()
