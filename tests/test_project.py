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


def files_in_git() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]
    if not files:
        pytest.skip("not a git checkout")
    return files


STAMPED = {"CITATION.cff", "book/_config.yml", "pyproject.toml"}
STAMPED |= {str(path.relative_to(ROOT)) for path in (ROOT / "book/notebooks").glob("*.ipynb")}


def test_the_projects_address_is_the_same_wherever_it_stands() -> None:
    url = yaml.safe_load(text("book/_config.yml"))["repository"]["url"]
    assert yaml.safe_load(text("CITATION.cff"))["repository-code"] == url
    assert PROJECT["urls"]["Repository"] == url
    assert all(each == url or each.startswith(f"{url}/") for each in PROJECT["urls"].values())
    for name in files_in_git():
        content = (ROOT / name).read_text(errors="ignore")
        assert (url.removeprefix("https://") in content) == (name in STAMPED), name
        if not name.startswith("tests/"):
            # Nothing is on PyPI. An extra is named only to those who have the package: pip then adds what it needs.
            sources = re.findall(r"pip install (?:--quiet )?(git\+[^\s\\\"'`]+|lamae-tutorial(?!\[))", content)
            assert set(sources) == ({f"git+{url}"} if name.endswith(".ipynb") else set()), name


def run_address(folder: Path, *url: str) -> subprocess.CompletedProcess[str]:
    tool = [sys.executable, str(folder / "tools/address.py")]
    return subprocess.run([*tool, *url], capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in files_in_git():
        if not name.startswith("book/results/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    # The old address begins a longer one here, which is another repository's.
    with (tmp_path / "pyproject.toml").open("a") as project:
        project.write(f"# {PROJECT['urls']['Repository']}-data, {PROJECT['urls']['Repository']}.old\n")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_make_address_changes_each_place_and_nothing_else(copy: Path, ending: str) -> None:
    old, new, before = PROJECT["urls"]["Repository"], "https://github.com/some-one/lamae-tutorial-2", contents(copy)
    ended = run_address(copy, new + ending)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{new} stands in book/_config.yml, ")
    after = contents(copy)
    assert {name for name in before if after[name] != before[name]} == STAMPED
    for name in STAMPED:
        others = f"{old}-data, {old}.old"
        expected = before[name].decode().replace(others, "OTHERS").replace(old, new).replace("OTHERS", others)
        assert after[name].decode() == expected
    assert run_address(copy).stdout == f"{new}\n"
    assert run_address(copy, old).returncode == 0 and contents(copy) == before


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/someone/lamae-tutorial",
        "github.com/someone/lamae-tutorial",
        "git@github.com:someone/lamae-tutorial",
        "https://github.com/some one/lamae-tutorial",
        "https://github.com/someone/lamae-tutorial ",
        "https://github.com/someone/lamae-tutorial\n",
        "https://github.com/someone",
        "https://github.com/someone/lamae-tutorial/tree/main",
        "https://github.com/someone/.git",
        "https://gitlab.com/someone/lamae-tutorial",
    ],
)
def test_make_address_refuses_what_is_no_address(copy: Path, url: str) -> None:
    before = contents(copy)
    ended = run_address(copy, url)
    assert ended.returncode == 2 and contents(copy) == before
    assert ended.stderr.endswith(f"expected https://github.com/OWNER/NAME, got {url!r}\n")


def test_make_address_changes_nothing_if_one_place_has_another_address(copy: Path) -> None:
    (copy / "CITATION.cff").write_text("repository-code: https://github.com/other/one\n")
    before = contents(copy)
    ended = run_address(copy, "https://github.com/someone/lamae-tutorial")
    assert ended.returncode == 1 and contents(copy) == before
    assert "nothing changed: CITATION.cff lacks the address" in ended.stderr


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
