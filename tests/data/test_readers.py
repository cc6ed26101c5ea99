"""Image sets: every file layout, and every message about missing or damaged files."""

import gzip
import pickle
import zipfile
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from lamae_tutorial import ImageSet, load_images
from lamae_tutorial.data.catalogue import DATA_SETS, data_root
from lamae_tutorial.data.images import check_images, stratified_split

GREY = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(20) % 10


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_idx_folder(folder: Path, suffix: str = "") -> None:
    for stem in ("train", "t10k"):
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", GREY)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", LABELS)


def write_class_folders(folder: Path, names: str = "AB", size: tuple[int, int] = (9, 7), mode: str = "L") -> None:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            Image.new(mode, size, 10 * number + i if mode == "L" else (number, i, 7)).save(folder / name / f"{i}.png")


def test_digits_keep_their_17_levels_one_to_one() -> None:
    raw = load_digits().images.astype(int)
    images = load_images("digits", "all").images[:, 0].numpy()
    assert images.shape == (1797, 8, 8)
    pairs = {(int(before), int(after)) for before, after in zip(raw.flat, images.flat, strict=True)}
    assert len(pairs) == 17
    assert (0, 0) in pairs and (16, 255) in pairs


def test_digits_are_divided_once_and_for_all() -> None:
    train, test = load_images("digits"), load_images("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.labels is not None and test.labels is not None
    assert torch.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert torch.equal(load_images("digits", "test").images, test.images)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_npz_in_keras_layout(tmp_path: Path, name: str) -> None:
    pixels = COLOUR if name == "cifar10" else GREY
    labels = LABELS[:, None] if name == "cifar10" else LABELS  # Keras stores CIFAR-10's labels as (N, 1)
    write_npz(tmp_path / f"{name}.npz", x_train=pixels, y_train=labels, x_test=pixels[:5], y_test=labels[:5])
    train = load_images(name, root=tmp_path)
    assert train.images.shape == (20, *DATA_SETS[name].shape)
    assert train.images.dtype == torch.uint8 and train.labels is not None
    assert train.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(train.images.permute(0, 2, 3, 1).numpy().reshape(pixels.shape), pixels)
    assert len(load_images(name, "test", root=tmp_path)) == 5
    assert len(load_images(name, "all", root=tmp_path)) == 25


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("notmnist", "notMNIST/raw")],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folders(tmp_path: Path, name: str, folder: str, suffix: str) -> None:
    write_idx_folder(tmp_path / folder, suffix)
    images = load_images(name, "test", root=tmp_path)
    np.testing.assert_array_equal(images.images[:, 0].numpy(), GREY)
    assert images.labels is not None and images.labels.tolist() == LABELS.tolist()


def test_npz_comes_before_torchvisions_folder(tmp_path: Path) -> None:
    write_idx_folder(tmp_path / "MNIST/raw")
    write_npz(tmp_path / "mnist.npz", x_train=GREY[:3], y_train=LABELS[:3], x_test=GREY[:2], y_test=LABELS[:2])
    assert len(load_images("mnist", root=tmp_path)) == 3


def test_cifar10_pickles_only_with_the_published_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = COLOUR.transpose(0, 3, 1, 2).reshape(20, -1)
    batch = pickle.dumps({"data": rows, "labels": LABELS.tolist()})
    meta = pickle.dumps({"label_names": ["x"] * 10})
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(batch)
    (folder / "batches.meta").write_bytes(meta)
    cifar = torchvision.datasets.CIFAR10
    with pytest.raises(ValueError, match="not the published ones"):
        load_images("cifar10", root=tmp_path)
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", md5(batch).hexdigest()]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5(batch).hexdigest()]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(meta).hexdigest()})
    images = load_images("cifar10", root=tmp_path)
    np.testing.assert_array_equal(images.images.permute(0, 2, 3, 1).numpy(), COLOUR)
    assert len(load_images("cifar10", "all", root=tmp_path)) == 40


