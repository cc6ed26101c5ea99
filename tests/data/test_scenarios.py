"""The sets of a scenario: no OoD images in training; numbers, shapes and labels as documented."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamae_tutorial import ImageSet, bring_to_shape, cross_dataset, leave_one_class_out, load_images


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_leave_one_class_out_balanced() -> None:
    scenario = leave_one_class_out("digits", 3)
    everything = load_images("digits", "all")
    (name,) = scenario.ood
    held_out = everything.images[everything.labels == 3]
    assert name == "digits-3" and scenario.name == "digits without 3"
    assert rows(scenario.ood[name].images) == rows(held_out)  # from train and test
    assert len(scenario.test) == len(scenario.ood[name]) == 183
    assert scenario.num_classes == 9 and scenario.image_shape == (1, 8, 8)
    assert scenario.train.classes == tuple("012456789")
    inside = [scenario.train, scenario.validation, scenario.test]
    for part in inside:
        assert not rows(part.images) & rows(held_out)
        assert part.labels is not None and sorted(part.labels.unique().tolist()) == list(range(9))
    assert not rows(scenario.train.images) & rows(scenario.validation.images)
    assert len(scenario.validation) == pytest.approx(0.1 * (len(scenario.train) + len(scenario.validation)), abs=1)


def test_labels_are_renumbered_with_their_classes() -> None:
    train = load_images("digits")
    scenario = leave_one_class_out("digits", "3")
    assert train.labels is not None and scenario.test.labels is not None
    seven = scenario.test.classes.index("7")
    assert seven == 6
    test = load_images("digits", "test")
    assert rows(scenario.test.images[scenario.test.labels == seven]) <= rows(test.images[test.labels == 7])


def test_a_class_is_held_out_by_label_or_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8, 0], 20)
    np.savez(tmp_path / "own.npz", x_train=rng.integers(0, 256, (60, 4, 4), dtype=np.uint8), y_train=labels)
    for wanted, name in [(1, "3"), ("3", "3"), ("0", "0"), (0, "0"), ("8", "8"), ("1", "3"), (2, "8")]:
        assert list(leave_one_class_out(tmp_path / "own.npz", wanted).ood) == [f"own-{name}"]
    for wanted in ("4", 3, -1, "three"):
        with pytest.raises(ValueError, match=r"own has no class .*; it has 0 \(0\), 1 \(3\), 2 \(8\)"):
            leave_one_class_out(tmp_path / "own.npz", wanted)


def test_test_only_protocol_cuts_nothing() -> None:
    scenario = leave_one_class_out("digits", 1, protocol="test-only")
    assert (len(scenario.test), len(scenario.ood["digits-1"])) == (324, 36)


def test_seed_draws_the_validation_images() -> None:
    one, same, other = (leave_one_class_out("digits", 1, random_state=seed) for seed in (0, 0, 1))
    assert torch.equal(one.validation.images, same.validation.images)
    assert torch.equal(one.test.images, same.test.images)
    assert rows(one.validation.images) != rows(other.validation.images)


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"digits has no class 10; it has 0 \(0\), 1 \(1\)"):
        leave_one_class_out("digits", 10)
    with pytest.raises(ValueError, match="no class 'Bag'"):
        leave_one_class_out("digits", "Bag")
    with pytest.raises(ValueError, match="protocol must be one of balanced, test-only; got 'paper'"):
        leave_one_class_out("digits", 1, protocol="paper")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="noise has no labels"):
        leave_one_class_out("noise", 1)


def test_cross_dataset_brings_shapes_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 12, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x_train=pixels[:60], x_test=pixels[60:])
    scenario = cross_dataset("digits", [tmp_path / "own.npz", "constant", "noise"])
    assert list(scenario.ood) == ["own", "constant", "noise"]
    assert scenario.image_shape == (3, 12, 10)
    sets = [scenario.train, scenario.validation, scenario.test, *scenario.ood.values()]
    assert {part.image_shape for part in sets} == {(3, 12, 10)}
    assert [len(part) for part in sets[2:]] == [90] * 4  # the other sets are cut to the user's file
    assert scenario.num_classes == 10
    constant = scenario.ood["constant"].images
    assert torch.equal(constant.flatten(1).amin(1), constant.flatten(1).amax(1))


def test_cross_dataset_with_a_shape_of_ones_own() -> None:
    scenario = cross_dataset("digits", ["noise"], image_shape=(1, 6, 16), protocol="test-only")
    assert scenario.train.image_shape == scenario.ood["noise"].image_shape == (1, 6, 16)
    assert len(scenario.test) == len(scenario.ood["noise"]) == 360


def test_cross_dataset_refuses_what_cannot_be_told_apart() -> None:
    with pytest.raises(ValueError, match="different names"):
        cross_dataset("digits", ["digits"])
    with pytest.raises(ValueError, match="ood_names is empty"):
        cross_dataset("digits", [])


def test_an_image_set_is_taken_as_it_is() -> None:
    some = ImageSet("some", torch.zeros(7, 1, 8, 8, dtype=torch.uint8))
    scenario = cross_dataset("digits", [some])
    assert len(scenario.ood["some"]) == len(scenario.test) == 7


def test_bring_to_shape_pads_grey_to_the_middle_of_colour() -> None:
    images = torch.full((2, 1, 28, 28), 9, dtype=torch.uint8)
    brought = bring_to_shape(images, (3, 32, 32))
    assert brought.shape == (2, 3, 32, 32) and brought.dtype == torch.uint8
    assert torch.equal(brought[:, :, 2:30, 2:30], images.expand(-1, 3, -1, -1))
    assert brought.sum() == 9 * 2 * 3 * 28 * 28


def test_bring_to_shape_shrinks_by_area_and_weighs_colours() -> None:
    images = torch.tensor([[0, 100], [200, 100]], dtype=torch.uint8).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert bring_to_shape(images.expand(1, 1, 4, 4), (1, 2, 2)).flatten().tolist() == [0, 100, 200, 100]
    assert bring_to_shape(images.expand(1, 1, 4, 4), (1, 1, 1)).item() == 100
    colours = 255 * torch.eye(3, dtype=torch.uint8).view(3, 3, 1, 1)
    # 0.2989, 0.587 and 0.114 of 255 are 76.2, 149.7 and 29.1. They are rounded, not cut off.
    assert bring_to_shape(colours, (1, 1, 1)).flatten().tolist() == [76, 150, 29]
    assert bring_to_shape(torch.full_like(colours, 255), (1, 1, 1)).flatten().tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="image_shape must be"):
        bring_to_shape(colours, (2, 1, 1))


def test_real_mnist_numbers(mnist_test: ImageSet) -> None:
    scenario = leave_one_class_out("mnist", 1)
    assert len(scenario.ood["mnist-1"]) == len(scenario.test) == 6742 + 1135
    assert len(scenario.train) + len(scenario.validation) == 60_000 - 6742


def test_sets_of_the_catalogue_are_known_and_so_are_their_parts(tmp_path: Path) -> None:
    scenario = leave_one_class_out("digits", 1)
    parts = [scenario.train, scenario.validation, scenario.test, *scenario.ood.values()]
    assert all(part.known for part in parts)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "mnist.npz", x_train=rng.integers(0, 256, (50, 8, 8), dtype=np.uint8), y_train=np.arange(50) % 5
    )
    own = leave_one_class_out(tmp_path / "mnist.npz", 1)
    assert own.name == "mnist without 1"
    assert not any(part.known for part in (own.train, own.validation, own.test, *own.ood.values()))
    mixed = cross_dataset("digits", ["noise", tmp_path / "mnist.npz"])
    assert mixed.train.known and [part.known for part in mixed.ood.values()] == [False, True]


def test_hashes_are_of_the_sets_before_they_are_divided(tmp_path: Path) -> None:
    train, test = load_images("digits", "train"), load_images("digits", "test")
    expected = {"digits train": train.sha256, "digits test": test.sha256}
    assert leave_one_class_out("digits", 1, random_state=3).data == expected
    other = ImageSet("other", train.images[:20])
    assert cross_dataset("digits", ["noise", other], random_state=2).data == {**expected, "other": other.sha256}
    assert train.labels is not None
    changed = [
        replace(train, images=train.images.flip(0)),
        replace(train, labels=train.labels.flip(0)),
        replace(train, images=train.images.reshape(-1, 1, 4, 16)),
        replace(train, labels=None),
    ]
    assert len({train.sha256, *(part.sha256 for part in changed)}) == 5
    assert replace(train, name="renamed").sha256 == train.sha256
