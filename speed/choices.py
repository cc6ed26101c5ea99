"""Effect of the choices that the papers leave open: AUROC on MNIST without one digit, or with CIFAR-10 as ID.

Run: python speed/choices.py CHOICE --data DIR [--held-out K] [--epochs N] [--seeds N] [--only NAME ...] [--out F]
with CHOICE one of lamae, vae (MNIST), lamae-cifar10, godin-cifar10.

Each line changes one choice of the default. The OoD images only *describe* the choices; DESIGN.md says how they were
made.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lamae_tutorial import cross_dataset, leave_one_class_out
from lamae_tutorial.benchmark.cells import run_cell
from lamae_tutorial.benchmark.records import cell_record
from lamae_tutorial.benchmark.settings import new_detector

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
        "bf16": ({"precision": "bf16"}, None),
    },
    "vae": {f"log variance >= {lowest}": ({"min_log_variance": lowest}, None) for lowest in (-6.0, -3.0, -1.0, 0.0)},
    "lamae-cifar10": {
        "default": ({}, None),
        "classifier with 128 hidden": ({"classifier_hidden": (128,)}, None),
        "classifier with 2 x 256 hidden": ({"classifier_hidden": (256, 256)}, None),
        "twice the channels": ({"channels": (128, 256, 256, 512)}, None),
        "latent 128": ({"latent_dim": 128}, None),
        "no skip": ({"skip_dim": 0}, None),
    },
    "godin-cifar10": {
        "LAMAE's convolutions": ({"backbone": "conv", "channels": (64, 128, 128, 256), "latent_dim": 64}, None),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("choice", choices=CHOICES, help="a detector, on MNIST or on CIFAR-10")
    parser.add_argument("--data")
    parser.add_argument("--held-out", type=int, default=1, help="digit, for MNIST")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write records as JSON, like those of `lamae run`")
    options = parser.parse_args()
    records = []
    name_of_detector, _, colour = options.choice.partition("-")
    where = "CIFAR-10" if colour else f"MNIST without {options.held_out}"
    print(f"{where}, {options.epochs} epochs, {options.seeds} seeds, {torch.get_num_threads()} threads")
    for name, (settings, change) in CHOICES[options.choice].items():
        if options.only and name not in options.only:
            continue
        values: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            if colour:
                others = ["fashion_mnist", "celeba", "constant", "noise"]
                scenario = cross_dataset("cifar10", others, random_state=seed, root=options.data)
            else:
                scenario = leave_one_class_out("mnist", options.held_out, random_state=seed, root=options.data)
            run = {"epochs": options.epochs, "random_state": seed}
            detector = new_detector(name_of_detector, scenario.train.name, **run, **settings)
            if change is not None:
                detector.build_network = changed(detector.build_network, change)
            cell = run_cell(scenario, detector, seed)
            records.append({"choice": name, **cell_record(cell)})
            if options.out is not None:
                options.out.write_text(json.dumps(records, indent=1) + "\n")
            for result in cell.results:
                values.setdefault(f"{result.ood} {result.title}", []).append(100 * result.auroc)
            if cell.accuracy is not None:
                values.setdefault("accuracy", []).append(100 * cell.accuracy)
        print(f"{name:30}", ", ".join(f"{title} {np.mean(all_):.1f}" for title, all_ in values.items()), flush=True)


def changed(build: Callable[..., nn.Module], change: Change) -> Callable[..., nn.Module]:
    def build_and_change(*arguments: Any) -> nn.Module:
        network = build(*arguments)
        change(network)
        return network

    return build_and_change


if __name__ == "__main__":
    main()
