"""What `lamae fit` does: train a detector on your own images and calibrate it with others."""

from lamae_tutorial.data.images import ImageSet, stratified_split
from lamae_tutorial.detectors.base import Detector

CALIBRATION_SHARE = 0.1  # of all images; `Detector.fit` uses a tenth of the others to select the epoch


def fit_images(
    detector: Detector, images: ImageSet, *, kind: str | None = None, per_class: bool = False, random_state: int = 0
) -> None:
    """Train a detector and calibrate it with 10% of the images; it is not trained on these.

    `fit` uses a tenth of the other images to select the best epoch, so the detector is trained on 81% of the images.

    Parameters
    ----------
    detector : Detector
        Fitted in place.
    images : ImageSet
    kind, per_class
        See :meth:`lamae_tutorial.Detector.calibrate`.
    random_state : int
        Seed of the split.

    Raises
    ------
    ValueError
        The detector does not have this score, or has no classifier. It is not trained.
    KeyboardInterrupt
        Ctrl-C. If an epoch is finished, the detector is still fitted and calibrated, see
        :meth:`lamae_tutorial.Detector.fit`.
    """
    kind = detector.check_kind(kind)
    if per_class and not detector.classifies:
        raise ValueError(f"{type(detector).__name__} has no classifier, so it cannot be calibrated for each class")
    rest, part = stratified_split(images.labels, len(images), CALIBRATION_SHARE, random_state)
    training, calibration = images.subset(rest), images.subset(part)
    try:
        detector.fit(training.images, training.labels)
    finally:
        if hasattr(detector, "network_"):
            if detector.num_classes_:
                detector.class_names_ = images.classes
            detector.calibrate(calibration.images, kind, per_class)
