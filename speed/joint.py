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
from lamae_tutorial.detectors.lance import LANCE, Judge

NEAR = ("neighbours", "msp", "gen")
FAR = ("error", "error+", "error_tv")
# The signs that are joined; those left out count as not surprising.
PARTS: dict[str, tuple[str, ...]] = {
    "joint": (*NEAR, *FAR),
    "without neighbours": (*NEAR[1:], *FAR),
    "without the classifier's scores": ("neighbours", *FAR),
    "without reconstruction": NEAR,
    "without generalised entropy": ("neighbours", "msp", *FAR),
    "without largest probability": ("neighbours", "gen", *FAR),
    "without entropy": (*NEAR, "error", "error_tv"),
    "without total variation": (*NEAR, "error", "error+"),
}
# True: compared within the predicted class.
BY_CLASS = dict.fromkeys(("neighbours", "error", "error+", "error_tv"), True) | dict.fromkeys(NEAR[1:], False)


def rows(detector: LANCE, sets: dict[str, Tensor]) -> dict[str, float]:
    """Return the AUROC of each row of `PARTS` and of each score alone, in percent."""
    scores = {key: detector.scores(images) for key, images in sets.items()}
    predicted = {key: torch.from_numpy(detector.classify(images)) for key, images in sets.items()}
    judge = detector.network_.judge
    surprises: dict[str, dict[str, Tensor]] = {key: {} for key in sets}
    for kind, by_class in BY_CLASS.items():
        alone = Judge(1, detector.num_classes_)
        values = {key: torch.from_numpy(one[kind]).float()[None] for key, one in scores.items()}
        if kind == "msp":
            values = {key: value.clamp_min(1e-30).log() for key, value in values.items()}
        alone.learn(values["validation"], predicted["validation"], (by_class,))
        for key, value in values.items():
            surprises[key][kind] = alone(value, predicted[key])[0]
    found = {}
    for name, parts in PARTS.items():
        total = {key: _joined(judge, of, parts) for key, of in surprises.items()}
        found[name] = 100 * auroc(total["test"], total["ood"])
    single = {f"{kind} alone": 100 * auroc(scores["test"][kind], scores["ood"][kind]) for kind in scores["test"]}
    assert abs(found["joint"] - single["joint alone"]) < 0.01, "the rows are computed as the detector computes them"
    weights = {"weight of doubt": float(judge.doubt), "weight of error": float(judge.weight)}
    return found | single | weights


def _joined(judge: Judge, surprises: dict[str, Tensor], parts: tuple[str, ...]) -> Tensor:
    nothing = torch.zeros_like(surprises["neighbours"])
    neighbours = surprises["neighbours"] if "neighbours" in parts else nothing
    doubts = [surprises[kind] for kind in NEAR[1:] if kind in parts] or [nothing]
    errors = [surprises[kind] for kind in FAR if kind in parts] or [nothing]
    doubt = torch.stack(doubts).mean(0)  # the judge's own mean of two
    return judge.join(torch.stack([neighbours, doubt, doubt, *errors]))


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
