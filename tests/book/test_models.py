"""The checkpoints of the book: each can be loaded, and scores as its record says."""

import json
import sys
from pathlib import Path

import pytest

from lamae_tutorial.teaching.notebook import checkpoint

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import models  # noqa: E402

FOLDERS = sorted((ROOT / "book" / "models").iterdir())


def test_each_model_of_the_tool_is_there_and_small() -> None:
    named = [f"{name}-mnist-without-{models.HELD_OUT}" for name in models.DETECTORS]
    assert [folder.name for folder in FOLDERS] == named
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in FOLDERS]
    assert max(sizes) < 1_000_000 and sum(sizes) < 6_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_model_scores_as_its_record_says(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    detector = checkpoint(folder.name)
    assert record["detector"] == type(detector).__name__ and record["settings"]["epochs"] == models.EPOCHS
    assert models.on_mini_mnist(detector) == pytest.approx(record["mini_mnist"], abs=0.002)
