"""The files of the project agree with each other."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

import lamae_tutorial
from lamae_tutorial.benchmark.comparisons import comparison_tables
from lamae_tutorial.benchmark.records import read_records, read_results, record_files
from lamae_tutorial.benchmark.tables import as_markdown, report_tables, results_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pinned() -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in text("constraints.txt").splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_version_stands_in_one_place_and_is_cited() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == lamae_tutorial.__version__
    assert f"## {lamae_tutorial.__version__}" in text("CHANGELOG.md")


def test_environment_yml_installs_what_pyproject_says() -> None:
    dependencies = yaml.safe_load(text("environment.yml"))["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[book,test]"]
    assert {"book", "test"} <= set(PROJECT["optional-dependencies"])
    (python,) = [entry for entry in dependencies if str(entry).startswith("python ")]
    assert python.startswith(f"python {PROJECT['requires-python']},")


def test_every_dependency_is_pinned_and_none_capped() -> None:
    versions = pinned()
    wanted = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    for requirement in wanted:
        name, operator = re.fullmatch(r"([\w.-]+)(>=|==)[\w.]+", requirement).groups()
        assert name in versions, f"{name} is not in constraints.txt"
        assert operator == ">=" or name == "jupyter-book"


def test_the_books_tables_are_those_of_the_records() -> None:
    records = read_records(record_files([ROOT / "book/results/fast"]))
    main, counts, *_ = report_tables(records)
    page = text("book/results/fast.md")
    assert page.startswith(as_markdown(comparison_tables(records)))
    assert "\n".join(as_markdown([main]).split("\n\n")[2:]) in page  # without the note: it counts rows
    assert as_markdown([counts]) in page


def test_book_configuration_has_both_names() -> None:
    for name in ("_config.yml", "_toc.yml"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == ROOT / "book" / name


def test_the_projects_address_stands_in_two_places_and_is_the_same() -> None:
    url = yaml.safe_load(text("book/_config.yml"))["repository"]["url"]
    assert PROJECT["urls"]["Repository"] == url
    assert all(each == url or each.startswith(f"{url}/") for each in PROJECT["urls"].values())
    address = url.removeprefix("https://")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]
    if not files:
        pytest.skip("not a git checkout")
    found = [name for name in files if address in (ROOT / name).read_text(errors="ignore")]
    assert found == ["book/_config.yml", "pyproject.toml"]


def test_readme_ci_and_workflows_call_the_same_targets() -> None:
    for name in ("README.md", ".ci/run"):
        assert re.search(r"^(    )?make book$", text(name), re.M), name
        assert re.search(r"^(    )?make test$", text(name), re.M), name
    test = yaml.safe_load(text(".github/workflows/tests.yml"))["jobs"]["test"]
    assert [step["run"] for step in test["steps"] if "run" in step][-1] == ".ci/run"
    assert test["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert "make colab" in text(".github/workflows/colab.yml")


def test_readme_shows_the_committed_records() -> None:
    results = read_results(sorted((ROOT / "book/results/fast").glob("mnist-without-[1479]-*.json")))
    shown = [result for result in results if result.detector in ("AE", "LAMAE") and result.is_main]
    assert {result.ood for result in shown} == {"mnist-1", "mnist-4", "mnist-7", "mnist-9"}
    assert results_table(shown) in text("README.md")


def test_public_names_are_importable_documented_and_typed() -> None:
    assert (ROOT / "lamae_tutorial/py.typed").exists()
    for name in lamae_tutorial.__all__:
        public = getattr(lamae_tutorial, name)
        if callable(public):
            assert public.__doc__, name
