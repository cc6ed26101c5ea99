"""Effect of Dask's malloc setting on the training time on a worker of this machine.

There are two workers: one started as Dask does it, one as `lamae benchmark --workers` does it. They run the same epoch
in turn, so both see the same load.

    python speed/dask_memory.py
"""

import argparse
import resource
import statistics
import time

import torch
from distributed import Client, LocalCluster

from lamae_tutorial.benchmark.grid import dask_client
from lamae_tutorial.detectors import DETECTORS


def epoch(detector: str, count: int) -> tuple[float, int]:
    """Train for one epoch; return the seconds and the number of page faults."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 10
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    DETECTORS[detector](epochs=1, random_state=0, device="cpu", verbose=False).fit(images, labels)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["autoencoder", "lamae"], choices=DETECTORS)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (
        dask_client(1, None) as ours,  # first: Dask sets the variable in this process too
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster,
        Client(cluster) as dasks,
    ):
        for name in options.detectors:

            def run(client: Client, name: str = name) -> tuple[float, int]:
                return client.submit(epoch, name, options.images, pure=False).result()

            run(dasks), run(ours)  # warm-up
            rounds = [(run(dasks), run(ours)) for _ in range(options.rounds)]
            ratios = [theirs[0] / mine[0] for theirs, mine in rounds]
            faults = [round(statistics.median(part[which][1] for part in rounds)) for which in (0, 1)]
            print(
                f"{name:12} Dask's setting / ours: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}); page faults {faults[0]:,} and {faults[1]:,}"
            )


if __name__ == "__main__":
    main()
