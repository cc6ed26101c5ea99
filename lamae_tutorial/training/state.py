"""PyTorch's global state while a detector trains, scores or is loaded: its random generators and its defaults."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from lamae_tutorial.training.loop import resolve_device

_seeding = threading.RLock()  # PyTorch's global generators belong to one thread at a time


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed PyTorch's global generators inside the context, and restore their state afterwards.

    Only one thread at a time can be inside; others wait.
    """
    used = resolve_device(device)
    on_cuda = used.type == "cuda"
    with _seeding, torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_cuda else []):
        if used.type == "cpu":
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would change the GPUs' generators too
        else:
            torch.manual_seed(seed)
        yield


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside the context PyTorch is as after its import: float32, the CPU, gradients, no inference mode."""
    new = torch.empty(0)  # shows how PyTorch is; only what differs is changed, because each change takes time
    with ExitStack() as changes:
        if torch.is_inference_mode_enabled():
            changes.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            changes.enter_context(torch.enable_grad())
        if new.device.type != "cpu":
            changes.enter_context(torch.device("cpu"))
        if new.dtype != torch.float32:
            changes.callback(torch.set_default_dtype, new.dtype)
            torch.set_default_dtype(torch.float32)
        yield
