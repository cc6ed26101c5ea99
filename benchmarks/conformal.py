"""False alarms and power of conformal thresholds on MNIST and Fashion-MNIST, marginal and per predicted class.

Run: python benchmarks/conformal.py --data DIR [--epochs N] [--detector NAME] [--score KIND]

The detector is trained on 90% of the training images, of which a tenth chooses the epoch, and calibrated with the
rest. False alarms: the share of ID test images with a p-value of at most alpha; "worst class": of the class (the true
one) that bears most. Power: the share of OoD images that are called.
"""

import argparse

import torch

from lamae_tutorial import DETECTORS, Detector, Scenario, cross_dataset, leave_one_class_out
from lamae_tutorial.datasets import stratified_split
from lamae_tutorial.report import text_table

ALPHAS = (0.01, 0.05, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--detector", choices=[name for name in DETECTORS if DETECTORS[name].needs_labels])
    parser.add_argument("--score", help="default: the detector's own")
    parser.add_argument("--epochs", type=int, default=10)
    parser.set_defaults(detector="lamae")
    options = parser.parse_args()
    scenarios = [
        leave_one_class_out("mnist", 9, protocol="test-only", root=options.data),
        cross_dataset("fashion_mnist", ["mnist"], protocol="test-only", root=options.data),
    ]
    print(f"{options.detector}, {options.score or 'its score'}, {options.epochs} epochs, 1 seed")
    rows = []
    for scenario in scenarios:
        detector, calibration = trained(scenario, DETECTORS[options.detector](epochs=options.epochs, random_state=0))
        for per_class in (False, True):
            detector.calibrate(calibration, options.score, per_class)
            rows += lines(scenario, detector, "per class" if per_class else "marginal")
    header = ["ID", "OoD", "calibration", "alpha", "false alarms", "worst class", "power"]
    print(text_table(header, rows))


def trained(scenario: Scenario, detector: Detector) -> tuple[Detector, torch.Tensor]:
    """The detector, and the images to calibrate it with: the scenario's validation images, which it does not see."""
    train = scenario.train
    rest, part = stratified_split(train.labels, len(train), 0.1, 0)
    detector.fit(train.images[rest], train.labels[rest], train.subset(part))
    return detector, scenario.validation.images


def lines(scenario: Scenario, detector: Detector, calibration: str) -> list[list[str]]:
    (ood,) = scenario.ood.values()
    inside, outside = detector.p_values(scenario.test.images), detector.p_values(ood.images)
    labels = scenario.test.labels.numpy()
    table = []
    for alpha in ALPHAS:
        alarms = inside <= alpha
        worst = max(alarms[labels == label].mean() for label in range(scenario.num_classes))
        shares = (alarms.mean(), worst, (outside <= alpha).mean())
        table.append([scenario.name, ood.name, calibration, f"{alpha}", *(f"{100 * share:.1f}" for share in shares)])
    return table


if __name__ == "__main__":
    main()
