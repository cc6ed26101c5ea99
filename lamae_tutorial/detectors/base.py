"""The contract of a detector.

**A higher score means more out-of-distribution**, for every score of every detector. A detector is a scikit-learn
estimator: its constructor stores parameters only, `fit` sets the names that end in an underscore, `random_state` is
read in `fit`. A subclass writes three hooks (`build_network`, `loss`, `score_batch`); everything else is here and
in `training.py`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lamae_tutorial.conformal import Calibration, check_alpha
from lamae_tutorial.data.images import Images, ImageSet, ImageShape, check_images, stratified_split
from lamae_tutorial.training.loop import Data, History, Precision, Settings, Stopped, as_float, resolve_device, train

Labels = Tensor | NDArray[np.generic] | list[int]
Self = TypeVar("Self", bound="Detector")
Result = TypeVar("Result")
Run = Callable[..., History]

MISSING = -1  # an image without a label
ALPHA = 0.05  # share of ID images that `predict` may reject, unless told otherwise
_SCORE_BATCH = 1024


@dataclass(frozen=True)
class Task:
    """A detector's training, with everything that was given checked.

    Attributes
    ----------
    data : lamae_tutorial.training.loop.Data
    settings : lamae_tutorial.training.loop.Settings
    image_shape : (int, int, int)
    num_classes : int
    """

    data: Data
    settings: Settings
    image_shape: ImageShape
    num_classes: int

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """PyTorch's global generators start from the task's seed, and are as before afterwards."""
        device = self.settings.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.data.seed)
            yield


@dataclass(kw_only=True, eq=False, repr=False)
class Detector(OutlierMixin, BaseEstimator, ABC):
    """Base class of all detectors: their common parameters and everything that is done alike.

    Parameters
    ----------
    epochs : int
        Passes over the training images, at most.
    batch_size : int
        Images a step.
    learning_rate : float
        Of Adam.
    patience : int
        Training stops after so many epochs without a lower loss on the validation images.
    random_state : int or None
        Seed of everything random in `fit`: split, initial weights, order of images. None draws a new one.
    precision : {"float32", "tf32", "bf16"}
        Of the arithmetic in training, see :func:`lamae_tutorial.training.loop.arithmetic`. Scores are
        computed as PyTorch is set.
    device : str
        "auto" (a CUDA device if there is one, else the CPU) or a PyTorch device name.
    verbose : bool
        Show a progress bar, if the output is a terminal.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, in evaluation mode.
    history_ : list of dict
        Losses of each epoch, see :func:`lamae_tutorial.training.loop.train`; with a key "stage" where
        there are several.
    image_shape_ : (int, int, int)
        Channels, height and width of the images.
    num_classes_ : int
        S, the number of classes; 0 where no labels are used.
    class_names_ : tuple of str
        Names of the S classes: "0" to "S-1", unless they are set.
    seed_ : int
        The seed that was used.
    calibration_ : lamae_tutorial.conformal.Calibration
        Scores of in-distribution images, which p-values compare with: of the validation images after `fit`, of one's
        own after `calibrate`.
    calibration_kind_ : str
        The score that p-values are made of.
    """

    title: ClassVar[str]  # in tables, as the papers call it
    needs_labels: ClassVar[bool] = False
    labels_may_be_missing: ClassVar[bool] = False
    score_kinds: ClassVar[tuple[str, ...]]
    stackable: ClassVar[bool] = True  # can be trained side by side, see `together.py`

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 20
    random_state: int | None = None
    precision: Precision = "float32"
    device: str = "auto"
    verbose: bool = True

    @abstractmethod
    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """A new network for images of this shape, with weights drawn from PyTorch's global generator."""

    @abstractmethod
    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean loss of a batch: images float (B, C, H, W) in [0, 1], labels int64 (B,) or None."""

    @abstractmethod
    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """All named scores of a batch from one forward pass, float (B,), higher = more out-of-distribution."""

    def selection_loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """What the best epoch is chosen by on the validation images: the loss."""
        return self.loss(network, images, labels)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """What Adam gets: one group of all parameters."""
        return [{"params": list(network.parameters())}]

    def train_network(self, network: nn.Module, run: Run) -> History:
        """Train in place and return the history: one stage by default.

        Parameters
        ----------
        network : torch.nn.Module
        run : callable (network, parameter_groups, loss, *, selection_loss, milestones)
            :func:`lamae_tutorial.training.loop.train` with the images and the detector's settings filled in. A detector
            of several stages calls it once for each, with the part of the network that is trained.
        """
        return run(network, self.parameter_groups(network), self.loss, selection_loss=self.selection_loss)

    def finish(self, network: nn.Module, validation_images: Tensor) -> None:
        """What is set in the trained network on ID validation images, float (N, C, H, W): nothing."""

    def fit(
        self: Self,
        images: Images,
        labels: Labels | None = None,
        validation: ImageSet | tuple[Images, Labels | None] | None = None,
    ) -> Self:
        """Train on in-distribution images.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        labels : int (N,), optional
            Classes 0..S-1, each with at least one image; needed by the detectors that use them. -1 is a missing label,
            for those that allow it.
        validation : ImageSet or pair of images and labels, optional
            In-distribution images that choose the best epoch. By default 10% of `images`, which are then
            not trained on.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Images or labels of another form, or labels missing.
        KeyboardInterrupt
            Ctrl-C. If an epoch was finished (in the last stage, where there are several), the detector is fitted all
            the same, with the best weights so far, and may be used and saved.
        """
        task = self.prepare(images, labels, validation)
        stopped = None
        with task.seeded():
            network = self.build_network(task.image_shape, task.num_classes)
            try:
                history = self.train_network(network, partial(train, data=task.data, settings=task.settings))
            except Stopped as stop:
                (history,), stopped = stop.histories, stop
            self.keep(network, history, task)
        if stopped is not None:
            raise stopped
        return self

    def prepare(
        self, images: Images, labels: Labels | None, validation: ImageSet | tuple[Images, Labels | None] | None
    ) -> "Task":
        """What `fit` gets, checked and split, as :class:`Task`. Parameters and errors are those of `fit`."""
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1; got {value!r}")
        tensor = check_images(images)
        if len(tensor) < 4:
            raise ValueError(f"training needs at least 4 images; got {len(tensor)}")
        targets = self._check_labels(labels, len(tensor))
        num_classes = 0 if targets is None else _count_classes(targets)
        channels, height, width = tensor.shape[1:]
        image_shape = (channels, height, width)
        drawn = int(np.random.SeedSequence().generate_state(1)[0])
        seed = drawn if self.random_state is None else self.random_state
        if validation is None:
            rest, part = stratified_split(targets, len(tensor), 0.1, seed)
            held_back = (tensor[part], None if targets is None else targets[part])
            tensor, targets = tensor[rest], None if targets is None else targets[rest]
        else:
            pair = (validation.images, validation.labels) if isinstance(validation, ImageSet) else validation
            held_back_images = check_images(pair[0], image_shape)
            held_back = (held_back_images, self._check_labels(pair[1], len(held_back_images), num_classes))
        settings = Settings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            precision=self.precision,
            device=resolve_device(self.device),
            description=type(self).__name__,
            verbose=self.verbose,
        )
        return Task(Data(tensor, targets, *held_back, seed), settings, image_shape, num_classes)

    def keep(self, network: nn.Module, history: History, task: "Task") -> None:
        """Become fitted: finish the trained network, set all that ends in an underscore, and calibrate."""
        held_back = task.data.validation_images
        with torch.no_grad():
            self.finish(network, as_float(held_back.to(task.settings.device)))
        self.network_ = network.eval()
        self.history_ = history
        self.image_shape_ = task.image_shape
        self.num_classes_ = task.num_classes
        self.class_names_ = tuple(str(label) for label in range(task.num_classes))
        self.seed_ = task.data.seed
        self.calibrate(held_back)

    def scores(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """All named scores.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
            Of the shape the detector was fitted on.

        Returns
        -------
        dict of str to float64 array (N,)
            The keys are `score_kinds`. Higher = more out-of-distribution.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            Images of another shape, type or range.
        """
        parts = self.batched(images, lambda batch: self.score_batch(self.network_, batch))
        return {kind: torch.cat([part[kind] for part in parts]).double().cpu().numpy() for kind in self.score_kinds}

    def score(self, images: Images, kind: str | None = None) -> NDArray[np.float64]:
        """One score per image, **higher = more out-of-distribution**.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        kind : str, optional
            One of `score_kinds`; the first by default.

        Returns
        -------
        float64 array (N,)
        """
        kind = self.score_kinds[0] if kind is None else kind
        if kind not in self.score_kinds:
            raise ValueError(f"{type(self).__name__} has the scores {', '.join(self.score_kinds)}; got {kind!r}")
        return self.scores(images)[kind]

    def score_samples(self, images: Images) -> NDArray[np.float64]:
        """Minus the default score, (N,): scikit-learn's direction, lower = more out-of-distribution."""
        return -self.score(images)

    def calibrate(self: Self, images: Images, kind: str | None = None, per_class: bool = False) -> Self:
        """Set what p-values compare with; see :mod:`lamae_tutorial.conformal`.

        `fit` does so with the validation images. As they have chosen the best epoch, the guarantee holds for them only
        nearly: calibrate with images that `fit` has not seen where it matters.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
            In-distribution images on which the detector was not trained, e.g. 1,000.
        kind : str, optional
            The score to judge by, see :meth:`score`; the default score by default.
        per_class : bool
            Compare each image with those of the same *predicted* class alone, so that no class bears more than its
            share of false alarms. For detectors with a classifier.

        Returns
        -------
        self
        """
        kind = self.score_kinds[0] if kind is None else kind
        self.calibration_ = Calibration(self.score(images, kind), self.groups(images) if per_class else None)
        self.calibration_kind_ = kind
        return self

    def groups(self, images: Images) -> NDArray[np.int64]:
        """The group in which each image is calibrated per class, (N,)."""
        raise ValueError(f"{type(self).__name__} has no classifier, so that it cannot be calibrated per class")

    def p_values(self, images: Images) -> NDArray[np.float64]:
        """Conformal p-values: float64 (N,) in (0, 1], **small = out-of-distribution**.

        The probability that an in-distribution image gets a p-value of at most alpha is at most alpha.
        """
        check_is_fitted(self, "calibration_")
        groups = None if self.calibration_.groups is None else self.groups(images)
        return self.calibration_.p_values(self.score(images, self.calibration_kind_), groups)

    def predict(self, images: Images, alpha: float = ALPHA) -> NDArray[np.int64]:
        """+1 for images accepted as in-distribution, -1 for outliers, whose p-value is at most alpha: int64 (N,).

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        alpha : float
            Share of in-distribution images that may be rejected, in (0, 1).

        Raises
        ------
        ValueError
            There are too few calibration images for this alpha: no p-value can be as low.
        """
        p_values = self.p_values(images)
        self.check_alpha(alpha)
        return np.where(p_values > alpha, 1, -1).astype(np.int64)

    def decision_function(self, images: Images) -> NDArray[np.float64]:
        """The score up to which `predict` accepts, minus the score, (N,): negative for outliers."""
        check_is_fitted(self, "calibration_")
        groups = None if self.calibration_.groups is None else self.groups(images)
        return self.calibration_.thresholds(ALPHA, groups) - self.score(images, self.calibration_kind_)

    def check_alpha(self, alpha: float) -> None:
        """Refuse a false-alarm rate outside (0, 1), or so low that the calibration rejects nothing."""
        check_alpha(alpha)
        lowest = self.calibration_.lowest_alpha()
        if alpha < lowest:
            raise ValueError(
                f"no p-value is as low as alpha = {alpha:g}, for the calibration images allow {lowest:.4f} at least: "
                f"calibrate with more ({int(np.ceil(1 / alpha)) - 1}, or so many of each class), or raise alpha"
            )

    def batched(self, images: Images, function: Callable[[Tensor], Result]) -> list[Result]:
        """Apply a function to the images as float batches on the network's device, without gradients."""
        check_is_fitted(self, "network_")
        tensor = check_images(images, self.image_shape_)
        device = next(self.network_.parameters()).device
        with torch.no_grad():
            return [function(as_float(batch.to(device))) for batch in tensor.split(_SCORE_BATCH)]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the detector to a folder: see :func:`lamae_tutorial.detectors.storage.save`."""
        from lamae_tutorial.detectors import storage

        return storage.save(self, folder)

    @classmethod
    def load(cls: type[Self], folder: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a detector of this class: see :func:`lamae_tutorial.detectors.storage.load`."""
        from lamae_tutorial.detectors import storage

        return storage.load(folder, cls, device)

    def _check_labels(self, labels: Labels | None, n: int, num_classes: int | None = None) -> Tensor | None:
        """Labels as int64 tensor (n,), or None for a detector that uses none."""
        name = type(self).__name__
        if not self.needs_labels:
            return None
        if labels is None:
            raise ValueError(f"{name} needs the class labels of its images (training and validation); got none")
        tensor = torch.as_tensor(labels)
        if tensor.shape != (n,) or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise ValueError(
                f"labels must be {n} whole numbers, one an image; got {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        low, high = int(tensor.min()), int(tensor.max())
        lowest = MISSING if self.labels_may_be_missing else 0
        if low < lowest or (num_classes is not None and high >= num_classes):
            expected = f">= {lowest}"
            if num_classes is not None:
                expected = f"in {lowest}..{num_classes - 1}, the classes of the training images"
            raise ValueError(f"{name}: labels must be {expected}; got labels from {low} to {high}")
        return tensor.long().cpu()


def _count_classes(labels: Tensor) -> int:
    """S; every class 0..S-1 must occur."""
    present = torch.unique(labels[labels != MISSING]).tolist()
    if present != list(range(len(present))):
        raise ValueError(f"labels must be 0..S-1 with no class missing; got the classes {present}: renumber them")
    if len(present) < 2:
        raise ValueError(
            f"there are labels of {len(present)} classes: a detector that uses labels needs at least two classes"
        )
    return len(present)
