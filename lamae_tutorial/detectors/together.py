"""Training of detectors side by side in one pass, if they differ only in their seed."""

from collections.abc import Sequence
from typing import Any

from lamae_tutorial.data.images import ImageSet
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.training.loop import train_together
from lamae_tutorial.training.state import plain_torch, seeded


@plain_torch()
def fit_together(detectors: Sequence[Detector], sets: Sequence[tuple[ImageSet, ImageSet]]) -> None:
    """Fit detectors side by side. Each gets the result of its own `fit`, up to rounding.

    This is faster on a GPU, because one small network leaves most of the device idle; `speed/seeds_side_by_side.py`
    measures it. If the loss draws random numbers (VAE, SSVAE), they differ from those of `fit`.

    Parameters
    ----------
    detectors : sequence of Detector
        Detectors of one class that differ only in `random_state`.
    sets : sequence of (ImageSet, ImageSet)
        Training and validation images of each detector, of equal sizes.

    Raises
    ------
    ValueError
        The detectors differ in another parameter or cannot be trained side by side, or the numbers of images differ.
    """
    first = detectors[0]
    if not can_fit_together(type(first)):
        raise ValueError(f"{type(first).__name__} cannot be trained side by side: fit one detector after the other")
    if any(_alike(detector) != _alike(first) for detector in detectors):
        raise ValueError("side by side, detectors may differ only in random_state: fit these one after the other")
    data = [
        detector.prepare(training.images, training.labels, validation)
        for detector, (training, validation) in zip(detectors, sets, strict=True)
    ]
    networks = []
    for detector, part in zip(detectors, data, strict=True):
        with seeded(part.seed, detector.device):
            networks.append(detector.build_network(part.image_shape, part.num_classes))
    with seeded(data[0].seed, first.device):
        histories = train_together(
            networks,
            first.loss,
            data,
            first,
            parameter_groups=first.parameter_groups(networks[0]),
            selection_loss=first.selection_loss,
        )
    for detector, network, history, part in zip(detectors, networks, histories, data, strict=True):
        with seeded(part.seed, detector.device):
            detector.keep(network, history, part)


def can_fit_together(kind: type[Detector]) -> bool:
    """Return whether :func:`fit_together` accepts this class: `can_be_stacked` is True, and training is inherited."""
    return kind.can_be_stacked and kind.train_network is Detector.train_network and kind.fit is Detector.fit


def _alike(detector: Detector) -> tuple[type[Detector], dict[str, Any]]:
    return type(detector), {**detector.get_params(), "random_state": None}
