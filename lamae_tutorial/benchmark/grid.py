"""Run many cells. Each finished cell has its own files, so an interrupted run can be continued.

The names of the files contain a hash of scenario, detector, recipe, settings, seed and epochs: a changed setting makes
a new cell. `KEY.npz` (the scores) is written before `KEY.json` (the record), each under a temporary name first. If the
record exists, the cell is finished. `KEY.failed` holds the error of a failed cell. The cells run one after the other,
or on the workers of a Dask cluster, which send their results to this process.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lamae_tutorial.benchmark.baselines import check_post_hoc
from lamae_tutorial.benchmark.cells import Outcome, cell_key, compute, compute_together, forget_images
from lamae_tutorial.benchmark.experiments import CellSpec
from lamae_tutorial.benchmark.records import Result, read_records, write_cell
from lamae_tutorial.data.catalogue import DATA_SETS, data_root, found, how_to_get
from lamae_tutorial.data.writing import make_folder, only_process, readable, write_file
from lamae_tutorial.detectors import find_detector
from lamae_tutorial.detectors.together import can_fit_together

_Results = Iterator[tuple[CellSpec, Callable[[], Outcome]]]

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Grid:
    """The outcome of a run.

    Attributes
    ----------
    finished, failed : list of Path
        The `.json` and `.failed` files, in the order of the cells.
    """

    finished: list[Path]
    failed: list[Path]


def run_grid(
    cells: Sequence[CellSpec],
    folder: Path,
    *,
    root: str | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    side_by_side: bool = False,
    client: Any = None,
) -> Grid:
    """Run the cells that are not in the folder yet. A failing cell does not stop the others.

    Parameters
    ----------
    cells : sequence of CellSpec
    folder : Path
        Created if it does not exist. It may also hold other cells.
    root : str, optional
        Folder of the data, see :func:`lamae_tutorial.load_images`.
    device : str
        See :class:`lamae_tutorial.Detector`.
    retry_failed : bool
        Run cells again that failed before.
    side_by_side : bool
        Train cells that differ only in their seed together, if the detector allows it: see
        :func:`lamae_tutorial.detectors.together.fit_together`. Ignored on a cluster.
    client : distributed.Client, optional
        Run the cells on its workers. If `device` is a CUDA device, each cell needs the worker resource GPU=1.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError, FileNotFoundError
        A detector does not exist, data are missing (without a client), a finished cell is damaged, another process
        writes to this folder, or post-hoc detectors cannot be used. Nothing has run yet.
    OSError
        The results cannot be written, or the cluster was lost. Finished cells are kept.
    """
    keys = {cell: cell_key(cell) for cell in cells}
    check_post_hoc(cells)
    if client is None:
        _check_data(cells, data_root(root))
    make_folder(folder)

    def done(cell: CellSpec) -> bool:
        failed_before = (folder / f"{keys[cell]}.failed").exists() and not retry_failed
        return failed_before or (folder / f"{keys[cell]}.json").exists()

    with only_process(folder, inside=True):
        read_records(file for key in dict.fromkeys(keys.values()) if (file := folder / f"{key}.json").exists())
        waiting = list({keys[cell]: cell for cell in cells if not done(cell)}.values())
        total = len(set(keys.values()))
        if client is not None:
            results = _on_cluster(waiting, root, device, client)
        elif side_by_side:
            results = _side_by_side(waiting, root, device)
        else:
            results = _in_turn(waiting, root, device)
        with tqdm(total=total, initial=total - len(waiting), desc="cells", unit="cell", disable=None) as progress:
            for cell, outcome in results:
                key = keys[cell]
                try:
                    record, arrays = outcome()
                except Exception as error:
                    failure = {"cell": asdict(cell), "error": f"{type(error).__name__}: {error}"}
                    failure["traceback"] = "".join(traceback.format_exception(error))
                    write_file(folder / f"{key}.failed", json.dumps(failure, indent=1).encode())
                    line = f"{key} failed: {failure['error']}"
                else:
                    write_cell(folder, key, record, arrays)
                    (folder / f"{key}.failed").unlink(missing_ok=True)
                    seconds = record["training_seconds"]
                    line = f"{_line([Result(**result) for result in record['results']])} ({seconds:.0f} s)"
                progress.update()
                progress.write(readable(line), file=sys.stderr)
    forget_images()
    files = dict.fromkeys(folder / key for key in keys.values())
    records = [file.with_name(f"{file.name}.json") for file in files]
    return Grid(
        finished=[record for record in records if record.exists()],
        failed=[record.with_suffix(".failed") for record in records if not record.exists()],
    )


@contextmanager
def dask_client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield a Dask client of `workers` new processes or of the cluster at this address; None if neither is given."""
    if workers is None and scheduler is None:
        yield None
        return
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError("a cluster needs Dask; install it: pip install 'lamae-tutorial[cluster]'") from error
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    # No memory limit: Dask would kill training that exceeds it. Dask also makes malloc return freed memory at once, and
    # page faults then took half of the time (speed/dask_memory.py). Without that setting the next batch reuses memory.
    with config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}):
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


