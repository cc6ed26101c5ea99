"""Scoring files: every image gets a row, bad ones with a reason, and interrupted runs can be resumed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lamae_tutorial import LAMAE, AutoEncoder, Detector, complexity_normalized, shannon_entropy
from lamae_tutorial.own_images import scoring
from lamae_tutorial.own_images.scoring import COLUMNS, read_rows, score_images

Bars = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
EPOCHS = {"epochs": 2, "batch_size": 16, "random_state": 0, "device": "cpu"}


@pytest.fixture
def autoencoder(bars: Bars) -> Detector:
    return AutoEncoder(**EPOCHS).fit(bars[0][:180]).calibrate(bars[0][180:])


def write_png(path: Path, image: torch.Tensor, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[0].numpy()).convert(mode).save(path)
    return path


def table(path: Path) -> list[dict[str, str]]:
    rows = list(read_rows(path))
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


def test_a_folder_with_all_that_can_lie_in_one(autoencoder: Detector, bars: Bars, tmp_path: Path) -> None:
    source, images = tmp_path / "in", bars[0]
    good = [
        write_png(source / "b" / "with space.png", images[0]),
        write_png(source / "ünïcode.png", images[1]),
        write_png(source / "new\nline, comma.png", images[2]),
        write_png(source / "colour.png", images[3], "RGB"),
    ]
    (source / "link.png").symlink_to(good[0])
    raw = good[1].read_bytes()
    (source / "cut.png").write_bytes(raw[: len(raw) // 2])
    (source / "empty.png").touch()
    (source / "notes.txt").write_text("no image")
    write_png(source / "large.png", torch.zeros(1, 9, 8, dtype=torch.uint8))
    (source / ".hidden").write_text("left out")
    result = score_images(autoencoder, str(source), tmp_path / "out.csv", batch_size=3)
    rows = {Path(row["path"]): row for row in table(tmp_path / "out.csv")}
    assert list(rows) == sorted(rows)
    problems = {path.name: row["problem"] for path, row in rows.items() if row["problem"]}
    assert list(problems) == ["cut.png", "empty.png", "large.png", "notes.txt"]
    assert "not a readable image" in problems["cut.png"] and "not a readable image" in problems["empty.png"]
    assert problems["large.png"] == "is 8 x 9 pixels; the detector expects 8 x 8"
    assert "the name must end in one of" in problems["notes.txt"]
    assert (result.images, result.problems) == (9, 4)
    expected = {**dict(zip(good, images[:4], strict=True)), source / "link.png": images[0]}
    for path, image in expected.items():
        row, batch = rows[path], image[None]
        error = autoencoder.score(batch)
        assert float(row["score"]) == pytest.approx(error[0], rel=1e-5)
        assert float(row["corrected_score"]) == pytest.approx(complexity_normalized(error, batch)[0], rel=1e-5)
        assert float(row["complexity"]) == shannon_entropy(batch)[0].item()
        assert float(row["p_value"]) == autoencoder.p_values(batch)[0]
        assert row["verdict"] == ("ood" if float(row["p_value"]) <= 0.05 else "id")
        assert row["predicted_class"] == ""
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_workers_and_resizing_change_no_score(autoencoder: Detector, bars: Bars, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in range(7):
        write_png(source / f"{number}.png", bars[0][number])
    doubled = torch.from_numpy(np.kron(bars[0][7].numpy(), np.ones((1, 2, 2), np.uint8)))
    write_png(source / "7.png", doubled)
    alone = score_images(autoencoder, str(source), tmp_path / "alone.csv", resize=True)
    score_images(autoencoder, str(source / "*.png"), tmp_path / "workers.csv", resize=True, workers=2, batch_size=3)
    assert alone.problems == 0
    for one, other in zip(table(tmp_path / "alone.csv"), table(tmp_path / "workers.csv"), strict=True):
        assert float(one.pop("score")) == pytest.approx(float(other.pop("score")), rel=1e-5)
        assert float(one.pop("corrected_score")) == pytest.approx(float(other.pop("corrected_score")), rel=1e-5)
        assert one == other


def test_arrays_are_read_piece_by_piece(bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, _ = bars
    lamae = LAMAE(**EPOCHS).fit(images[:180], labels[:180]).calibrate(images, "error+", per_class=True)
    lamae.class_names_ = ("left", "middle", "right")
    array = images.squeeze(1).numpy()
    np.save(tmp_path / "grey.npy", array)
    np.savez_compressed(
        tmp_path / "keras.npz", x_train=array[:100, ..., None], y_train=labels[:100], x_test=array[100:]
    )
    floats = array.astype(np.float64) / 255
    floats[3, 0, 0], floats[5, 0, 0] = np.nan, 1.5
    np.save(tmp_path / "float.npy", floats)
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("the whole array was read"))
    for name in ("grey.npy", "keras.npz", "float.npy"):
        result = score_images(lamae, str(tmp_path / name), tmp_path / f"{name}.csv", batch_size=64)
        rows = table(tmp_path / f"{name}.csv")
        bad = [3, 5] if name == "float.npy" else []
        assert [number for number, row in enumerate(rows) if row["problem"]] == bad
        assert result.images == 240 and result.problems == len(bad)
        kept = [number for number in range(240) if number not in bad]
        np.testing.assert_allclose(
            [float(rows[number]["score"]) for number in kept], lamae.score(images, "error+")[kept], rtol=1e-4
        )
        assert [rows[number]["predicted_class"] for number in kept] == [
            lamae.class_names_[label] for label in lamae.classify(images)[kept]
        ]
    assert rows[0]["path"] == f"{tmp_path / 'float.npy'}[0]"
    assert next(read_rows(tmp_path / "keras.npz.csv"))["path"] == f"{tmp_path / 'keras.npz'}:x_train[0]"
    suspects = score_images(lamae, str(tmp_path / "grey.npy"), tmp_path / "more.csv", suspects=5).suspects
    highest = np.sort(lamae.score(images, "error+"))[::-1][:5]
    np.testing.assert_allclose([score for score, _, _ in suspects], highest, rtol=1e-5)


def test_an_interrupted_run_goes_on_where_it_stopped(
    autoencoder: Detector, bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    for number in range(10):
        write_png(source / f"new\n{number}.png", bars[0][number])
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score_images(autoencoder, str(source), whole, batch_size=2)
    opened: list[Path] = []
    real = scoring.open_image

    def failing(path: Path) -> Image.Image:
        opened.append(path)
        if len(opened) == 7:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(scoring, "open_image", failing)
    with pytest.raises(KeyboardInterrupt):
        score_images(autoencoder, str(source), out, batch_size=2)
    assert not out.exists()
    (part,) = tmp_path.glob(".out.csv.*.part")
    with part.open("a") as file:
        file.write('"half a\nrow')  # as after a killed process
    score_images(autoencoder, str(source), out, batch_size=2, resume=True)
    assert opened[7:] == sorted(source.iterdir())[6:], "what was scored is not scored again"
    assert [row["path"] for row in table(out)] == [row["path"] for row in table(whole)]
    assert out.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_a_full_disk_leaves_what_can_go_on(
    autoencoder: Detector, bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "in.npy", bars[0].numpy()[:20].transpose(0, 2, 3, 1))
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score_images(autoencoder, str(tmp_path / "in.npy"), whole, batch_size=5)
    real = scoring._rows
    written = []

    def full(*arguments):
        written.append(1)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(scoring, "_rows", full)
    with pytest.raises(OSError, match="No space left"):
        score_images(autoencoder, str(tmp_path / "in.npy"), out, batch_size=5)
    assert not out.exists()
    score_images(autoencoder, str(tmp_path / "in.npy"), out, batch_size=5, resume=True)
    assert len(written) == 3 + 2, "ten rows were kept"
    assert out.read_bytes() == whole.read_bytes()


def test_bombs_get_a_row(autoencoder: Detector, bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write_png(tmp_path / "in" / "good.png", bars[0][0])
    write_png(tmp_path / "in" / "huge.png", torch.zeros(1, 40, 40, dtype=torch.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    score_images(autoencoder, str(tmp_path / "in"), tmp_path / "out.csv", resize=True)
    problems = {Path(row["path"]).name: row["problem"] for row in table(tmp_path / "out.csv")}
    assert problems.pop(good.name) == ""
    assert "not a readable image" in problems["huge.png"] and "decompression bomb" in problems["huge.png"]


def test_parquet_holds_the_same_table(autoencoder: Detector, bars: Bars, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    write_png(tmp_path / "in" / "a.png", bars[0][0])
    (tmp_path / "in" / "b\nc.png").write_bytes(b"")
    score_images(autoencoder, str(tmp_path / "in"), tmp_path / "out.csv")
    score_images(autoencoder, str(tmp_path / "in"), tmp_path / "out.parquet")
    columns = read_table(tmp_path / "out.parquet").to_pydict()
    rows = table(tmp_path / "out.csv")
    assert list(columns) == list(COLUMNS)
    assert columns["path"] == [row["path"] for row in rows]
    assert columns["score"] == [float(rows[0]["score"]), None]
    assert columns["problem"][0] in ("", None) and "not a readable image" in columns["problem"][1]


@pytest.mark.parametrize(
    ("source", "out", "kind", "message"),
    [
        ("none", "out.csv", FileNotFoundError, "none is not an existing file"),
        ("*.tiff", "out.csv", FileNotFoundError, "no file matches it as a pattern"),
        ("a.png", "out.xlsx", ValueError, "must end in .csv or .parquet"),
        ("a.png", "there.csv", FileExistsError, "there.csv exists"),
        ("a.png", "no/out.csv", FileNotFoundError, "no is not a folder; create it first"),
        ("small.npy", "out.csv", ValueError, r"shape \(N, 8, 8, 1\).* got \(3, 7, 8\)"),
        ("whole.npy", "out.csv", ValueError, "must be uint8, or float in .*; got int64"),
        ("pickle.npy", "out.csv", ValueError, "the arrays cannot be read"),
        ("cut.npz", "out.csv", ValueError, "cut.npz"),
        ("empty.npz", "out.csv", ValueError, "holds no array"),
        ("fortran.npz", "out.csv", ValueError, "Fortran order"),
    ],
)
def test_bad_sources_and_places(
    autoencoder: Detector, bars: Bars, tmp_path: Path, source: str, out: str, kind: type[Exception], message: str
) -> None:
    write_png(tmp_path / "a.png", bars[0][0])
    (tmp_path / "there.csv").touch()
    np.save(tmp_path / "small.npy", np.zeros((3, 7, 8), np.uint8))
    np.save(tmp_path / "whole.npy", np.zeros((3, 8, 8), np.int64))
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "empty.npz")
    np.savez(tmp_path / "fortran.npz", x=np.asfortranarray(np.zeros((3, 8, 8), np.uint8)))
    np.savez(tmp_path / "cut.npz", x=np.zeros((3, 8, 8), np.uint8))
    raw = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(raw[: len(raw) // 2])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(kind, match=message):
        score_images(autoencoder, str(tmp_path / source), tmp_path / out)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ValueError, match=r"no p-value is as low as alpha = 0\.01"):
        score_images(autoencoder, str(tmp_path / "a.png"), tmp_path / "new.csv", alpha=0.01)


def test_an_array_damaged_in_the_middle_is_named(autoencoder: Detector, bars: Bars, tmp_path: Path) -> None:
    source = tmp_path / "damaged.npz"
    np.savez_compressed(source, x=np.random.default_rng(0).integers(0, 256, (500, 8, 8), dtype=np.uint8))
    raw = bytearray(source.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 50] = bytes(50)
    source.write_bytes(raw)
    with pytest.raises(ValueError, match=r"damaged.npz:x: damaged after image \d+"):
        score_images(autoencoder, str(source), tmp_path / "out.csv", batch_size=10)
    assert not (tmp_path / "out.csv").exists()