def test_celeba_takes_the_central_square(tmp_path: Path) -> None:
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[20:198] = 200  # the central square is bright; the rest is black
    for name in ("000001.jpg", "000002.jpg", "000003.jpg"):
        Image.fromarray(pixels).save(folder / name, quality=100)
    (tmp_path / "celeba/list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    test = load_images("celeba", "test", root=tmp_path)
    assert test.images.shape == (1, 3, 32, 32) and test.labels is None
    assert test.images.float().mean() > 195
    assert len(load_images("celeba", "all", root=tmp_path)) == 2


def test_notmnist_small_leaves_out_broken_files_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "notMNIST_small"
    write_class_folders(folder, "ABCDEFGHIJ", (28, 28))
    (folder / "A" / "broken.png").write_bytes(b"")
    (folder / "F" / "cut.png").write_bytes((folder / "A" / "0.png").read_bytes()[:40])
    with pytest.warns(UserWarning, match=r"left out 2 broken files.*broken\.png.*cut\.png"):
        images = load_images("notmnist", "test", root=tmp_path)
    assert len(images) == 50 and images.classes == tuple("ABCDEFGHIJ")
    with pytest.raises(ValueError, match="no split 'train'"):
        load_images("notmnist", "train", root=tmp_path)


def test_not_found_names_every_place_and_the_command(no_data: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_images("notmnist", root=no_data)
    for place in ("notmnist.npz", "notMNIST_small", "notMNIST/raw/train-images-idx3-ubyte", "notMNIST_small.tar.gz"):
        assert place in str(caught.value)
    with pytest.raises(FileNotFoundError, match="lamae datasets --download mnist --data"):
        load_images("mnist", root=no_data)


def test_download_goes_through_torchvision(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(root: Path, download: bool) -> None:
        assert download
        write_idx_folder(Path(root) / "MNIST/raw")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert len(load_images("mnist", root=no_data, download=True)) == 20


def test_a_failed_download_says_so(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(ConnectionError, match=r"could not be downloaded to .*: Error downloading train-images"):
        load_images("mnist", root=no_data, download=True)


def test_data_root_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAE_DATA", "/from/variable")
    assert data_root("/argument") == Path("/argument")
    assert data_root() == Path("/from/variable")
    monkeypatch.delenv("LAMAE_DATA")
    assert data_root().name == "lamae_tutorial"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    good = {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": LABELS}
    path = tmp_path / "mnist.npz"
    bad = {
        "uint8": {**good, "x_train": GREY.astype(np.float32)},
        r"\(N, H, W\)": {**good, "x_train": GREY[0]},
        "expected 20 integer labels": {**good, "y_train": LABELS[:-1]},
        "expected x_train and x_test": {"images": GREY},
        "labels must lie in 0..9": {**good, "y_train": LABELS + 1},
        "pickle": {**good, "x_train": np.array([None, 1], dtype=object)},
    }
    for message, arrays in bad.items():
        write_npz(path, **arrays)
        with pytest.raises(ValueError, match=message) as caught:
            load_images("mnist", root=tmp_path)
        assert "mnist" in str(caught.value)
    write_npz(path, **good)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a zip file", whole[:2000] + b"\0" * 500 + whole[2500:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"mnist\.npz"):
            load_images("mnist", "all", root=tmp_path)


def test_a_compressed_member_that_is_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(ValueError, match=r"mnist\.npz"):
        load_images("mnist", root=tmp_path)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 4096)  # a machine with 16 MiB
    images = np.zeros((20_000, 28, 28), np.uint8)
    np.savez_compressed(tmp_path / "mnist.npz", x_train=images, y_train=np.zeros(20_000, int))
    write_idx_folder(tmp_path / "FashionMNIST/raw", ".gz")
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in images.shape)
    packed = tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(header + images.tobytes()))
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("unpacked"))
    for name in ("mnist", "fashion_mnist"):
        with pytest.raises(ValueError, match=r"holds an array of 0\.0 GiB, more than half of"):
            load_images(name, root=tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], "header announces"),
        (lambda raw: raw + b"\0", "header announces"),
        (lambda raw: raw[:7], "not an idx file"),
        (lambda raw: b"\x1f\x8b" + raw[2:], "not an idx file"),
        (lambda raw: b"", "not an idx file"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, damage, message: str) -> None:
    folder = tmp_path / "MNIST/raw"
    write_idx_folder(folder)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load_images("mnist", root=tmp_path)
    assert str(path) in str(caught.value)


def test_damaged_gz_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST/raw"
    write_idx_folder(folder, ".gz")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz"):
        load_images("mnist", root=tmp_path)


def test_own_class_folders_by_path(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "parts", "xyz")
    images = load_images(tmp_path / "parts", "all")
    assert images.images.shape == (15, 1, 7, 9)
    assert images.classes == ("x", "y", "z") and images.name == "parts"
    train, test = load_images(tmp_path / "parts"), load_images(tmp_path / "parts", "test")
    assert (len(train), len(test)) == (12, 3)
    assert test.labels is not None and test.labels.tolist() == [0, 1, 2]


