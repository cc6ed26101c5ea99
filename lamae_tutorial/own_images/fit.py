"""A detector for images of one's own: trained and calibrated with different images, which is what `lamae fit` does."""

from lamae_tutorial.data.images import ImageSet, stratified_split
from lamae_tutorial.detectors.base import Detector

CALIBRATION_SHARE = 0.1  # of all images; a tenth of the others chooses the epoch, see `Detector.fit`


def fit_images(
    detector: Detector, images: ImageSet, *, kind: str | None = None, per_class: bool = False, random_state: int = 0
) -> None:
    """Train a detector and calibrate it with 10% of the images, on which it is not trained.

    Of the other 90%, `fit` holds back a tenth to choose the epoch, so that 81% are trained on.

    Parameters
    ----------
    detector : Detector
        Fitted in place.
    images : ImageSet
    kind, per_class
        See :meth:`lamae_tutorial.Detector.calibrate`.
    random_state : int
        Seed of the division.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C. The detector is fitted and calibrated all the same if an epoch was finished, see
        :meth:`lamae_tutorial.Detector.fit`.
    """
    kind = detector.check_kind(kind)
    rest, part = stratified_split(images.labels, len(images), CALIBRATION_SHARE, random_state)
    training, calibration = images.subset(rest), images.subset(part)
    try:
        detector.fit(training.images, training.labels)
    finally:
        if hasattr(detector, "network_"):
            if detector.num_classes_:
                detector.class_names_ = images.classes
            detector.calibrate(calibration.images, kind, per_class)
