"""The training loop: batches, device, early stopping on in-distribution validation, best weights kept.

It knows no detector: it gets a network and functions that give its loss. Images stay in memory as one tensor (on the
GPU where there is one) and are turned to float a batch at a time, which is what makes it faster than a DataLoader that
opens one image after the other (`benchmarks/training_throughput.py`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from tqdm import tqdm


class Stopped(KeyboardInterrupt):
    """Training was stopped by Ctrl-C after its first epoch; the network has the weights of its best epoch."""

    def __init__(self, description: str, history: list[dict[str, Any]], best_epoch: int) -> None:
        super().__init__(f"{description} was stopped in epoch {len(history) + 1}; it has the weights of {best_epoch}")
        self.history = history


Loss = Callable[[nn.Module, Tensor, Tensor | None], Tensor]
Precision = Literal["float32", "tf32", "bf16"]

_EVALUATION_BATCH = 1024


def train(
    network: nn.Module,
    parameter_groups: list[dict[str, Any]],
    loss: Loss,
    images: Tensor,
    labels: Tensor | None,
    validation_images: Tensor,
    validation_labels: Tensor | None,
    *,
    selection_loss: Loss,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int,
    precision: Precision,
    seed: int,
    device: torch.device,
    description: str,
    verbose: bool,
    milestones: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Train in place with Adam and leave the network with the weights of its best epoch, in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place and moved to `device`.
    parameter_groups : list of dict
        Its parameters as :class:`torch.optim.Adam` takes them.
    loss, selection_loss : callable (network, float images (B, C, H, W), labels (B,) or None) -> scalar tensor
        The mean loss of a batch: what is minimised, and what the best epoch is chosen by on the validation images.
    images, validation_images : uint8 or float tensor (N, C, H, W)
    labels, validation_labels : int64 tensor (N,) or None
    epochs, batch_size, learning_rate
        At most `epochs` passes.
    patience : int
        Stop after so many epochs without a lower validation loss.
    precision : {"float32", "tf32", "bf16"}
        See :func:`arithmetic`.
    seed : int
        Of the order of the images.
    device : torch.device
    description : str
        Of the progress bar, which is shown on a terminal if `verbose`.
    milestones : sequence of int
        The learning rate is divided by 5 after each of these epochs.

    Returns
    -------
    list of dict
        One entry an epoch: epoch (from 1), train_loss, validation_loss, seconds.

    Raises
    ------
    FloatingPointError
        The loss is no longer finite.
    Stopped
        Ctrl-C, after the first epoch: the network has the weights of its best epoch.
    """
    network.to(device).to(memory_format=torch.channels_last)
    images, labels = _moved(images, labels, device)
    validation = _moved(validation_images, validation_labels, device)
    optimizer = torch.optim.Adam(parameter_groups, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma=0.2)
    generator = torch.Generator().manual_seed(seed)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    best_epoch = 0
    progress = tqdm(range(1, epochs + 1), desc=description, unit="epoch", disable=None if verbose else True)
    try:
        for epoch in progress:
            start = time.perf_counter()
            network.train()
            total = torch.zeros((), device=device)
            for batch in _batches(len(images), batch_size, generator):
                batch = batch.to(device)
                optimizer.zero_grad(set_to_none=True)
                with arithmetic(precision, device):
                    value = loss(network, as_float(images[batch]), None if labels is None else labels[batch])
                    value.backward()
                optimizer.step()
                total += value.detach() * len(batch)
            schedule.step()
            train_loss = float(total) / len(images)
            validation_loss = mean_loss(network, selection_loss, *validation)
            if not train_loss < float("inf") or not validation_loss < float("inf"):
                raise FloatingPointError(
                    f"{description}: the loss became {train_loss} (training), {validation_loss} (validation) in epoch "
                    f"{epoch}; try a lower learning_rate than {learning_rate}"
                )
            history.append(
                {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    "validation_loss": validation_loss,
                    "seconds": time.perf_counter() - start,
                }
            )
            progress.set_postfix(train=f"{train_loss:.4g}", validation=f"{validation_loss:.4g}")
            if not best or validation_loss < history[best_epoch - 1]["validation_loss"]:
                best = {name: value.detach().clone() for name, value in network.state_dict().items()}
                best_epoch = epoch
            if epoch - best_epoch >= patience:
                break
    except KeyboardInterrupt:
        if not best:
            raise
        network.load_state_dict(best)
        network.eval()
        raise Stopped(description, history, best_epoch) from None
    finally:
        progress.close()
    network.load_state_dict(best)
    network.eval()
    return history


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """How the steps of training multiply. Weights and Adam's state are float32 always.

    Parameters
    ----------
    precision : {"float32", "tf32", "bf16"}
        "float32": in full. "tf32": matrix products and convolutions on an NVIDIA GPU round their factors to 10 bits of
        mantissa; nothing changes on a CPU. "bf16": PyTorch's autocast to bfloat16, 7 bits of mantissa.
    device : torch.device

    Raises
    ------
    ValueError
        `precision` is none of these.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@torch.no_grad()
def mean_loss(network: nn.Module, loss: Loss, images: Tensor, labels: Tensor | None) -> float:
    """Mean of a loss over images, in evaluation mode and without gradients, unless the loss itself enables them."""
    network.eval()
    total = 0.0
    for start in range(0, len(images), _EVALUATION_BATCH):
        part = slice(start, start + _EVALUATION_BATCH)
        value = loss(network, as_float(images[part]), None if labels is None else labels[part])
        total += float(value) * len(images[part])
    return total / len(images)


def as_float(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1] in channels-last memory: what networks take."""
    if images.dtype == torch.uint8:
        images = images.float() / 255
    return images.contiguous(memory_format=torch.channels_last)


def resolve_device(device: str) -> torch.device:
    """A PyTorch device by its name; "auto" is a CUDA device if there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not usable here: {error}") from error


def _moved(images: Tensor, labels: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor | None]:
    return images.to(device), None if labels is None else labels.to(device)


def _batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Random batches of all indices; a last batch of one joins its neighbour, for batch normalisation needs two."""
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches
