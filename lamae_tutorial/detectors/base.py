"""The contract of a detector.

**A higher score means more out-of-distribution**, for every score of every detector. A detector is a scikit-learn
estimator: its constructor stores parameters only, `fit` sets the names that end in an underscore, `random_state` is
read in `fit`. A subclass writes three hooks, `build_network`, `loss` and `score_batch`; one in closed form writes
`train_network` in place of `loss`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from lamae_tutorial.data.images import Images, ImageShape, Labels, TrainingData, Validation, check_images, training_data
from lamae_tutorial.detectors.registry import find_class, register
from lamae_tutorial.detectors.storage import read_folder, write_folder
from lamae_tutorial.training.loop import History, Stopped, TrainingSettings, as_float, resolve_device, train
from lamae_tutorial.training.stacking import Groups

Self = TypeVar("Self", bound="Detector")
Result = TypeVar("Result")

ALPHA = 0.05  # share of ID images that `predict` may reject, unless told otherwise
_SCORE_BATCH = 1024
_SCORES, _GROUPS = "calibration.scores", "calibration.groups"  # saved beside the network's tensors


@dataclass(kw_only=True, eq=False, repr=False)
class Detector(TrainingSettings, OutlierMixin, BaseEstimator, ABC):
    """Base class of all detectors: their common parameters and everything that is done alike.

    Parameters
    ----------
    epochs, batch_size, learning_rate, patience, precision, device, verbose
        See :class:`lamae_tutorial.training.loop.TrainingSettings`.
    random_state : int or None
        Seed of everything random in `fit`: split, initial weights, order of images. None draws a new one.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, in evaluation mode.
    history_ : list of dict
        Losses of each epoch, see :func:`lamae_tutorial.training.loop.train`; with the key "stage" where there are
        several, and empty for a detector in closed form.
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

    Notes
    -----
    What a detector can do is said by its class: `title`, its name in tables; `score_kinds`, the names of its scores,
    the default first; `needs_labels` and `labels_may_be_missing`; `rebuilds` (it has :meth:`reconstruct`), `classifies`
    (it has :meth:`classify`), `can_be_stacked` (seeds can be trained side by side). `recipe` is a number that is raised
    when the detector's code changes its results by more than rounding: records of different recipes are not mixed.
    """

    title: ClassVar[str]
    score_kinds: ClassVar[tuple[str, ...]]
    needs_labels: ClassVar[bool] = False
    labels_may_be_missing: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    can_be_stacked: ClassVar[bool] = False
    recipe: ClassVar[int] = 1

    random_state: int | None = None

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        register(cls)

    # What a subclass writes -------------------------------------------------------------------------------------------

    @abstractmethod
    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """A new network for images of this shape, with weights drawn from PyTorch's global generator."""

    @abstractmethod
    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """All named scores of a batch from one forward pass, float (B,), higher = more out-of-distribution."""

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean loss of a batch: images float (B, C, H, W) in [0, 1], labels int64 (B,) or None."""
        raise TypeError(f"{type(self).__name__} has neither `loss` nor `train_network`: write one of them")

    def selection_loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """What the best epoch is chosen by on the validation images: the loss."""
        return self.loss(network, images, labels)

    def parameter_groups(self, network: nn.Module) -> Groups:
        """What Adam gets: one group of all parameters."""
        return [{"params": list(network.parameters())}]

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        """Train in place and return the history: one stage of gradient descent by default.

        A detector of several stages calls :func:`lamae_tutorial.training.loop.train` once for each. One in closed form
        computes the network's tensors from `data.images` and returns an empty list.
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
        """What the fitted detector sets by ID validation images, uint8 or float (N, C, H, W): nothing."""

    # What users call --------------------------------------------------------------------------------------------------

    def fit(self: Self, images: Images, labels: Labels | None = None, validation: Validation | None = None) -> Self:
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
        """What `fit` gets, checked and divided. Parameters and errors are those of `fit`."""
        self.check_settings()
        if self.needs_labels and labels is None:
            raise ValueError(f"{type(self).__name__} needs the class labels of its images; got none")
        drawn = int(np.random.SeedSequence().generate_state(1)[0])
        seed = drawn if self.random_state is None else self.random_state
        used = labels if self.needs_labels else None
        return training_data(images, used, validation, seed, labels_may_be_missing=self.labels_may_be_missing)

    def keep(self, network: nn.Module, history: History, data: TrainingData) -> None:
        """Become fitted: set all that ends in an underscore, and calibrate with the validation images."""
        self.network_ = network.to(resolve_device(self.device)).eval()
        self.history_ = history
        self.image_shape_ = data.image_shape
        self.num_classes_ = data.num_classes
        self.class_names_ = tuple(str(label) for label in range(data.num_classes))
        self.seed_ = data.seed
        self.finish(data.validation_images)
        self.calibrate(data.validation_images)

    def fit_predict(self, images: Images, labels: Labels | None = None) -> NDArray[np.int64]:
        """`fit` on the images and `predict` the same: int64 (N,), +1 or -1."""
        return self.fit(images, labels).predict(images)

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
        raw = {kind: torch.cat([part[kind] for part in parts]).double().cpu().numpy() for kind in parts[0]}
        scores = {**raw, **self.derived_scores(raw, images)}
        if scores.keys() != set(self.score_kinds):
            raise ValueError(
                f"{type(self).__name__} announces the scores {', '.join(self.score_kinds)} (score_kinds) "
                f"and gives {', '.join(scores)} (score_batch)"
            )
        return {kind: scores[kind] for kind in self.score_kinds}

    def derived_scores(
        self, scores: Mapping[str, NDArray[np.float64]], images: Images
    ) -> dict[str, NDArray[np.float64]]:
        """Further scores, made of those of `score_batch`, (N,): none."""
        return {}

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
        if kind is not None and not isinstance(kind, str):
            raise TypeError(
                f"score(images, kind) takes the name of a score; got a {type(kind).__name__}. It returns one score per "
                "image and no single number: cross_val_score and grid searches need scoring=FUNCTION of the detector"
            )
        kind = self.check_kind(kind)
        return self.scores(images)[kind]

    def score_samples(self, images: Images) -> NDArray[np.float64]:
        """Minus the default score, (N,): scikit-learn's direction, lower = more out-of-distribution."""
        return -self.score(images)

    def reconstruct(self, images: Images) -> Tensor:
        """Reconstructions of images, for detectors that `rebuilds`: float tensor (N, C, H, W) in [0, 1] on the CPU."""
        raise ValueError(f"{type(self).__name__} rebuilds no images")

    def classify(self, images: Images) -> NDArray[np.int64]:
        """The predicted class of each image, for detectors that `classifies`: int64 (N,) in 0..S-1."""
        raise ValueError(f"{type(self).__name__} has no classifier")

    def calibrate(self: Self, images: Images, kind: str | None = None, per_class: bool = False) -> Self:
        """Set what p-values compare with; see :mod:`lamae_tutorial.conformal`.

        `fit` does so with the validation images. The same images selected the best epoch, so the guarantee is only
        approximate: calibrate with images that `fit` has not seen where it matters.

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
        kind = self.check_kind(kind)
        self.calibration_ = Calibration(self.score(images, kind), self.classify(images) if per_class else None)
        self.calibration_kind_ = kind
        return self

    def p_values(self, images: Images, scores: Mapping[str, NDArray[np.float64]] | None = None) -> NDArray[np.float64]:
        """Conformal p-values: float64 (N,) in (0, 1], **small = out-of-distribution**.

        The probability that an in-distribution image gets a p-value of at most alpha is at most alpha.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        scores : dict of str to float64 array (N,), optional
            What :meth:`scores` gave for these images, so that they are not computed again.
        """
        check_is_fitted(self, "calibration_")
        scores = self.scores(images) if scores is None else scores
        return self.calibration_.p_values(scores[self.calibration_kind_], self._groups(images))

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
        return self.calibration_.thresholds(ALPHA, self._groups(images)) - self.score(images, self.calibration_kind_)

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
        with torch.no_grad():
            return [function(as_float(batch.to(self.network_device()))) for batch in tensor.split(_SCORE_BATCH)]

    def network_device(self) -> torch.device:
        """Where the fitted network's tensors lie; the CPU for a network without any."""
        tensors = chain(self.network_.parameters(), self.network_.buffers(), [torch.empty(0)])
        return next(tensors).device

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a fitted detector to a folder, whole or not at all.

        Parameters
        ----------
        folder : path
            New or empty, or a detector saved before, which is replaced.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        FileExistsError
            There is something else of that name.
        """
        check_is_fitted(self, "network_")
        config = {
            "detector": type(self).__name__,
            "module": type(self).__module__,
            "parameters": self.get_params(),
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
    def load(cls: type[Self], folder: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a detector of this class, or of one derived from it, that was saved.

        The class is looked up among those that are known: this package's, those of installed packages (entry point
        `lamae_tutorial.detectors`), and those that were defined or imported before. Nothing is imported from the
        folder.

        Parameters
        ----------
        folder : path
        device : str
            Where the network is put, see :class:`Detector`.

        Raises
        ------
        FileNotFoundError
            No such folder.
        ValueError
            The folder is damaged, foreign or of a newer version, or its class is not known.
        """
        config, state = read_folder(folder)
        try:
            kind = find_class(str(config["detector"]), str(config["module"]))
            if not issubclass(kind, cls) or isabstract(kind):
                raise ValueError(f"holds a {kind.__name__}; expected a {cls.__name__}")
            detector: Self = kind(**{**config["parameters"], "device": device})
            channels, height, width = (int(size) for size in config["image_shape"])
            detector.image_shape_ = (channels, height, width)
            detector.num_classes_ = int(config["num_classes"])
            detector.class_names_ = tuple(str(name) for name in config["class_names"])
            if len(detector.class_names_) != detector.num_classes_:
                raise ValueError(f"names {len(detector.class_names_)} of {detector.num_classes_} classes")
            detector.seed_ = int(config["seed"])
            detector.calibration_kind_ = str(config["calibration_kind"])
            detector.history_ = list(config["history"])
            groups = state.pop(_GROUPS, None)
            detector.calibration_ = Calibration(state.pop(_SCORES).numpy(), None if groups is None else groups.numpy())
            network = detector._empty_network(state)
            network.load_state_dict(state)
        except (ValueError, LookupError, TypeError, RuntimeError) as error:
            raise ValueError(f"{folder}: not a saved detector, or a damaged one: {error}") from error
        detector.network_ = network.to(resolve_device(device)).to(memory_format=torch.channels_last).eval()
        return detector

    def _empty_network(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A network of the parameters and the shape set, which these tensors fit."""

        def build() -> nn.Module:
            network = self.build_network(self.image_shape_, self.num_classes_)
            if {name: value.shape for name, value in network.state_dict().items()} != shapes:
                raise ValueError("the weights do not fit the parameters in config.json")
            return network

        shapes = {name: value.shape for name, value in state.items()}
        with torch.random.fork_rng(devices=[]):
            try:
                with torch.device("meta"):  # the shapes are compared before anything is allocated
                    build()
            except (NotImplementedError, RuntimeError):
                pass  # a network that cannot be built without its values
            return build()

    def check_kind(self, kind: str | None) -> str:
        """The name of a score, None for the default; a ValueError for a score that the detector does not have."""
        if kind is not None and kind not in self.score_kinds:
            raise ValueError(f"{type(self).__name__} has the scores {', '.join(self.score_kinds)}; got {kind!r}")
        return self.score_kinds[0] if kind is None else kind

    def _groups(self, images: Images) -> NDArray[np.int64] | None:
        """The group in which each image is compared, (N,), if the calibration has groups."""
        return None if self.calibration_.groups is None else self.classify(images)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """PyTorch's global generators start from a seed, and are as before afterwards."""
    used = resolve_device(device)
    with torch.random.fork_rng(devices=[used] if used.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
