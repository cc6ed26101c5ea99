"""The numbers that the papers report, copied from their tables.

`lamae.csv`: Tables 1 to 3 of Zhang et al. 2021, AUROC in percent, mean and standard deviation of 10 repeats. The
paper's VAE(e) and VAE(p) are the scores "error" and "probability" here, and its LAMAE+ is LAMAE's score "error+". The
paper quotes VAE(p) and SSVAE(p) from the papers that proposed them, with their protocols.
`lamae_table3_complexity.csv`: the complexity column of that paper's Table 3, in bits.
`difference.csv`: Tables 1 to 3 of Kim and Kim, AUC of one run in [0, 1].
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import nan

# Pearson's correlation of image entropy and reconstruction error (LAMAE paper, Section 3.2.1).
CORRELATION = 0.7952


@dataclass(frozen=True)
class Reported:
    """A number from a paper's table.

    Attributes
    ----------
    auroc_mean, auroc_std : float
        In [0, 1], over 10 repeats; or the AUROC of one run, with not-a-number as its deviation.
    table : int
        Number of the table in its paper.
    """

    auroc_mean: float
    auroc_std: float
    table: int


def reported(id_name: str, ood_name: str, detector: str, score: str, variant: str = "") -> Reported | None:
    """Return the number that the papers report for this pair of sets and this score, or None.

    Parameters
    ----------
    id_name, ood_name : str
        As in a scenario: "mnist" and "mnist-1", "cifar10" and "celeba".
    detector, score : str
        As in a result: "LAMAE" and "error+". If two tables give a number, the later table counts.
    variant : str
        Changed settings of the detector, see :func:`~lamae_tutorial.benchmark.settings.variant`. The difference-image
        paper's ablation reports two variants.
    """
    return _tables().get((id_name, ood_name, detector, score, variant))


def reported_complexity() -> dict[str, float]:
    """Return the mean entropy of each held-out MNIST digit in bits, by name of the OoD set (LAMAE paper, Table 3)."""
    return {row["ood"]: float(row["complexity"]) for row in _read("lamae_table3_complexity.csv")}


@cache
def _tables() -> dict[tuple[str, str, str, str, str], Reported]:
    lamae = {
        (row["id"], row["ood"], row["detector"], row["score"], ""): Reported(
            round(float(row["auroc_mean"]) / 100, 5), round(float(row["auroc_std"]) / 100, 5), int(row["table"])
        )
        for row in _read("lamae.csv")
    }
    difference = {
        (row["id"], row["ood"], row["detector"], row["score"], row["variant"]): Reported(
            float(row["auc"]), nan, int(row["table"])
        )
        for row in _read("difference.csv")
    }
    return {**lamae, **difference}


def _read(name: str) -> list[dict[str, str]]:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
