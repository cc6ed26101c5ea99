"""The numbers that the papers report, typed out, and what reads them.

`lamae.csv`: Tables 1 to 3 of Zhang et al. 2021, AUROC in percent, mean and standard deviation of 10 repeats. Its VAE(e)
and VAE(p) are the scores "error" and "probability" here, its LAMAE+ is LAMAE's score "error+". It took VAE(p) and
SSVAE(p) over from the papers that proposed them, with their protocols.
`lamae_table3_complexity.csv`: the complexity column of its Table 3, in bits.
`difference.csv`: Tables 1 to 3 of Kim and Kim, AUC of one run in [0, 1].
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import nan

# Pearson's, between image entropy and reconstruction error (LAMAE paper, Section 3.2.1).
CORRELATION = 0.7952


@dataclass(frozen=True)
class Reported:
    """One cell of a paper's table.

    Attributes
    ----------
    auroc_mean, auroc_std : float
        In [0, 1], over 10 repeats; the deviation is not-a-number where the paper gives none.
    table : int
        Number of the table in its paper.
    """

    auroc_mean: float
    auroc_std: float
    table: int


def reported(id_name: str, ood_name: str, detector: str, score: str, variant: str = "") -> Reported | None:
    """What the papers report for this pair of sets, or None.

    Parameters
    ----------
    id_name, ood_name : str
        As in a scenario: "mnist" and "mnist-1", "cifar10" and "celeba".
    detector, score : str
        As in a result: "LAMAE" and "error+". Where two tables give a number, the later one counts.
    variant : str
        What is changed in the detector, see :func:`~lamae_tutorial.benchmark.settings.variant`. The difference-image
        paper's ablation has numbers for two.
    """
    return _tables().get((id_name, ood_name, detector, score, variant))


def reported_complexity() -> dict[str, float]:
    """Mean entropy of each held-out MNIST digit in bits, by the name of the OoD set (LAMAE paper, Table 3)."""
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
