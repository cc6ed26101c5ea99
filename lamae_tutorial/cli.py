"""The command line `lamae`. PyTorch is imported by the commands that need it, so that `--help` answers at once."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lamae_tutorial import __version__
from lamae_tutorial.profiles import PROFILES

_DEFAULT_DETECTORS = "autoencoder,lamae"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0; 2 for bad arguments, data that are not there and folders that cannot be written; 1 for what fails on the way;
    130 when stopped by Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, FileNotFoundError, FileExistsError, PermissionError) as error:
        print(f"lamae {options.name}: {error}", file=sys.stderr)
        return 2
    except (OSError, FloatingPointError) as error:
        print(f"lamae {options.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"lamae {options.name}: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lamae", description="Unsupervised out-of-distribution (OoD) detection with memory autoencoders."
    )
    parser.add_argument("--version", action="version", version=f"lamae-tutorial {__version__}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    datasets = commands.add_parser("datasets", help="list the image sets and where they were found")
    datasets.add_argument("--download", metavar="NAME", help="fetch this set through torchvision")
    _add_data(datasets)
    datasets.set_defaults(command=_datasets)

    run = commands.add_parser("run", help="train detectors and print their AUROC beside the paper's")
    run.add_argument("--id", required=True, metavar="SET", help="in-distribution set: a name or a path")
    ood = run.add_mutually_exclusive_group(required=True)
    ood.add_argument("--held-out", metavar="CLASS", help="the class of that set which is OoD")
    ood.add_argument("--ood", type=_names, metavar="SET,...", help="other sets which are OoD")
    run.add_argument("--detectors", type=_names, default=_names(_DEFAULT_DETECTORS), metavar="NAME,...")
    run.add_argument("--epochs", type=_positive, default=PROFILES["fast"].epochs, help="at most (default: %(default)s)")
    run.add_argument("--seeds", type=_positive, default=1, help="number of repeats (default: %(default)s)")
    run.add_argument("--protocol", choices=["balanced", "test-only"], default="balanced")
    _add_data(run)
    _add_run(run)
    run.set_defaults(command=_run)

    smoke = PROFILES["smoke"]
    demo = commands.add_parser("demo", help=f"autoencoder and LAMAE on {smoke.data_set} without the 1: no data needed")
    _add_run(demo)
    demo.set_defaults(
        command=_run,
        id=smoke.data_set,
        held_out="1",
        ood=None,
        detectors=_names(_DEFAULT_DETECTORS),
        epochs=smoke.epochs,
        seeds=smoke.seeds,
        protocol="balanced",
        data=None,
    )
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="folder of the data (default: LAMAE_DATA, else a cache folder)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder for results.json, scores.npz, figure.png")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected one name or more, separated by commas")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1; got {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    from lamae_tutorial import benchmark, plots, report, scenarios
    from lamae_tutorial.detectors import DETECTORS
    from lamae_tutorial.training import resolve_device

    unknown = [name for name in options.detectors if name not in DETECTORS]
    if unknown:
        raise ValueError(f"unknown detector {', '.join(unknown)}; there are {', '.join(DETECTORS)}")
    resolve_device(options.device)
    if options.out is not None:
        benchmark.check_new_folder(options.out)

    def scenario(seed: int) -> scenarios.Scenario:
        settings = {"protocol": options.protocol, "random_state": seed, "root": options.data}
        if options.ood is not None:
            return scenarios.cross_dataset(options.id, options.ood, **settings)
        return scenarios.leave_one_class_out(options.id, options.held_out, **settings)

    cells = []
    for cell in benchmark.run_cells(
        scenario,
        options.detectors,
        range(options.seeds),
        epochs=options.epochs,
        device=options.device,
    ):
        cells.append(cell)
        auroc = ", ".join(
            f"{result.ood} {100 * result.auroc:.1f}"
            for result in cell.results
            if result.detector == cell.detector.title
        )
        print(f"seed {cell.seed}, {cell.detector.title}, AUROC: {auroc}", file=sys.stderr, flush=True)
    print(report.results_table([result for cell in cells for result in cell.results]))
    accuracy = report.accuracy_line(cells)
    if accuracy:
        print(f"\nAccuracy on ID test images: {accuracy}")
    if options.out is not None:
        figure = plots.run_figure([cell for cell in cells if cell.seed == 0])
        benchmark.write_run(options.out, cells, plots.to_png(figure))
        print(f"\nWritten: {options.out}/results.json, scores.npz, figure.png")


def _datasets(options: argparse.Namespace) -> None:
    from lamae_tutorial import datasets, report

    root = datasets.data_root(options.data)
    if options.download is not None:
        datasets.load_images(options.download, "test", root, download=True)
    rows = [["digits", "1 x 8 x 8", "1437 + 360", "embedded in scikit-learn"]]
    for name, spec in datasets.DATA_SETS.items():
        counts, where = [spec.train, spec.test], datasets.found(name, root)
        if where is not None and where.suffix == ".npz":
            counts = [datasets.npz_count(where, "x_train"), datasets.npz_count(where, "x_test")]
        place = datasets.how_to_get(name, root) if where is None else str(where)
        rows.append([name, " x ".join(map(str, spec.shape)), " + ".join(map(str, counts)), place])
    rows += [[name, "any", "any", "made when asked for"] for name in datasets.SYNTHETIC]
    print(f"Data folder: {root}\n")
    print(report.text_table(["name", "shape", "train + test", "where, or how to get it"], rows))


if __name__ == "__main__":
    sys.exit(main())
