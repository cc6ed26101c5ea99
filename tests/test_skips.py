"""Nothing skips unseen: with CI=true a missing browser, book or data set fails the run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

THREE_SKIPS = """
import pytest

def test_data():
    pytest.skip("needs the real data")

@pytest.mark.skipif(True, reason="no Chromium")
def test_browser():
    pass

@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_gpu():
    pass
"""


@pytest.mark.parametrize(
    ("ci", "file", "counts"),
    [
        ("", THREE_SKIPS, "3 skipped"),
        ("true", THREE_SKIPS, "1 failed, 1 skipped, 1 error"),
        ("true", "import pytest\npytest.importorskip('no_such_module')", "1 error"),
    ],
)
def test_only_a_missing_gpu_skips_in_ci(ci: str, file: str, counts: str, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(file)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
    )
    assert ended.stdout.splitlines()[-1].startswith(counts + " in "), ended.stdout
    assert ("With CI=true no test may skip" in ended.stdout) == (ci == "true")
