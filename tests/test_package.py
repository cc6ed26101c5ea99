"""The sdist and the wheel, built as for a release and installed outside the checkout."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# Without these variables, only the wheel's package and its dependencies can be imported.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LAMAE_DATA")}


def run(*command: str | Path, **settings: object) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **{"env": ENVIRONMENT, **settings})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist and the wheel built from it, by the command of .github/workflows/release.yml."""
    tools, out = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tools, "build"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip("needs pip and the package index")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, env={**ENVIRONMENT, "PYTHONPATH": str(tools)})
    return out


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with only the wheel and its dependencies, which are linked from this environment."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("lamae_tutorial-*.dist-info")
    for found in required(Distribution.at(metadata), set(), set()):
        for name in {path.parts[0] for path in found.files or []} - {"..", "__pycache__"}:
            if not (packages / name).exists():  # the nvidia packages share a folder
                (packages / name).symlink_to(found.locate_file(name))
    return folder


def required(of: Distribution, extras: set[str], seen: set[str]) -> Iterator[Distribution]:
    """Yield the installed requirements of a distribution, and their requirements."""
    for requirement in map(Requirement, of.requires or []):
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})
        if wanted and str(requirement) not in seen:
            seen.add(str(requirement))
            found = distribution(requirement.name)
            yield found
            yield from required(found, requirement.extras, seen)


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    code = "import lamae_tutorial, pathlib; print(pathlib.Path(lamae_tutorial.__file__).parent)"
    package = Path(run(installed / "bin" / "python", "-c", code, cwd=installed).strip())
    assert package.is_relative_to(installed)

    def files(folder: Path) -> set[Path]:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path for path in found if "__pycache__" not in path.parts}

    results, models = ROOT / "book/results", ROOT / "book/models"
    shown = {"results" / path.relative_to(results) for path in [results / "fast.md", *results.glob("*/*.json")]}
    shown |= {"models" / path for path in files(models)}
    assert files(package) == files(ROOT / "lamae_tutorial") | shown
    assert {Path("benchmark/reported/lamae.csv"), Path("data/mini_mnist.npz"), Path("data/mini_mnist.md")} <= files(
        package
    )


def test_every_module_needs_only_the_declared_dependencies(installed: Path) -> None:
    code = """
import importlib, pkgutil, lamae_tutorial
for module in pkgutil.walk_packages(lamae_tutorial.__path__, "lamae_tutorial."):
    importlib.import_module(module.name)
print([getattr(lamae_tutorial, name) for name in lamae_tutorial.__all__])
"""
    assert "LAMAE" in run(installed / "bin" / "python", "-c", code, cwd=installed)


def test_the_sdist_holds_the_package_and_its_papers_alone(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    papers = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    assert top == {"lamae_tutorial", "book", *papers, "pyproject.toml", "PKG-INFO", ".gitignore"}


def test_the_command_runs_in_a_bare_environment(installed: Path) -> None:
    lamae = installed / "bin" / "lamae"
    assert "demo" in run(lamae, "--help", cwd=installed)
    shown = run(lamae, "demo", cwd=installed)
    assert all(name in shown for name in ("AE", "LAMAE", "AUROC")), shown
