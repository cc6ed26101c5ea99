"""False alarms and power of conformal thresholds on MNIST and Fashion-MNIST, marginal and per predicted class.

Run: python speed/conformal.py --data DIR [--epochs N] [--seeds N] [--detector NAME] [--score KIND]

The detector is trained on 90% of the training images; the other 10% select the best epoch. It is calibrated with the
scenario's validation images. "False alarms" is the share of ID test images with a p-value of at most alpha; "worst
class" is this share for the (true) class with the most false alarms. "Power" is the share of OoD images called OoD.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from lamae_tutorial import DETECTORS, Detector, Scenario, cross_dataset, leave_one_class_out
from lamae_tutorial.benchmark.tables import text_table
from lamae_tutorial.data.images import stratified_split

ALPHAS = (0.01, 0.05, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--detector", choices=[name for name in DETECTORS if DETECTORS[name].needs_labels])
    parser.add_argument("--score", help="default: the detector's own")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.set_defaults(detector="lamae")
    options = parser.parse_args()
    print(f"{options.detector}, {options.score or 'its score'}, {options.epochs} epochs, {options.seeds} seeds")
    shares: dict[tuple[str, str, str, float], list[tuple[float, ...]]] = {}
    for seed in range(options.seeds):
        for scenario in (
            leave_one_class_out("mnist", 9, protocol="test-only", random_state=seed, root=options.data),
            cross_dataset("fashion_mnist", ["mnist"], protocol="test-only", random_state=seed, root=options.data),
        ):
            detector = DETECTORS[options.detector](epochs=options.epochs, random_state=seed)
            calibration = fit(scenario, detector)
            for per_class in (False, True):
                detector.calibrate(calibration, options.score, per_class)
                for (ood, alpha), values in measured(scenario, detector).items():
                    key = (scenario.name, ood, "per class" if per_class else "marginal", alpha)
                    shares.setdefault(key, []).append(values)
    header = ["ID", "OoD", "calibration", "alpha", "false alarms", "worst class", "power"]
    rows = [
        [*key[:3], f"{key[3]}", *(mean_and_deviation(column) for column in zip(*values, strict=True))]
        for key, values in shares.items()
    ]
    print(text_table(header, rows))


def fit(scenario: Scenario, detector: Detector) -> torch.Tensor:
    """Train the detector. Return the scenario's validation images for calibration; training does not see them."""
    train = scenario.train
    rest, part = stratified_split(train.labels, len(train), 0.1, detector.random_state)
    detector.fit(train.images[rest], train.labels[rest], train.subset(part))
    return scenario.validation.images


def measured(scenario: Scenario, detector: Detector) -> dict[tuple[str, float], tuple[float, ...]]:
    """Return by OoD set and alpha: false alarms of all ID images, false alarms of the worst class, and power."""
    (ood,) = scenario.ood.values()
    inside, outside = detector.p_values(scenario.test.images), detector.p_values(ood.images)
    labels = scenario.test.labels.numpy()
    shares = {}
    for alpha in ALPHAS:
        alarms = inside <= alpha
        worst = max(alarms[labels == label].mean() for label in range(scenario.num_classes))
        shares[ood.name, alpha] = (alarms.mean(), worst, (outside <= alpha).mean())
    return shares


def mean_and_deviation(shares: Sequence[float]) -> str:
    """Format the mean in percent, and the standard deviation if there are several shares."""
    mean = f"{100 * np.mean(shares):.1f}"
    return mean if len(shares) == 1 else f"{mean} ± {100 * np.std(shares, ddof=1):.1f}"


if __name__ == "__main__":
    main()
