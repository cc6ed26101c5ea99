"""Nothing skips unseen: with CI=true a missing browser, book or data set fails the run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = {
    "test_three.py": """
import pytest

def test_data():
    pytest.skip("needs the real data")

@pytest.mark.skipif(True, reason="no Chromium")
def test_browser():
    pass

@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_gpu():
    pass
""",
    "test_file.py": "import pytest; pytest.importorskip('no_such_module')",
}


@pytest.mark.parametrize(("ci", "counts"), [("", "4 skipped"), ("true", "1 failed, 1 skipped, 2 errors")])
def test_only_a_missing_gpu_skips_in_ci(ci: str, counts: str, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    for name, code in SKIPS.items():
        (tmp_path / name).write_text(code)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
    )
    assert ended.stdout.splitlines()[-1].startswith(f"{counts} in "), ended.stdout
    assert ended.stdout.count("With CI=true no test may skip") >= (3 if ci else 0), ended.stdout
