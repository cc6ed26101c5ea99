"""What each part of LANCE's joined score is worth: AUROC with parts left out, or with another normaliser.

Run: python speed/joint.py --id SET --held-out CLASS ... [--seeds N] [--epochs N] [--data DIR] [--out FILE]

Each class and seed is trained once; all rows are computed from its scores. The weights are those that
`fit` chose without OoD images. Training without augmentation or rotations: `speed/choices.py lance`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lamae_tutorial import auroc, leave_one_class_out
from lamae_tutorial.benchmark.provenance import provenance
from lamae_tutorial.benchmark.settings import new_detector
from lamae_tutorial.detectors.lance import LANCE, RARE, Judge

# Surprises that are added; "|" takes the higher one.
PARTS = {
    "joint": ["neighbours", "msp", "error|error_tv"],
    "without neighbours": ["msp", "error|error_tv"],
    "without classifier": ["neighbours", "error|error_tv"],
    "without reconstruction": ["neighbours", "msp"],
    "entropy instead of total variation": ["neighbours", "msp", "error|error+"],
    "total variation alone": ["neighbours", "msp", "error_tv"],
    "largest logit instead of probability": ["neighbours", "max_logit", "error|error_tv"],
}
# True: compared within the predicted class.
BY_CLASS = {"neighbours": True, "msp": False, "max_logit": False, "error": True, "error+": True, "error_tv": True}


def rows(detector: LANCE, sets: dict[str, Tensor]) -> dict[str, float]:
    """Return the AUROC of each row of `PARTS` and of each score alone, in percent."""
    scores = {key: detector.scores(images) for key, images in sets.items()}
    predicted = {key: torch.from_numpy(detector.classify(images)) for key, images in sets.items()}
    judge = detector.network_.judge
    weights = {"msp": float(judge.doubt), "max_logit": float(judge.doubt), "error": float(judge.weight)}
    surprises: dict[str, dict[str, Tensor]] = {key: {} for key in sets}
    for kind, by_class in BY_CLASS.items():
        judge = Judge(1, detector.num_classes_)
        values = {key: torch.from_numpy(one[kind]).float()[None] for key, one in scores.items()}
        if kind == "msp":
            values = {key: value.clamp_min(1e-30).log() for key, value in values.items()}
        judge.learn(values["validation"], predicted["validation"], (by_class,))
        for key, value in values.items():
            surprises[key][kind] = judge(value, predicted[key])[0]
    found = {}
    for name, parts in PARTS.items():
        total = {
            key: torch.stack([_surprise(of, part, weights) for part in parts]).sum(0) for key, of in surprises.items()
        }
        found[name] = 100 * auroc(total["test"], total["ood"])
    alone = {f"{kind} alone": 100 * auroc(scores["test"][kind], scores["ood"][kind]) for kind in scores["test"]}
    assert abs(found["joint"] - alone["joint alone"]) < 0.01, "the rows are computed as the detector computes them"
    return found | alone | {f"weight of {kind}": weights[kind] for kind in ("msp", "error")}


def _surprise(surprises: dict[str, Tensor], part: str, weights: dict[str, float]) -> Tensor:
    kinds = part.split("|")
    highest = torch.stack([surprises[kind] for kind in kinds]).amax(0)
    if kinds[0].startswith("error"):
        return weights["error"] * (highest - RARE).clamp_min(0)
    return weights.get(part, 1) * highest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="mnist")
    parser.add_argument("--held-out", nargs="+", required=True, metavar="CLASS")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    results = []
    for held_out in options.held_out:
        for seed in range(options.seeds):
            scenario = leave_one_class_out(options.id, held_out, random_state=seed, root=options.data)
            detector = new_detector("lance", options.id, epochs=options.epochs, random_state=seed)
            detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
            (ood,) = scenario.ood.values()
            sets = {"validation": scenario.validation.images, "test": scenario.test.images, "ood": ood.images}
            found = rows(detector, sets)
            results.append({"scenario": scenario.name, "seed": seed, "epochs": options.epochs, "auroc": found})
            print(scenario.name, "seed", seed, {name: round(value, 2) for name, value in found.items()}, flush=True)
            if options.out is not None:
                record = {"results": results, "provenance": provenance(detector.network_device())}
                options.out.write_text(json.dumps(record, indent=1) + "\n")
    for name in results[0]["auroc"]:
        print(f"{name:40}{np.mean([result['auroc'][name] for result in results]):8.2f}")


if __name__ == "__main__":
    main()
