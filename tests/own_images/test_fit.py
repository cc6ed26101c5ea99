"""From a folder of your own images to a table of verdicts: `lamae fit` and `lamae score`."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lamae_tutorial import LAMAE, LANCE, AutoEncoder, load_images
from lamae_tutorial.cli import main
from lamae_tutorial.own_images.scoring import Summary, read_rows
from lamae_tutorial.own_images.suspects import _densities


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits 0 to 2 as PNG files of two sizes in class folders, and a folder of 7s with a broken file."""
    root = tmp_path_factory.mktemp("own images")
    digits = load_images("digits", "all")
    for number, (image, label) in enumerate(zip(digits.images, digits.labels.tolist(), strict=True)):
        place = root / "known" / f"digit {label}" if label < 3 else root / "other" if label == 7 else None
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.kron(image[0].numpy(), np.ones((1 + number % 2,) * 2, np.uint8))
            Image.fromarray(pixels).save(place / f"{number}.png")
    (root / "other" / "broken.png").write_bytes(b"\x89PNG")
    return root


def test_fit_and_score(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out, page = tmp_path / "model", tmp_path / "scores.csv", tmp_path / "page.html"
    settings = ["--resize", "8", "--epochs", "30", "--device", "cpu"]
    assert main(["fit", "--data", str(folder / "known"), "--out", str(model), *settings]) == 0
    assert "Calibrated with 54 images that were not trained on; lowest alpha: 0.0182" in capsys.readouterr().out
    detector = LANCE.load(model)  # the default
    assert detector.class_names_ == ("digit 0", "digit 1", "digit 2")
    assert detector.calibration_kind_ == "joint"
    command = ["score", str(model), str(folder / "other"), "--out", str(out), "--report", str(page), "--device", "cpu"]
    assert main([*command, "--resize", "--workers", "0"]) == 3, "a file could not be scored"
    rows = list(read_rows(out))
    assert [row["path"] for row in rows if row["problem"]] == [str(folder / "other" / "broken.png")]
    scored = [row for row in rows if not row["problem"]]
    assert {row["predicted_class"] for row in scored} <= set(detector.class_names_)
    assert np.mean([row["verdict"] == "ood" for row in scored]) > 0.9
    assert f"{len(rows)} images" in capsys.readouterr().out
    html = page.read_text()
    assert html.count("data:image/svg+xml;base64,") == 2
    assert not re.search(r"(src|href)=\"(?!data:)", html), "the page needs nothing else"
    suspicious = max(scored, key=lambda row: float(row["score"]))["path"]
    assert suspicious in html
    assert main(["score", str(model), str(folder / "known" / "digit 1"), "--out", str(tmp_path / "id.csv")]) == 3
    problems = {row["problem"] for row in read_rows(tmp_path / "id.csv")}
    assert problems == {"", "is 16 x 16 pixels; the detector expects 8 x 8"}


def test_fit_trains_on_81_percent_of_the_images(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's shares: a tenth calibrates, a tenth of the rest selects the epoch, and no image is used twice."""
    used: dict[str, list[bytes]] = {"training": [], "epoch": [], "calibration": []}
    loss, calibrate = AutoEncoder.loss, AutoEncoder.calibrate

    def pixels(images: torch.Tensor) -> list[bytes]:
        whole = (255 * images).round().to(torch.uint8) if images.is_floating_point() else images
        return [image.numpy().tobytes() for image in whole]

    def noted_loss(detector: AutoEncoder, network: torch.nn.Module, images: torch.Tensor, labels: None) -> torch.Tensor:
        used["training" if torch.is_grad_enabled() else "epoch"] += pixels(images)
        return loss(detector, network, images, labels)

    def noted_calibrate(detector: AutoEncoder, images: torch.Tensor, *settings: object) -> AutoEncoder:
        used["calibration"] = pixels(images)  # from the last call, because `fit` calibrates too
        return calibrate(detector, images, *settings)

    monkeypatch.setattr(AutoEncoder, "loss", noted_loss)
    monkeypatch.setattr(AutoEncoder, "calibrate", noted_calibrate)
    settings = ["--detector", "autoencoder", "--resize", "8", "--epochs", "1", "--device", "cpu"]
    assert main(["fit", "--data", str(folder / "known"), "--out", str(tmp_path / "model"), *settings]) == 0
    counts = {use: len(images) for use, images in used.items()}
    assert counts == {"training": 434, "epoch": 49, "calibration": 54}
    total = len(list((folder / "known").rglob("*.png")))
    assert sum(counts.values()) == total == 537
    assert [round(100 * count / total) for count in counts.values()] == [81, 9, 10]
    assert len(set().union(*used.values())) == total, "an image is in two parts"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "KNOWN", "--out", "MODEL"], "bring them to one size"),
        (["fit", "--data", "OTHER", "--resize", "8", "--out", "MODEL"], "LANCE needs the class labels"),
        (["fit", "--data", "digits", "--resize", "8", "--out", "MODEL"], "digits is not a folder"),
        (["fit", "--data", "KNOWN", "--detector", "lame", "--out", "MODEL"], "unknown detector lame"),
        (["fit", "--data", "KNOWN", "--out", "KNOWN"], "is not a saved detector; name another folder"),
        (["score", "NONE", "OTHER", "--out", "MODEL.csv"], "is not a folder"),
        (["score", "OTHER", "OTHER", "--out", "MODEL.csv"], "is not a saved detector, or it is damaged"),
    ],
)
def test_bad_arguments(
    folder: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"KNOWN": folder / "known", "OTHER": folder / "other", "NONE": tmp_path / "none", "MODEL": tmp_path / "m"}
    for word, place in places.items():
        arguments = [argument.replace(word, str(place)) for argument in arguments]
    with pytest.warns(UserWarning, match="broken") if "labels" in message else np.errstate():
        assert main([*arguments, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("per_class", [False, True])
def test_the_report_draws_the_thresholds(bars: tuple[torch.Tensor, ...], per_class: bool) -> None:
    images, labels, _ = bars
    lamae = LAMAE(epochs=15, batch_size=16, random_state=0, device="cpu").fit(images[:180], labels[:180])
    lamae.calibrate(images[180:], per_class=per_class)
    (axes,) = _densities(lamae, Summary(scores=[1.0, 2.0]), 0.1).axes
    drawn = [line.get_xdata()[0] for line in axes.lines]
    assert len(drawn) == (3 if per_class else 1)
    assert set(drawn) <= set(lamae.calibration_.scores)
    if not per_class:
        np.testing.assert_array_equal(lamae.calibration_.scores > drawn[0], lamae.predict(images[180:], 0.1) == -1)
    assert "threshold, alpha = 0.1" in [text.get_text() for text in axes.get_legend().get_texts()]
