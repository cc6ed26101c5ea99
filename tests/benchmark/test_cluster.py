"""Cells on Dask workers, with real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch

from lamae_tutorial.benchmark.experiments import experiment_cells
from lamae_tutorial.benchmark.grid import Grid, dask_client, run_grid
from lamae_tutorial.benchmark.profiles import PROFILES

CELLS = experiment_cells("table3", PROFILES["smoke"], epochs=2)
TIMES = ("training_seconds",)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells without a cluster, computed on one thread as on a worker."""
    folder = tmp_path_factory.mktemp("plain")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_grid(CELLS, folder, device="cpu")
    torch.set_num_threads(threads)
    return folder


def assert_same(done: Grid, plain: Path) -> None:
    """Check that each cell ran once and that records and arrays equal those of the plain run bit for bit."""
    assert done.failed == []
    assert [path.name for path in done.finished] == [
        path.name for path in run_grid(CELLS, plain, device="cpu").finished
    ]
    for path in done.finished:
        assert record(path) == record(plain / path.name)
        with np.load(path.with_suffix(".npz")) as ours, np.load((plain / path.name).with_suffix(".npz")) as theirs:
            assert ours.files == theirs.files
            for name in ours.files:
                np.testing.assert_array_equal(ours[name], theirs[name])


def record(path: Path) -> dict[str, Any]:
    (content,) = json.loads(path.read_text())
    assert content["provenance"]["threads"] == 1
    return {key: value for key, value in content.items() if key not in TIMES}


def test_workers_on_this_machine(plain: Path, tmp_path: Path) -> None:
    with dask_client(2, None) as client:
        assert set(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == {None}  # Dask's default is slow
        done = run_grid(CELLS, tmp_path, device="cpu", client=client)
    assert_same(done, plain)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[Any]]]:
    started: list[subprocess.Popen[Any]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_worker_loses_no_cell(plain: Path, tmp_path: Path, processes: list[subprocess.Popen[Any]]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(*arguments: str) -> subprocess.Popen[Any]:
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:], "--no-dashboard"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (tmp_path / f"{len(processes)}.log").open("w") as log:
            processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return processes[-1]

    start("dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2])
    first, _ = [start("dask_worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1") for _ in "12"]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lamae_tutorial.cli", "benchmark", "table3", "--profile", "smoke", "--epochs", "2"]
    command += ["--scheduler", address, "--device", "cpu", "--out", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    processes.append(running)
    while len(list(out.glob("*.json"))) < 2:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert len(list(out.glob("*.json"))) < len(CELLS)
    lines = running.stderr.read()
    running.stderr.close()
    assert running.wait() == 0, lines
    assert lines.count("digits without 1, seed") == len(CELLS)
    assert_same(run_grid(CELLS, out, device="cpu"), plain)


def test_an_absent_scheduler_ends_with_an_error() -> None:
    patience = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with patience, pytest.raises(OSError, match="Timed out"), dask_client(None, "tcp://127.0.0.1:1"):
        pytest.fail("there is a scheduler")
