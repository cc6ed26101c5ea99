"""The contract of a detector.

**A higher score means more out-of-distribution**, for every score of every detector. A detector is a scikit-learn
estimator: the constructor only stores parameters, `fit` sets the attributes that end in an underscore, and `fit` reads
`random_state`. A subclass writes three hooks: `build_network`, `loss` and `score_batch`. A detector in closed form
writes `train_network` instead of `loss`.
"""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from inspect import isabstract
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lamae_tutorial.conformal import Calibration, check_alpha
from lamae_tutorial.data.images import (
    Images,
    ImageSet,
    ImageShape,
    Labels,
    TrainingData,
    Validation,
    check_images,
    training_data,
)
from lamae_tutorial.data.parameters import SEED, Rules, check, check_parameters, optional
from lamae_tutorial.detectors.registry import code_of, find_class, register, same_code
from lamae_tutorial.detectors.storage import CONFIG_RULES, read_folder, write_folder
from lamae_tutorial.training.loop import History, Stopped, TrainingSettings, as_float, resolve_device, train
from lamae_tutorial.training.stacking import Groups
from lamae_tutorial.training.state import plain_torch, seeded

Self = TypeVar("Self", bound="Detector")
Result = TypeVar("Result")

ALPHA = 0.05  # share of ID images that `predict` may reject by default
_SCORE_BATCH = 1024
_ROUNDING = 1e-6  # share of a score by which it may differ in another batch: float32 has 24 bits
_SCORES, _GROUPS = "calibration.scores", "calibration.groups"  # saved beside the network's tensors


