"""A short run of `tools/fuzz_readers.py`: damaged files raise the documented errors."""

import importlib.util
import warnings
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "tools/fuzz_readers.py"


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with warnings.catch_warnings():
        counts = script.fuzz(tmp_path, files=160, seed=1)
    assert sum(counts.values()) == 160
    assert {what for _, what in counts} == {"read", "refused"}
    assert all(counts[name, "refused"] for name in ("npz", "idx", "idx.gz", "model", "score npz", "score npy"))
