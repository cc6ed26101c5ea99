"""The command line `lamae`. Only the commands that need PyTorch import it, so `--help` answers at once."""

import argparse
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamae_tutorial import __version__
from lamae_tutorial.benchmark.experiments import EXPERIMENTS, CellSpec, ScenarioSpec, experiment_cells
from lamae_tutorial.benchmark.profiles import PROFILES
from lamae_tutorial.data.writing import check_file, make_folder, only_process, write_file

if TYPE_CHECKING:
    from lamae_tutorial.detectors import Detector

_DEFAULT_DETECTORS = "autoencoder,lamae"
_TITLE = "Out-of-distribution detection: ours beside the papers'"
_PROBLEMS = 3  # exit code
_MOST_SEEDS, _MOST_WORKERS = 10_000, 1_024
_BAD_INPUT = (
    *(ValueError, FileNotFoundError, FileExistsError),
    *(IsADirectoryError, NotADirectoryError, PermissionError),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0: success. 1: something failed while the command ran, e.g. a cell of a benchmark. 2: bad arguments, missing data or
    a folder that cannot be written. 3: some images could not be scored. 130: stopped by Ctrl-C. 141: nobody reads the
    output any more.

    Each error is one line on stderr. If the environment variable LAMAE_DEBUG is set to 1, its traceback is printed too.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold any bytes
    try:
        code = int(options.command(options) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("LAMAE_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        code, line = _told(error)
        works = _stdout_works()
        if isinstance(error, BrokenPipeError) and not works:
            return 141
        print(f"lamae {options.name}: {line}", file=sys.stderr)
        return code


def _told(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the line for an error."""
    line = re.sub(r"\s*\n\s*", " ", str(error).strip())
    if isinstance(error, KeyboardInterrupt):
        return 130, f"stopped; {line}" if line else "stopped"
    if isinstance(error, _BAD_INPUT):
        return 2, line or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the other one is PyTorch's
        return 1, f"not enough memory: {line}" if line else "not enough memory"
    if isinstance(error, OSError | FloatingPointError):
        return 1, line or type(error).__name__
    return 1, f"{type(error).__name__}: {line} (a fault of lamae: please report it; LAMAE_DEBUG=1 shows where it was)"


def _stdout_works() -> bool:
    """Whether what was printed can be written. If not, it is dropped, so that Python does not try again at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


class _Parser(argparse.ArgumentParser):
    """A parser that takes no empty texts: an unset variable of a shell is neither a name nor this folder."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("type", None, _text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lamae", description="Unsupervised out-of-distribution (OoD) detection with memory autoencoders."
    )
    parser.add_argument("--version", action="version", version=f"lamae-tutorial {__version__}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND", parser_class=_Parser)

    datasets = commands.add_parser("datasets", help="list the image sets and where they were found")
    datasets.add_argument("--download", metavar="NAME", help="download this set with torchvision")
    _add_data(datasets)
    datasets.set_defaults(command=_datasets)

    run = commands.add_parser("run", help="train detectors and print their AUROC beside the paper's")
    run.add_argument("--id", required=True, metavar="SET", help="in-distribution set: a name or a path")
    ood = run.add_mutually_exclusive_group(required=True)
    ood.add_argument("--held-out", metavar="CLASS", help="the class of that set that is OoD")
    ood.add_argument("--ood", type=_names, metavar="SET,...", help="other sets that are OoD")
    run.add_argument("--detectors", type=_names, default=_names(_DEFAULT_DETECTORS), metavar="NAME,...")
    run.add_argument(
        "--epochs", type=_positive, default=PROFILES["fast"].epochs, help="at most this many (default: %(default)s)"
    )
    run.add_argument("--seeds", type=_whole(1, _MOST_SEEDS), default=1, help="number of repeats (default: %(default)s)")
    run.add_argument("--protocol", choices=["balanced", "test-only"], default="balanced")
    _add_post_hoc(run)
    _add_data(run)
    _add_run(run)
    run.set_defaults(command=_run)

    benchmark = commands.add_parser(
        "benchmark",
        help="run a table or figure of the papers, or continue an interrupted run",
        description="Each finished cell (scenario, detector, seed) is kept in --out. "
        "If you run the command again, it continues with the missing cells.",
    )
    benchmark.add_argument("experiment", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    benchmark.add_argument(
        "--profile",
        choices=PROFILES,
        default="fast",
        help="smoke: 8 x 8 digits, takes seconds; mini: 5,000 digits of MNIST; fast: real data on a CPU; "
        "paper: full size (default: %(default)s)",
    )
    benchmark.add_argument("--seeds", type=_whole(1, _MOST_SEEDS), help="number of repeats (default: the profile's)")
    benchmark.add_argument("--epochs", type=_positive, help="at most this many (default: the profile's)")
    benchmark.add_argument("--detectors", type=_names, metavar="NAME,...", help="(default: the paper's detectors)")
    _add_post_hoc(benchmark)
    benchmark.add_argument("--out", type=_path, metavar="DIR", help="(default: runs/benchmark-PROFILE)")
    benchmark.add_argument("--retry-failed", action="store_true", help="run failed cells again")
    cluster = benchmark.add_mutually_exclusive_group()
    cluster.add_argument(
        "--workers", type=_whole(1, _MOST_WORKERS), metavar="N", help="number of Dask processes on this machine"
    )
    cluster.add_argument("--scheduler", metavar="ADDRESS", help="address of a Dask cluster, e.g. tcp://10.0.0.1:8786")
    cluster.add_argument("--side-by-side", action="store_true", help="train the seeds of a cell in one pass (GPU)")
    _add_data(benchmark)
    _add_device(benchmark)
    benchmark.set_defaults(command=_benchmark)

    report = commands.add_parser("report", help="show tables and figures of results, ours beside the papers'")
    report.add_argument(
        "paths", nargs="+", type=_path, metavar="DIR", help="folder of lamae benchmark or lamae run, or a record file"
    )
    report.add_argument("--format", choices=["markdown", "csv", "latex", "html"], default="markdown")
    report.add_argument(
        "--out", type=_path, metavar="FILE", help="write the report here, and its figures beside it as PNG and SVG"
    )
    report.set_defaults(command=_report)

    fit = commands.add_parser("fit", help="train and calibrate a detector on your own images, and save it")
    fit.add_argument(
        "--data", required=True, metavar="SET", help="a folder of images or of class folders, an .npz file, or a name"
    )
    fit.add_argument("--detector", default="lance", metavar="NAME", help="(default: %(default)s)")
    fit.add_argument("--out", type=_path, required=True, metavar="MODEL", help="a new folder, or a model to replace")
    fit.add_argument("--resize", type=_positive, metavar="N", help="bring the images of a folder to N x N")
    fit.add_argument(
        "--epochs", type=_positive, default=PROFILES["fast"].epochs, help="at most this many (default: %(default)s)"
    )
    fit.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, help="(default: %(default)s)")
    fit.add_argument("--score", metavar="KIND", help="score to calibrate, e.g. error+ (default: the detector's own)")
    fit.add_argument("--per-class", action="store_true", help="calibrate each predicted class separately")
    fit.add_argument(
        "--root",
        metavar="DIR",
        help="folder of the data, if --data is a name (default: LAMAE_DATA, else a cache folder)",
    )
    _add_device(fit)
    fit.set_defaults(command=_fit)

    score = commands.add_parser(
        "score",
        help="score images with a saved detector: a table with one row per image",
        description="Exit code 3: some files could not be scored; the table says why.",
    )
    score.add_argument("model", type=_path, metavar="MODEL", help="folder written by lamae fit")
    score.add_argument("input", metavar="INPUT", help="a folder, a quoted pattern, an image, an .npy or .npz file")
    score.add_argument("--out", type=_path, required=True, metavar="FILE", help="new .csv or .parquet file")
    score.add_argument("--detector", metavar="NAME", help="module:Class, if the model has a class of your own")
    score.add_argument("--alpha", type=float, default=0.05, help="share of false alarms (default: %(default)s)")
    score.add_argument("--report", type=_path, metavar="FILE", help="an .html page with the most suspicious images")
    score.add_argument("--resize", action="store_true", help="bring images of another size to the model's")
    score.add_argument("--resume", action="store_true", help="continue an interrupted run")
    score.add_argument("--batch-size", type=_positive, default=256, metavar="N", help="(default: %(default)s)")
    score.add_argument(
        "--workers",
        type=_whole(0, _MOST_WORKERS),
        default=2,
        metavar="N",
        help="decoder processes (default: %(default)s)",
    )
    _add_device(score)
    score.set_defaults(command=_score)

    book = commands.add_parser("book", help="run chapters of the book on other data or in full")
    book_run = book.add_subparsers(required=True, metavar="run").add_parser(
        "run",
        help="run copies of the chapters with papermill",
        description="The copies and their pictures are kept in --out.",
    )
    book_run.add_argument("chapter", nargs="?", metavar="CHAPTER", help="e.g. 3, lamae or 03_lamae (default: all)")
    book_run.add_argument("--profile", choices=["mini", "fast", "paper"], default="mini", help="(default: %(default)s)")
    book_run.add_argument("--out", type=_path, metavar="DIR", help="(default: runs/book-PROFILE)")
    book_run.add_argument(
        "--book", type=_path, metavar="DIR", help="the project's folder `book`, if it is not in this folder"
    )
    book_run.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="another parameter of the chapter",
    )
    _add_data(book_run)
    book_run.set_defaults(command=_book_run)

    grade = commands.add_parser(
        "grade",
        help="grade students' notebooks: a table of students and exercises",
        description="FOLDER has a folder for each student, or notebooks named STUDENT_CHAPTER.ipynb. "
        "If you run the command again, it continues with what is new.",
    )
    grade.add_argument("folder", type=_path, metavar="FOLDER")
    grade.add_argument("--out", type=_path, default=Path("runs/grades"), metavar="DIR", help="(default: %(default)s)")
    grade.add_argument(
        "--timeout", type=_positive, default=120, metavar="S", help="seconds for each notebook (default: %(default)s)"
    )
    grade.set_defaults(command=_grade)

    smoke = PROFILES["smoke"]
    demo = commands.add_parser(
        "demo", help=f"try autoencoder and LAMAE on {smoke.data_set} without the 1: no data needed"
    )
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
        post_hoc=False,
        data=None,
    )
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="folder of the data (default: LAMAE_DATA, else a cache folder)")


def _add_post_hoc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--post-hoc",
        action="store_true",
        help="also score each classifier's features with the detectors of pytorch-ood: KNN, ViM, ...",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_device(parser)
    parser.add_argument(
        "--out",
        type=_path,
        metavar="DIR",
        help="folder for the results; run the same command again to continue with the missing cells",
    )


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError("expected one name or more, separated by commas; got none")
    return names


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a name or a path; got nothing")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {lowest}; got {text[:50]!r}")
        if int(text) > highest:
            raise argparse.ArgumentTypeError(f"expected a whole number <= {highest}; got {text!r}")
        return int(text)

    return read


_positive = _whole(1, 1_000_000_000)


def _run(options: argparse.Namespace) -> int:
    from lamae_tutorial.benchmark import cells as one_cell
    from lamae_tutorial.benchmark import figures, grid, tables
    from lamae_tutorial.benchmark.records import check_same_data, read_records
    from lamae_tutorial.plots import to_png
    from lamae_tutorial.training.loop import resolve_device

    scenario = ScenarioSpec(options.id, options.held_out, tuple(options.ood or ()), options.protocol)
    cells = [
        CellSpec(scenario, name, seed, options.epochs, post_hoc=options.post_hoc)
        for seed in range(options.seeds)
        for name in options.detectors
    ]
    key_of = {cell: one_cell.cell_key(cell) for cell in cells}  # an unknown detector raises its error here
    resolve_device(options.device)
    images = one_cell.kept_scenario(scenario, 0, options.data)  # and so does a missing class or set
    with _folder(options.out) as folder:
        check_same_data([folder / f"{key}.json" for key in key_of.values()], images.data)
        done = grid.run_grid(cells, folder, root=options.data, device=options.device, retry_failed=True)
        if done.finished:
            print(tables.results_table(read_records(done.finished)))
            accuracy = tables.accuracy_line(done.finished)
            if accuracy:
                print(f"\nAccuracy on ID test images: {accuracy}")
        if options.out is not None and done.finished:
            of_seed_0 = [folder / f"{key}.json" for cell, key in key_of.items() if cell.seed == 0]
            drawn = [file for file in done.finished if file in of_seed_0]
            if drawn:
                write_file(folder / "figure.png", to_png(figures.run_figure(drawn)))
            print(f"\nWritten: {folder}: {len(done.finished)} cells (.json, .npz), figure.png")
    return _tell_failed(done.failed, "run the command again to retry")


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Yield the given folder, or a temporary one that is deleted afterwards."""
    if given is not None:
        make_folder(given)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _tell_failed(failed: Sequence[Path], advice: str) -> int:
    """Name the failed cells on stderr and return the exit code."""
    if failed:
        print(f"{len(failed)} cells failed ({advice}):", file=sys.stderr)
        for path in failed:
            print(f"  {path.name}", file=sys.stderr)
    return int(bool(failed))


def _benchmark(options: argparse.Namespace) -> int:
    from lamae_tutorial.benchmark import figures, grid, tables
    from lamae_tutorial.benchmark.cells import cell_key
    from lamae_tutorial.benchmark.comparisons import comparison_tables
    from lamae_tutorial.benchmark.records import read_records
    from lamae_tutorial.training.loop import resolve_device

    out = options.out or Path("runs") / f"benchmark-{options.profile}"
    make_folder(out / options.experiment)
    profile = PROFILES[options.profile]
    cells = experiment_cells(
        options.experiment,
        profile,
        seeds=options.seeds,
        epochs=options.epochs,
        detectors=options.detectors,
        post_hoc=options.post_hoc,
    )
    for cell in cells:
        cell_key(cell)  # an unknown detector raises its error here, before a cluster is started
    if options.scheduler is None:
        resolve_device(options.device)
    with grid.dask_client(options.workers, options.scheduler) as client:
        done = grid.run_grid(
            cells,
            out,
            root=options.data,
            device=options.device,
            retry_failed=options.retry_failed,
            side_by_side=options.side_by_side,
            client=client,
        )
    if done.finished:
        records = read_records(done.finished)
        print(tables.as_markdown([*comparison_tables(records), *tables.report_tables(records)]))
        files = figures.save_figures(figures.figures(records), out / options.experiment)
        print(f"\n{len(files)} figures in {out / options.experiment}")
    print(f"\n{len(done.finished)} of {len(cells)} cells finished, in {out}")
    return _tell_failed(done.failed, "run them again with --retry-failed")


def _report(options: argparse.Namespace) -> None:
    from lamae_tutorial.benchmark import figures, page, tables
    from lamae_tutorial.benchmark.comparisons import comparison_tables
    from lamae_tutorial.benchmark.records import read_records, record_files

    files = record_files(options.paths)
    if options.out is not None:
        make_folder(options.out.parent)
        check_file(options.out)
        if options.out.resolve() in {file.with_suffix(end).resolve() for file in files for end in (".json", ".npz")}:
            raise ValueError(f"{options.out} is an input of this report; name another file")
    records = read_records(files)
    drawn = figures.figures(records) if options.out is not None or options.format == "html" else {}
    if options.format == "csv":
        text = tables.as_csv(tables.aggregate(records))
    else:
        shown = [*comparison_tables(records), *tables.report_tables(records)]
        write = {"markdown": tables.as_markdown, "latex": tables.as_latex}
        text = page.as_html(_TITLE, shown, drawn) if options.format == "html" else write[options.format](shown)
    if options.out is None:
        print(text)
    else:
        write_file(options.out, text.encode())
        files = figures.save_figures(drawn, options.out.parent, prefix=f"{options.out.stem}-")
        print(f"Written: {options.out} and {len(files)} figures beside it")
    failed = [file for path in options.paths for file in sorted(path.glob("*.failed"))]
    for file in failed:
        print(f"left out, because it failed: {file}", file=sys.stderr)


def _fit(options: argparse.Namespace) -> None:
    from lamae_tutorial.benchmark.settings import new_detector
    from lamae_tutorial.detectors.storage import check_target

    detector = new_detector(
        options.detector, options.data, epochs=options.epochs, random_state=options.seed, device=options.device
    )
    check_target(options.out)
    detector.check_kind(options.score)
    make_folder(options.out.parent)
    with only_process(options.out):
        _fit_and_save(options, detector)


def _fit_and_save(options: argparse.Namespace, detector: "Detector") -> None:
    from lamae_tutorial.data import catalogue as datasets
    from lamae_tutorial.own_images.fit import fit_images

    size = None if options.resize is None else (options.resize, options.resize)
    images = datasets.training_images(options.data, options.root, size)
    print(images)
    try:
        fit_images(detector, images, kind=options.score, per_class=options.per_class, random_state=options.seed)
    except KeyboardInterrupt as stop:
        if not hasattr(detector, "network_"):
            raise
        print(f"lamae fit: {stop}", file=sys.stderr)
    detector.save(options.out.resolve())
    count, lowest = len(detector.calibration_.scores), detector.calibration_.lowest_alpha()
    print(f"Calibrated with {count} images that were not trained on; lowest alpha: {lowest:.4f}")
    print(f"Written: {options.out}. Now: lamae score {options.out} INPUT --out scores.csv")


def _score(options: argparse.Namespace) -> int:
    from lamae_tutorial.detectors import Detector, find_detector
    from lamae_tutorial.own_images import scoring, suspects

    if options.report is not None:
        if options.report.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{options.report}: the name of the page must end in .html")
        check_file(options.report)
    kind = Detector if options.detector is None else find_detector(options.detector)
    detector = kind.load(options.model, options.device)
    try:
        done = scoring.score_images(
            detector,
            options.input,
            options.out,
            alpha=options.alpha,
            batch_size=options.batch_size,
            workers=options.workers,
            resize=options.resize,
            resume=options.resume,
            ignore=[] if options.report is None else [options.report],
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("the same command with --resume goes on from here") from stop
    print(f"{done.images} images, {done.outliers} called OoD at alpha = {options.alpha:g}, {done.problems} not scored")
    print(f"Written: {options.out}")
    if options.report is not None:
        page = suspects.page_of_suspects(detector, options.input, done, options.alpha)
        write_file(options.report, page.encode())
        print(f"Written: {options.report}")
    return _PROBLEMS if done.problems else 0


def _book_run(options: argparse.Namespace) -> int:
    from lamae_tutorial.teaching import chapters as book

    folder = book.book_folder(options.book)
    notebooks = book.find_chapters(folder, options.chapter)
    parameters = book.read_profile(folder, options.profile) | book.parse_parameters(options.parameter)
    if options.data is not None:
        parameters["data_dir"] = str(Path(options.data).resolve())  # chapters run in their own folder
    runs = book.run_chapters(notebooks, options.out or Path("runs") / f"book-{options.profile}", parameters)
    for run in runs:
        print(f"{run.notebook}: {f'failed, {run.error}' if run.error else f'{len(run.pictures)} pictures'}")
    return int(any(run.error for run in runs))


def _grade(options: argparse.Namespace) -> None:
    from lamae_tutorial.benchmark.tables import text_table
    from lamae_tutorial.teaching import grading

    if not grading.isolated():
        print("this system has no namespaces for users: the notebooks have the network", file=sys.stderr)
    outcomes = grading.grade(options.folder, options.out, timeout=options.timeout)
    header, *rows = grading.grades(outcomes)
    print(text_table(header, rows))
    for each in outcomes:
        if not each.right:
            print(f"{each.file}: {each.exercise}{': ' if each.exercise else ''}{each.reason}")
    print(f"\nWritten: {options.out}: grades.csv, answers.csv")


def _datasets(options: argparse.Namespace) -> None:
    from lamae_tutorial.benchmark.tables import text_table
    from lamae_tutorial.data import catalogue as datasets
    from lamae_tutorial.data.readers import npz_count
    from lamae_tutorial.data.synthetic import SYNTHETIC

    root = datasets.data_root(options.data)
    if options.download is not None:
        datasets.load_images(options.download, "test", root, download=True)
    entries = [
        (name, own.shape, [own.train, own.test], f"embedded in {own.package}")
        for name, own in datasets.EMBEDDED.items()
    ]
    for name, spec in datasets.DATA_SETS.items():
        counts, where = [spec.train, spec.test], datasets.found(name, root)
        if where is not None and where.suffix == ".npz":
            counts = [npz_count(where, "x_train"), npz_count(where, "x_test")]
        place = datasets.how_to_get(name, root) if where is None else str(where)
        entries.append((name, spec.shape, counts, place))
    rows = [
        [name, " x ".join(map(str, shape)), " + ".join(map(str, counts)), place]
        for name, shape, counts, place in entries
    ]
    rows += [[name, "any", "any", "made when asked for"] for name in SYNTHETIC]
    print(f"Data folder: {root}\n")
    print(text_table(["name", "shape", "train + test", "where, or how to get it"], rows))


if __name__ == "__main__":
    sys.exit(main())