@dataclass(kw_only=True, eq=False, repr=False)
class Detector(TrainingSettings, OutlierMixin, BaseEstimator, ABC):
    """Base class of all detectors: the parameters and the code that they share.

    Parameters
    ----------
    epochs, batch_size, learning_rate, patience, precision, device, verbose
        See :class:`lamae_tutorial.training.loop.TrainingSettings`.
    random_state : int or None
        Seed of everything random in `fit`: split, initial weights, order of images; in 0..4294967295. None draws a new
        seed.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, in evaluation mode.
    history_ : list of dict
        Losses of each epoch, see :func:`lamae_tutorial.training.loop.train`. If training has several stages, each entry
        also has the key "stage". Empty for a detector in closed form.
    image_shape_ : (int, int, int)
        Channels, height and width of the images.
    num_classes_ : int
        S, the number of classes; 0 if the detector uses no labels.
    class_names_ : tuple of str
        Names of the S classes. `fit` sets them to "0" to "S-1".
    seed_ : int
        The seed that was used.
    parameters_ : dict
        The parameters that were used. Scores and saved detectors use them, whatever `set_params` did since.
    calibration_ : lamae_tutorial.conformal.Calibration
        In-distribution scores that p-values are computed from: those of the validation images after `fit`, or of other
        images after `calibrate`. Where several are equal, they are a millionth higher, see :func:`keep_ties`.
    calibration_kind_ : str
        The score that p-values are computed from.

    Notes
    -----
    Class attributes say what a detector can do. `title` is its name in tables. `score_kinds` names its scores, the
    default first. `needs_labels` and `labels_may_be_missing` concern the labels. `rebuilds` means that it has
    :meth:`reconstruct`, `classifies` that it has :meth:`classify`, and `can_be_stacked` that several seeds can be
    trained side by side. Raise `recipe` when a change of code changes results by more than rounding: records of
    different recipes are not mixed. `parameter_rules` says what the parameters may be, see
    :mod:`lamae_tutorial.data.parameters`; a class of your own needs none.
    """

    title: ClassVar[str]
    score_kinds: ClassVar[tuple[str, ...]]
    needs_labels: ClassVar[bool] = False
    labels_may_be_missing: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    can_be_stacked: ClassVar[bool] = False
    recipe: ClassVar[int] = 1
    parameter_rules: ClassVar[Rules] = {
        "random_state": optional(SEED, "be None or a whole number in 0..4294967295: a seed, no generator")
    }

    random_state: int | None = None

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        register(cls)

    # What a subclass writes -------------------------------------------------------------------------------------------

    @abstractmethod
    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return a new network for images of this shape. PyTorch's global generator draws its weights."""

    @abstractmethod
    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Return all named scores of a batch from one forward pass: float (B,), higher = more out-of-distribution."""

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean loss of a batch: images float (B, C, H, W) in [0, 1], labels int64 (B,) or None."""
        raise TypeError(f"{type(self).__name__} has neither `loss` nor `train_network`: write one of them")

    def selection_loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the loss that selects the best epoch on the validation images. By default it is :meth:`loss`."""
        return self.loss(network, images, labels)

    def parameter_groups(self, network: nn.Module) -> Groups:
        """Return the parameter groups for Adam. By default one group holds all parameters."""
        return [{"params": list(network.parameters())}]

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        """Train in place and return the history. By default this is one stage of gradient descent.

        A detector with several stages calls :func:`lamae_tutorial.training.loop.train` once per stage. A detector in
        closed form computes the network's tensors from `data.images` and returns an empty list.
        """
        return train(
            network,
            self.loss,
            data,
            self,
            parameter_groups=self.parameter_groups(network),
            selection_loss=self.selection_loss,
        )

    def finish(self, validation_images: Tensor) -> None:
        """Set what depends on the ID validation images, uint8 or float (N, C, H, W). By default nothing does."""

    # What users call --------------------------------------------------------------------------------------------------

    @plain_torch()
    def fit(self: Self, images: Images, labels: Labels | None = None, validation: Validation | None = None) -> Self:
        """Train on in-distribution images.

        Several threads may call it: one trains after the other, so that each gets what it gets alone.

        Parameters
        ----------
        images : ImageSet; or uint8 (N, C, H, W), or float in [0, 1]
            What else is taken stands in :func:`lamae_tutorial.data.images.check_images`.
        labels : int (N,), optional
            Classes 0..S-1, each with at least one image. Required if the detector uses labels. -1 marks a missing
            label, if the detector allows it. By default those of an ImageSet.
        validation : ImageSet or pair of images and labels, optional
            In-distribution images that select the best epoch. By default 10% of `images`; the detector is not trained
            on them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, images or labels have another form than allowed, or labels are missing. Nothing is done before.
        KeyboardInterrupt
            Ctrl-C. If one epoch (of the last stage) is finished, the detector is still fitted, with the best weights so
            far. It can be used and saved.
        """
        data = self.prepare(images, labels, validation)
        with seeded(data.seed, self.device):
            network = self.build_network(data.image_shape, data.num_classes)
            try:
                history = self.train_network(network, data)
            except Stopped as stop:
                self.keep(network, stop.histories[0], data)
                raise
            self.keep(network, history, data)
        return self

    def prepare(self, images: Images, labels: Labels | None, validation: Validation | None) -> TrainingData:
        """Check and split the arguments of `fit`. Parameters and errors are the same as in `fit`."""
        self.check_settings()
        if isinstance(images, ImageSet) and labels is None:
            labels = images.labels
        if self.needs_labels and labels is None:
            raise ValueError(
                f"{type(self).__name__} needs the class labels of the images; got none: give labels, or choose a "
                "detector that needs none"
            )
        drawn = int(np.random.SeedSequence().generate_state(1)[0])
        seed = drawn if self.random_state is None else int(self.random_state)
        used = labels if self.needs_labels else None
        return training_data(images, used, validation, seed, labels_may_be_missing=self.labels_may_be_missing)

    def keep(self, network: nn.Module, history: History, data: TrainingData) -> None:
        """Set the fitted attributes and calibrate with the validation images."""
        before = vars(self).copy()
        try:
            self.parameters_ = deepcopy(self.get_params())
            self.network_ = network.to(resolve_device(self.device)).eval()
            self.history_ = history
            self.image_shape_ = data.image_shape
            self.num_classes_ = data.num_classes
            self.class_names_ = tuple(str(label) for label in range(data.num_classes))
            self.seed_ = data.seed
            self.finish(data.validation_images)
            self.calibrate(data.validation_images)
        except BaseException:  # no new network with an old calibration
            self.__dict__ = before
            raise

    def fit_predict(self, images: Images, labels: Labels | None = None) -> NDArray[np.int64]:
        """Call `fit`, then `predict` on the same images: int64 (N,), +1 or -1."""
        return self.fit(images, labels).predict(images)

    def scores(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """Return all named scores of each image.

        Parameters
        ----------
        images : ImageSet; or uint8 (N, C, H, W), or float in [0, 1]
            They must have the shape that the detector was fitted on.

        Returns
        -------
        dict of str to float64 array (N,)
            The keys are `score_kinds`. Higher = more out-of-distribution.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            The images have another shape, type or range.
        """
        check_is_fitted(self, "network_")
        images = check_images(images, self.image_shape_)
        fitted = self.as_fitted()
        parts = self._batched(images, lambda batch: fitted.score_batch(self.network_, batch))
        raw = {kind: torch.cat([part[kind] for part in parts]).double().cpu().numpy() for kind in parts[0]}
        scores = {**raw, **fitted.derived_scores(raw, images)}
        if scores.keys() != set(self.score_kinds):
            raise ValueError(
                f"{type(self).__name__} names the scores {', '.join(self.score_kinds)} in score_kinds, "
                f"but score_batch returns {', '.join(scores)}: make them agree"
            )
        return {kind: scores[kind] for kind in self.score_kinds}

    def as_fitted(self: Self) -> Self:
        """Return a shallow copy with the parameters of `fit`, which `set_params` may have changed since."""
        fitted = type(self).__new__(type(self))  # `copy` would ask scikit-learn for the state, which takes longer
        fitted.__dict__ = {**vars(self), **vars(self).get("parameters_", {})}
        return fitted

    def derived_scores(
        self, scores: Mapping[str, NDArray[np.float64]], images: Images
    ) -> dict[str, NDArray[np.float64]]:
        """Return further scores (N,), computed from those of `score_batch`. By default there are none."""
        return {}

    def score(self, images: Images, kind: str | None = None) -> NDArray[np.float64]:
        """Return one score per image, **higher = more out-of-distribution**.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        kind : str, optional
            One of `score_kinds`; by default the first.

        Returns
        -------
        float64 array (N,)
        """
        if kind is not None and not isinstance(kind, str):
            raise TypeError(
                f"score(images, kind) expects the name of a score; got {type(kind).__name__}. It returns one score per "
                "image, not a single number: pass scoring=FUNCTION to cross_val_score or a grid search"
            )
        kind = self.check_kind(kind)
        return self.scores(images)[kind]

    def score_samples(self, images: Images) -> NDArray[np.float64]:
        """Return minus the default score, (N,), as in scikit-learn: lower = more out-of-distribution."""
        return -self.score(images)

    def reconstruct(self, images: Images) -> Tensor:
        """Return reconstructions, float (N, C, H, W) in [0, 1] on the CPU. Only for detectors with `rebuilds`."""
        raise ValueError(f"{type(self).__name__} does not rebuild images")

    def classify(self, images: Images) -> NDArray[np.int64]:
        """Return the predicted class of each image, int64 (N,) in 0..S-1. Only for detectors with `classifies`."""
        raise ValueError(f"{type(self).__name__} has no classifier")

    def calibrate(self: Self, images: Images, kind: str | None = None, per_class: bool = False) -> Self:
        """Set the scores that p-values are computed from; see :mod:`lamae_tutorial.conformal`.

        `fit` calibrates with the validation images. The same images selected the best epoch, so the guarantee is only
        approximate. If that matters, calibrate with images that `fit` has not seen.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
            In-distribution images that the detector was not trained on, e.g. 1,000.
        kind : str, optional
            The score to use, see :meth:`score`; by default the first.
        per_class : bool
            Compare each image only with images of the same *predicted* class, so that the guarantee holds in each of
            these classes. Needs a detector with a classifier. A class without an image here is named in a warning;
            images of that class are compared with those of all classes.

        Returns
        -------
        self
        """
        kind = self.check_kind(kind)
        check_is_fitted(self, "network_")
        groups = self.classify(images) if per_class else None
        if groups is not None and (missing := sorted(set(range(self.num_classes_)) - set(groups.tolist()))):
            warnings.warn(
                f"no calibration image is classified as {', '.join(self.class_names_[group] for group in missing)}: "
                "images of these classes will be compared with the calibration images of all classes",
                stacklevel=2,
            )
        self.calibration_ = Calibration(keep_ties(self.score(images, kind)), groups)
        self.calibration_kind_ = kind
        return self

    def p_values(self, images: Images, scores: Mapping[str, NDArray[np.float64]] | None = None) -> NDArray[np.float64]:
        """Return conformal p-values: float64 (N,) in (0, 1], **small = out-of-distribution**.

        An in-distribution image gets a p-value of at most alpha with a probability of at most alpha.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        scores : dict of str to float64 array (N,), optional
            The result of :meth:`scores` for these images, if it is already known.
        """
        check_is_fitted(self, "calibration_")
        scores = self.scores(images) if scores is None else scores
        return self.calibration_.p_values(scores[self.calibration_kind_], self._groups(images))

    def predict(self, images: Images, alpha: float = ALPHA) -> NDArray[np.int64]:
        """Return +1 for images accepted as in-distribution and -1 for outliers (p-value <= alpha): int64 (N,).

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        alpha : float
            Share of in-distribution images that may be rejected, in (0, 1).

        Raises
        ------
        ValueError
            `alpha` lies outside (0, 1), or there are too few calibration images for a p-value this low.
        """
        check_is_fitted(self, "calibration_")
        self.check_alpha(alpha)
        return np.where(self.p_values(images) > alpha, 1, -1).astype(np.int64)

    def decision_function(self, images: Images) -> NDArray[np.float64]:
        """Return the largest score that `predict` accepts minus the image's score, (N,): negative for outliers.

        The same calibration images are too few for it as for `predict`, which then raises the same error.
        """
        check_is_fitted(self, "calibration_")
        self.check_alpha(ALPHA)
        return self.calibration_.thresholds(ALPHA, self._groups(images)) - self.score(images, self.calibration_kind_)

    def check_alpha(self, alpha: float) -> None:
        """Raise a ValueError if a false-alarm rate lies outside (0, 1) or is too low for the calibration images."""
        check_alpha(alpha)
        lowest = self.calibration_.lowest_alpha()
        if alpha < lowest:
            raise ValueError(
                f"no p-value is as low as alpha = {alpha:g}: with these calibration images the lowest is {lowest:.4f}. "
                f"Calibrate with more images ({int(np.ceil(1 / alpha)) - 1}, or that many per class), or raise alpha"
            )

    def batched(self, images: Images, function: Callable[[Tensor], Result]) -> list[Result]:
        """Apply a function to float batches of the images, on the network's device and without gradients."""
        check_is_fitted(self, "network_")
        return self._batched(check_images(images, self.image_shape_), function)

    def _batched(self, images: Tensor, function: Callable[[Tensor], Result]) -> list[Result]:
        """Do what :meth:`batched` does, for images that were checked."""
        with plain_torch(), torch.no_grad():
            device = self.network_device()
            return [function(as_float(batch.to(device))) for batch in images.split(_SCORE_BATCH)]

    def network_device(self) -> torch.device:
        """Return the device of the fitted network's tensors; the CPU for a network without tensors."""
        tensor = next(chain(self.network_.parameters(), self.network_.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a fitted detector to a folder, completely or not at all.

        Parameters
        ----------
        folder : path
            A new or empty folder, or one with a saved detector, which is replaced.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        FileExistsError
            The path holds something else.
        """
        check_is_fitted(self, "network_")
        config = {
            "detector": type(self).__name__,
            "module": type(self).__module__,
            "recipe": self.recipe,
            "code": code_of(type(self)),
            "parameters": self.parameters_,
            "image_shape": self.image_shape_,
            "num_classes": self.num_classes_,
            "class_names": self.class_names_,
            "seed": self.seed_,
            "calibration_kind": self.calibration_kind_,
            "history": self.history_,
        }
        tensors = {**self.network_.state_dict(), _SCORES: torch.from_numpy(self.calibration_.scores)}
        if self.calibration_.groups is not None:
            tensors[_GROUPS] = torch.from_numpy(self.calibration_.groups)
        return write_folder(folder, config, tensors)

    @classmethod
    @plain_torch()
    def load(cls: type[Self], folder: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a saved detector of this class or of a derived class.

        The class must be known: it belongs to this package or to an installed package (entry point
        `lamae_tutorial.detectors`), or it was defined or imported before. Nothing is imported from the folder. A class
        of your own must have the code that it had when it was saved.

        Parameters
        ----------
        folder : path
        device : str
            The network's device, see :class:`lamae_tutorial.training.loop.TrainingSettings`.

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        ValueError
            The folder is damaged, holds something else or has a newer format, or its class is not known or has other
            code now. This is found before a network of another size is allocated.
        """
        used = resolve_device(device)
        config, state = read_folder(folder)
        try:
            for name, rule in CONFIG_RULES.items():
                check(name, config[name], rule)
            kind = find_class(config["detector"], config["module"])
            if not issubclass(kind, cls) or isabstract(kind):
                raise ValueError(f"it holds the class {kind.__name__}; expected {cls.__name__}")
            if config.get("recipe", kind.recipe) != kind.recipe:
                raise ValueError(f"it has recipe {config['recipe']}, but the class now {kind.recipe}: fit it again")
            if not same_code(config.get("code"), kind):
                raise ValueError(f"the class {kind.__name__} has other code than when it was saved: fit it again")
            detector: Self = kind(**{**config["parameters"], "device": device})
            check_parameters(detector)
            detector.parameters_ = detector.get_params()
            channels, height, width = config["image_shape"]
            detector.image_shape_ = (channels, height, width)
            detector.num_classes_ = config["num_classes"]
            detector.class_names_ = tuple(config["class_names"])
            if len(detector.class_names_) != detector.num_classes_:
                raise ValueError(f"it has {len(detector.class_names_)} names for {detector.num_classes_} classes")
            detector.seed_ = config["seed"]
            detector.calibration_kind_ = detector.check_kind(config["calibration_kind"])
            detector.history_ = config["history"]
            groups = state.pop(_GROUPS, None)
            if groups is not None and not kind.classifies:
                raise ValueError("it is calibrated per class, but has no classifier")
            detector.calibration_ = Calibration(state.pop(_SCORES).numpy(), None if groups is None else groups.numpy())
            network = detector._empty_network(state)
            network.load_state_dict(state)
        except (ValueError, LookupError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{folder} is not a saved detector, or it is damaged: {error}") from error
        detector.network_ = network.to(used).to(memory_format=torch.channels_last).eval()
        return detector

    def _empty_network(self, state: Mapping[str, Tensor]) -> nn.Module:
        """Build a network from the parameters and the image shape; check that these tensors fit it."""

        def build() -> nn.Module:
            network = self.build_network(self.image_shape_, self.num_classes_)
            if {name: value.shape for name, value in network.state_dict().items()} != shapes:
                raise ValueError("the weights do not fit the parameters in config.json")
            return network

        shapes = {name: value.shape for name, value in state.items()}
        with seeded(0, "cpu"):
            try:
                with torch.device("meta"):  # compares the shapes before any memory is allocated
                    build()
            except (NotImplementedError, RuntimeError) as error:
                if "meta" not in str(error):  # some networks cannot be built on the meta device
                    raise
            return build()

    def check_kind(self, kind: str | None) -> str:
        """Return the name of a score; None means the default. Raise a ValueError for an unknown name."""
        if kind is not None and kind not in self.score_kinds:
            raise ValueError(f"{type(self).__name__} has the scores {', '.join(self.score_kinds)}; got {kind!r}")
        return self.score_kinds[0] if kind is None else kind

    def _groups(self, images: Images) -> NDArray[np.int64] | None:
        """Return the calibration group of each image, (N,), or None if the calibration has no groups."""
        return None if self.calibration_.groups is None else self.classify(images)


def keep_ties(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raise calibration scores that are equal to others, but for rounding, by that rounding.

    The same image may score a little higher in a batch of another size. Without this, an image that equals many
    calibration images might seem to score higher than all of them.
    """
    size = np.abs(scores)
    rounding = _ROUNDING * np.maximum(size, np.median(size))
    ordered = np.sort(scores)
    near = np.searchsorted(ordered, scores + rounding, "right") - np.searchsorted(ordered, scores - rounding, "left")
    return scores + np.where(near > 1, rounding, 0)