def _in_turn(cells: Sequence[CellSpec], root: str | None, device: str) -> _Results:
    for cell in cells:
        yield cell, lambda cell=cell: compute(cell, root, device)  # type: ignore[misc]


def _side_by_side(cells: Sequence[CellSpec], root: str | None, device: str) -> _Results:
    groups: dict[CellSpec, list[CellSpec]] = {}
    for cell in cells:
        together = can_fit_together(find_detector(cell.detector))
        groups.setdefault(replace(cell, seed=0) if together else cell, []).append(cell)
    for group in groups.values():
        if len(group) == 1:
            yield from _in_turn(group, root, device)
            continue
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = compute_together(group, root, device)
        except Exception as error:
            outcomes = [error] * len(group)
        for cell, outcome in zip(group, outcomes, strict=True):
            yield cell, partial(_given, outcome)


def _given(outcome: Outcome | Exception) -> Outcome:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _on_cluster(cells: Sequence[CellSpec], root: str | None, device: str, client: Any) -> _Results:
    from distributed import as_completed

    resources = {"GPU": 1} if device.startswith("cuda") else None
    cell_of = {
        client.submit(_compute_on_worker, cell, root, device, pure=False, resources=resources): cell for cell in cells
    }
    for future in as_completed(list(cell_of)):
        if future.cancelled():
            raise ConnectionError("the Dask scheduler was lost; run the same command again: finished cells are kept")
        yield cell_of.pop(future), future.result


def _compute_on_worker(cell: CellSpec, root: str | None, device: str) -> Outcome:
    # One cell at a time, because the seeds belong to the process. One thread each, to avoid oversubscription.
    with _one_at_a_time:
        torch.set_num_threads(1)
        return compute(cell, root, device)


def _check_data(cells: Sequence[CellSpec], root: Path) -> None:
    names = dict.fromkeys(name for cell in cells for name in (cell.scenario.id, *cell.scenario.ood))
    missing = [name for name in names if name in DATA_SETS and found(name, root) is None]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)}: not found in {root}. Get them:\n"
            + "".join(f"  {how_to_get(name, root)}\n" for name in missing)
            + "If you have them, name their folder with LAMAE_DATA or --data."
        )


def _line(results: Sequence[Result]) -> str:
    """Describe a cell in one line, with the AUROC in percent of the detector's default score."""
    default = [result for result in results if result.score == result.default_score]
    first = default[0]
    title = f"{first.title} [{first.variant}]" if first.variant else first.title
    areas = ", ".join(f"{result.ood} {100 * result.auroc:.1f}" for result in default)
    return f"{first.scenario}, seed {first.seed}, {title}, AUROC: {areas}"
