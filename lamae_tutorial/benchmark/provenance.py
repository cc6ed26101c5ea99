"""Provenance of results: versions, commit, device and threads."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("lamae-tutorial", "torch", "torchvision", "numpy", "scikit-learn")


def provenance(device: torch.device) -> dict[str, Any]:
    """Return versions, commit of the checkout (None outside a checkout), device, processor and threads, for JSON.

    The numbers depend on the processor too: PyTorch's kernels differ with its instruction set.
    """
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "versions": versions,
        "commit": _commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }


@cache
def _processor() -> str:
    """Return the processor's model, as far as the system tells it, and the instruction set that PyTorch uses."""
    names = Path("/proc/cpuinfo")  # Linux; `platform.processor` has no model there
    lines = names.read_text().splitlines() if names.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"


@cache  # later changes of files do not change the imported code
def _commit() -> str | None:
    """Return the checkout's commit, with "+changes" if files of this folder differ from it."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:
        # An installed copy may lie inside another project's checkout. The commit counts only if git tracks this file.
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changed.strip() else "")