def test_own_folder_with_train_and_test(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "own/train", mode="RGB")
    write_class_folders(tmp_path / "own/test", mode="RGB")
    assert load_images(str(tmp_path / "own"), "test").images.shape == (10, 3, 7, 9)
    assert len(load_images(tmp_path / "own", "all")) == 20


def test_own_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    write_class_folders(tmp_path)
    images = load_images(tmp_path / "A", "all")
    assert len(images) == 5 and images.labels is None and images.classes == ()


def test_own_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "own")
    Image.new("L", (4, 4)).save(tmp_path / "own/B/odd.png")
    with pytest.raises(ValueError, match=r"odd\.png: is 4 x 4 pixels, the images before it are 9 x 7"):
        load_images(tmp_path / "own")


def test_own_npz_by_path_without_a_test_split(tmp_path: Path) -> None:
    write_npz(tmp_path / "own.npz", x_train=GREY, y_train=LABELS % 2 * 5 + 3)
    images = load_images(tmp_path / "own.npz", "all")
    assert images.classes == ("3", "8")
    assert len(load_images(tmp_path / "own.npz", "test")) == 4


def test_synthetic_sets() -> None:
    constant = load_images("constant", n=500, image_shape=(3, 5, 4), random_state=3)
    assert constant.images.shape == (500, 3, 5, 4)
    assert torch.equal(constant.images.flatten(1).amin(1), constant.images.flatten(1).amax(1))
    assert constant.images.unique().numel() > 200
    colour = load_images("constant", n=50, image_shape=(3, 5, 4), colour=True).images
    assert torch.equal(colour.amin((2, 3)), colour.amax((2, 3))) and not torch.equal(colour[:, 0], colour[:, 1])
    noise = load_images("noise", n=500, image_shape=(1, 9, 9))
    assert noise.images.float().mean().item() == pytest.approx(127.5, abs=2)
    assert noise.images.float().std().item() == pytest.approx(73.9, abs=2)
    assert torch.equal(noise.images, load_images("noise", n=500, image_shape=(1, 9, 9)).images)
    assert not torch.equal(noise.images, load_images("noise", n=500, image_shape=(1, 9, 9), random_state=1).images)
    assert not torch.equal(noise.images, load_images("noise", "test", n=500, image_shape=(1, 9, 9)).images)


def test_unknown_names_and_arguments_are_refused(no_data: Path) -> None:
    with pytest.raises(ValueError, match="unknown image set 'mnits': neither one of mnist, fashion_mnist"):
        load_images("mnits")
    with pytest.raises(ValueError, match="split must be one of train, test, all; got 'val'"):
        load_images("digits", "val")
    with pytest.raises(ValueError, match="only constant and noise take further arguments, not digits"):
        load_images("digits", n=3)
    with pytest.raises(FileNotFoundError, match=r"gone\.npz"):
        load_images(no_data / "gone.npz")


def test_image_set_checks_its_parts() -> None:
    images = torch.zeros(4, 1, 5, 5, dtype=torch.uint8)
    with pytest.raises(ValueError, match="uint8 of shape"):
        ImageSet("x", images.float())
    with pytest.raises(ValueError, match="holds no image"):
        ImageSet("x", images[:0])
    with pytest.raises(ValueError, match="labels must be int64"):
        ImageSet("x", images, torch.zeros(3, dtype=torch.int64))


def test_check_images() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert check_images(images.double().numpy()).dtype == torch.float32
    for bad, message in [
        (images * 2, r"must lie in \[0, 1\]"),
        (images - 1, r"must lie in \[0, 1\]"),
        (images * torch.nan, r"must lie in \[0, 1\]"),
        (images[0], r"shape \(N, C, H, W\)"),
        (images[:0], "N >= 1"),
        (images.int(), "uint8, or float"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_images(bad)
    with pytest.raises(ValueError, match=r"\(N, 1, 5, 5\), N >= 1; got \(3, 1, 4, 4\)"):
        check_images(images, (1, 5, 5))


def test_stratified_split_keeps_shares_and_loses_nothing() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    rest, part = stratified_split(labels, 100, 0.1, random_state=4)
    assert torch.bincount(labels[part]).tolist() == [9, 1]
    assert torch.equal(torch.cat([rest, part]).sort().values, torch.arange(100))
    again = stratified_split(labels, 100, 0.1, random_state=4)[1]
    assert torch.equal(part, again)
    assert not torch.equal(part, stratified_split(labels, 100, 0.1, random_state=5)[1])
    assert len(stratified_split(torch.tensor([0, 0, 1]), 3, 0.1, 0)[1]) == 1  # too few to stratify
