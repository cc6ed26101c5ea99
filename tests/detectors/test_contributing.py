"""What CONTRIBUTING.md says is done as it says it, by a stranger in a folder of his own."""

import os
import subprocess
import sys
from pathlib import Path

import contributed
import numpy as np
from PIL import Image

from lamae_tutorial import load_images


def test_a_detector_of_ones_own_goes_everywhere(tmp_path: Path) -> None:
    (tmp_path / "mydetectors.py").write_text(contributed.block("python"), encoding="utf-8")
    digits = load_images("digits", "test").images[:5, 0]
    (tmp_path / "PICTURES").mkdir()
    for number, image in enumerate(digits.numpy()):
        Image.fromarray(image).save(tmp_path / "PICTURES" / f"{number}.png")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def output(command: str) -> str:
        ended = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    run, benchmark, report, fit = contributed.block("bash").splitlines()
    table = output(run)
    assert [f"| digits-1 | {title} " in table for title in ("Denoiser", "PCA", "AE+")] == [True] * 3
    assert "| PCA " in output(benchmark)
    together = output(report)
    assert together.count("| PCA ") == 3  # 20 and 40 epochs, and the test of the best against it
    assert "Calibrated with 180 images" in output(fit)
    text = contributed.PAGE.read_text(encoding="utf-8")
    score = next(part for part in text.split("`") if part.startswith("lamae score"))
    output(score)
    rows = np.loadtxt(tmp_path / "scores.csv", delimiter=",", dtype=str)
    assert [row[0] for row in rows[1:]] == [f"PICTURES/{number}.png" for number in range(5)]
    assert set(rows[1:, 5]) <= {"id", "ood"}
