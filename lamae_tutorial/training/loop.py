"""The training loop: batches, device, early stopping on in-distribution validation images, best weights kept.

The loop does not know any detector: it gets a network and functions that compute its loss. Images stay in memory as one
tensor (on the GPU if there is one), and each batch is converted to float. This is faster than a DataLoader that opens
one image after the other (`speed/training_throughput.py`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lamae_tutorial.data.images import TrainingData
from lamae_tutorial.data.parameters import FLAG, POSITIVE, Rules, check_parameters, one_of, whole
from lamae_tutorial.training.stacking import Groups, Loss, Single, Stacked

History = list[dict[str, Any]]
Precision = Literal["float32", "tf32", "bf16"]

_EVALUATION_BATCH = 1024


class Stopped(KeyboardInterrupt):
    """Ctrl-C stopped training after its first epoch; the networks have the weights of their best epochs."""

    def __init__(self, description: str, histories: list[History], best_epochs: list[int]) -> None:
        best = ", ".join(map(str, best_epochs))
        super().__init__(
            f"{description} was stopped in epoch {len(histories[0]) + 1}; it has the weights of epoch {best}"
        )
        self.histories = histories


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingSettings:
    """How a network is trained. Detectors have these parameters.

    Parameters
    ----------
    epochs : int
        Maximum number of passes over the training images.
    batch_size : int
        Images per step; at least 2 for a network with batch normalisation.
    learning_rate : float
        Adam's learning rate.
    patience : int
        Training stops after this many epochs without a lower loss on the validation images.
    precision : {"float32", "tf32", "bf16"}
        Arithmetic in training, see :func:`lamae_tutorial.training.loop.arithmetic`. Scores use PyTorch's settings.
    device : str
        "auto" (a CUDA device if there is one, else the CPU) or a PyTorch device name.
    verbose : bool
        Show a progress bar if the output is a terminal.
    """

    parameter_rules: ClassVar[Rules] = {
        "epochs": whole(1),
        "batch_size": whole(1),
        "learning_rate": POSITIVE,
        "patience": whole(1),
        "precision": one_of(*get_args(Precision)),
        "verbose": FLAG,
    }

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 20
    precision: Precision = "float32"
    device: str = "auto"
    verbose: bool = True

    def check_settings(self) -> None:
        """Raise a ValueError if a parameter has another type or range, see :mod:`lamae_tutorial.data.parameters`."""
        check_parameters(self)
        resolve_device(self.device)


def train(
    network: nn.Module,
    loss: Loss,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    parameter_groups: Groups | None = None,
    selection_loss: Loss | None = None,
    milestones: Sequence[int] = (),
    one_cycle: bool = False,
) -> History:
    """Train in place with Adam. Afterwards the network has the weights of its best epoch and is in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place and moved to the device.
    loss : callable (network, float images (B, C, H, W), labels (B,) or None) -> scalar tensor
        Returns the mean loss of a batch, which is minimised.
    data : TrainingData
    settings : TrainingSettings
        For example a detector.
    parameter_groups : list of dict, optional
        The network's parameters in the form of :class:`torch.optim.Adam`; by default one group of all parameters.
    selection_loss : callable, optional
        The loss that selects the best epoch on the validation images; by default `loss`.
    milestones : sequence of int
        The learning rate is divided by 5 after each of these epochs.
    one_cycle : bool
        Train with AdamW, and let the learning rate rise to the setting and fall to 0 within all epochs
        (:class:`torch.optim.lr_scheduler.OneCycleLR`).

    Returns
    -------
    list of dict
        One entry per epoch, with the keys epoch (from 1), train_loss, validation_loss and seconds.

    Raises
    ------
    ValueError
        A setting has another type or range, or `batch_size` is 1 and the network has batch normalisation.
    FloatingPointError
        The loss is not finite.
    Stopped
        Ctrl-C, after the first epoch: the network has the weights of its best epoch.
    """
    check_training(network, settings)
    network.to(resolve_device(settings.device)).to(memory_format=torch.channels_last)
    single = Single(network, parameter_groups or [{"params": list(network.parameters())}])
    return _train(single, loss, [data], settings, selection_loss or loss, milestones, one_cycle)[0]


def in_stages(**stages: Callable[[], History]) -> History:
    """Train in stages, in this order, and return the history of all; each entry also has the key "stage".

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C before the last stage, or before its first epoch is finished.
    Stopped
        Ctrl-C in the last stage.
    """
    history: History = []
    *_, last = stages
    for stage, run in stages.items():
        try:
            epochs = run()
        except Stopped as stop:
            if stage != last:
                raise KeyboardInterrupt(f"stopped before the {last} was trained") from None
            stop.histories = [history + [{"stage": stage, **epoch} for epoch in stop.histories[0]]]
            raise
        history += [{"stage": stage, **epoch} for epoch in epochs]
    return history


def train_together(
    networks: Sequence[nn.Module],
    loss: Loss,
    data: Sequence[TrainingData],
    settings: TrainingSettings,
    *,
    parameter_groups: Groups,
    selection_loss: Loss,
) -> list[History]:
    """Train networks of the same form side by side.

    The weights are stacked, and each step updates all networks in one pass (:func:`torch.vmap`). This makes better use
    of a GPU, which one small network leaves mostly idle. Each network has its own images, order and best epoch. The
    results are those of :func:`train` up to rounding, unless the loss draws random numbers: these then differ.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Changed in place and moved to the device.
    loss, selection_loss
        See :func:`train`. :func:`torch.vmap` must be able to transform them.
    data : sequence of TrainingData
        One per network, with equal numbers of images.
    settings : TrainingSettings
    parameter_groups : list of dict
        The groups of the first network.

    Returns
    -------
    list of list of dict
        The history of each network. `seconds` is the time of an epoch of all networks, divided by their number.

    Raises
    ------
    ValueError
        The numbers of images differ; or see :func:`train`.
    FloatingPointError
        The loss of a network is not finite.
    Stopped
        Ctrl-C, after the first epoch: the networks have the weights of their best epochs.
    """
    sizes = [(len(part.images), len(part.validation_images)) for part in data]
    if len(networks) != len(data) or len(set(sizes)) != 1:
        raise ValueError(
            "training side by side needs one data set per network, all with the same number of images; got "
            f"{len(networks)} networks and (training, validation) images {sizes}"
        )
    check_training(networks[0], settings)
    for network in networks:
        network.to(resolve_device(settings.device))
    return _train(Stacked(networks, parameter_groups), loss, data, settings, selection_loss)


def check_training(network: nn.Module, settings: TrainingSettings) -> None:
    """Raise a ValueError for wrong settings, also for those that do not fit the network."""
    settings.check_settings()
    if settings.batch_size == 1 and any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()
    ):
        raise ValueError("batch_size must be >= 2 for a network with batch normalisation; got 1")


_Networks = Single | Stacked


@dataclass
class _Progress:
    """The training progress of one network."""

    history: History = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0

    def is_best(self, validation_loss: float) -> bool:
        return not self.best or validation_loss < self.history[self.best_epoch - 1]["validation_loss"]

    def has_ended(self, patience: int) -> bool:
        return len(self.history) - self.best_epoch >= patience


def _train(
    networks: _Networks,
    loss: Loss,
    data: Sequence[TrainingData],
    settings: TrainingSettings,
    selection_loss: Loss,
    milestones: Sequence[int] = (),
    one_cycle: bool = False,
) -> list[History]:
    device, description = resolve_device(settings.device), type(settings).__name__
    training = _Sets([(part.images, part.labels) for part in data], device)
    validation = _Sets([(part.validation_images, part.validation_labels) for part in data], device)
    steps = _steps(training.size, settings.batch_size)
    kind = torch.optim.AdamW if one_cycle else torch.optim.Adam
    optimizer = kind(networks.groups, lr=settings.learning_rate, fused=True)
    schedule: torch.optim.lr_scheduler.LRScheduler = (
        torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.epochs * steps)
        if one_cycle
        else torch.optim.lr_scheduler.MultiStepLR(optimizer, [epoch * steps for epoch in milestones], gamma=0.2)
    )
    generators = [torch.Generator().manual_seed(part.seed) for part in data]
    progress = [_Progress() for _ in data]
    epochs = range(1, settings.epochs + 1)
    bar = tqdm(epochs, desc=description, unit="epoch", disable=None if settings.verbose else True)
    try:
        for epoch in bar:
            start = time.perf_counter()
            train_losses = _train_epoch(networks, loss, training, optimizer, schedule, generators, settings)
            validation_losses = mean_losses(networks, selection_loss, validation)
            seconds = (time.perf_counter() - start) / len(data)
            for index, (one, train_loss, validation_loss) in enumerate(
                zip(progress, train_losses, validation_losses, strict=True)
            ):
                if one.has_ended(settings.patience):
                    continue
                if not train_loss < float("inf") or not validation_loss < float("inf"):
                    raise FloatingPointError(
                        f"{description}: the loss became {train_loss} (training), {validation_loss} (validation) in "
                        f"epoch {epoch}; try a learning_rate below {settings.learning_rate}"
                    )
                if one.is_best(validation_loss):
                    one.best, one.best_epoch = networks.state(index), epoch
                one.history.append(
                    {
                        "epoch": epoch,
                        "train_loss": train_loss,
                        "validation_loss": validation_loss,
                        "seconds": seconds,
                    }
                )
            bar.set_postfix(train=f"{train_losses[0]:.4g}", validation=f"{validation_losses[0]:.4g}")
            if all(one.has_ended(settings.patience) for one in progress):
                break
    except KeyboardInterrupt:
        if not all(one.best for one in progress):
            raise
        networks.load([one.best for one in progress])
        raise Stopped(description, [one.history for one in progress], [one.best_epoch for one in progress]) from None
    finally:
        bar.close()
    networks.load([one.best for one in progress])
    return [one.history for one in progress]


def _train_epoch(
    networks: _Networks,
    loss: Loss,
    sets: "_Sets",
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generators: Sequence[torch.Generator],
    settings: TrainingSettings,
) -> list[float]:
    """Train for one pass over the images and return the mean loss of each network."""
    networks.train(True)
    total = torch.zeros(len(generators), device=sets.device)
    orders = [_batches(sets.size, settings.batch_size, generator) for generator in generators]
    for batches in zip(*orders, strict=True):
        images, labels = sets.part([batch.to(sets.device) for batch in batches])
        optimizer.zero_grad(set_to_none=True)
        with arithmetic(settings.precision, sets.device):
            values = networks.losses(loss, images, labels)
            values.sum().backward()
        optimizer.step()
        schedule.step()
        total += values.detach() * len(batches[0])
    return [value / sets.size for value in total.tolist()]


@torch.no_grad()
def mean_losses(networks: _Networks, loss: Loss, sets: "_Sets") -> list[float]:
    """Return the mean loss of each network in evaluation mode. Gradients are off unless the loss enables them."""
    networks.train(False)
    total = [0.0] * len(sets.images)
    for start in range(0, sets.size, _EVALUATION_BATCH):
        images, labels = sets.part([slice(start, start + _EVALUATION_BATCH)] * len(total))
        values = networks.losses(loss, images, labels).tolist()
        total = [sum_ + value * len(images[0]) for sum_, value in zip(total, values, strict=True)]
    return [sum_ / sets.size for sum_ in total]


class _Sets:
    """Images and labels on a device: one set per network, all of the same size."""

    def __init__(self, sets: Sequence[tuple[Tensor, Tensor | None]], device: torch.device) -> None:
        self.images = [images.to(device) for images, _ in sets]
        self.labels = [labels.to(device) for _, labels in sets if labels is not None]
        self.size, self.device = len(self.images[0]), device

    def part(self, indices: Sequence[Tensor | slice]) -> tuple[list[Tensor], list[Tensor] | None]:
        """Return float images of each set, and their labels if there are any."""
        images = [as_float(images[index]) for images, index in zip(self.images, indices, strict=True)]
        if not self.labels:
            return images, None
        return images, [labels[index] for labels, index in zip(self.labels, indices, strict=True)]


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Set the precision of products in training steps. Weights and Adam's state are always float32.

    Parameters
    ----------
    precision : {"float32", "tf32", "bf16"}
        "float32": full precision. "tf32": matrix products and convolutions on an NVIDIA GPU round their factors to 10
        bits of mantissa; nothing changes on a CPU. "bf16": PyTorch's autocast to bfloat16, 7 bits of mantissa.
    device : torch.device
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def as_float(images: Tensor) -> Tensor:
    """Return images as the networks expect them: float32 in [0, 1], in channels-last memory."""
    if images.dtype == torch.uint8:
        images = images.float() / 255
    return images.contiguous(memory_format=torch.channels_last)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return a PyTorch device by its name; "auto" is a CUDA device if there is one, else the CPU.

    Raises
    ------
    ValueError
        The device does not exist here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError("it is no name of a device")
        if torch.device(device).type == "meta":
            raise TypeError("it holds no values")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f'device {device!r} is not usable here; choose "auto" or "cpu": {error}') from error


def _steps(n: int, batch_size: int) -> int:
    """Return the number of batches that :func:`_batches` makes."""
    return -(-n // batch_size) - (n > batch_size and n % batch_size == 1 % batch_size)


def _batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Return random batches of all indices. A single last image joins the batch before: batch norm needs two images."""
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches
