"""Scenarios say which images are in-distribution (ID) and which are out-of-distribution (OoD).

The protocol "balanced" comes from the LAMAE authors' notebook: the OoD test set is the held-out class from the train
*and* the test images, and all test sets are cut to the same number. "test-only" uses only test images and cuts nothing.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Literal, get_args

import torch

from lamae_tutorial.data.catalogue import DATA_SETS, EMBEDDED, load_images
from lamae_tutorial.data.images import VALIDATION_SHARE, ImageSet, ImageShape, bring_to_shape, stratified_split
from lamae_tutorial.data.synthetic import SYNTHETIC

Protocol = Literal["balanced", "test-only"]
Name = str | os.PathLike[str]
Load = Callable[..., ImageSet]


@dataclass(frozen=True, eq=False)
class Scenario:
    """The image sets of one experiment. All have one shape; the labels of ID images are 0..num_classes-1.

    Attributes
    ----------
    name : str
        Name for tables, e.g. "mnist without 1".
    train, validation, test : ImageSet
        In-distribution images. No OoD image is among them.
    ood : dict of str to ImageSet
        The OoD test sets by name.
    data : dict of str to str
        Hash of each source set, taken before the set was divided or brought to another shape. The keys are e.g.
        "mnist train", "mnist test" and "celeba". Generated sets have no hash.
    held_out : str or None
        Name of the OoD set that is a class of the ID set; None if there is none.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    ood: dict[str, ImageSet]
    data: dict[str, str] = field(default_factory=dict)
    held_out: str | None = None

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of every image."""
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        """S, the number of ID classes."""
        return len(self.train.classes)


def leave_one_class_out(
    name: Name,
    held_out_class: int | str,
    *,
    protocol: Protocol = "balanced",
    random_state: int = 0,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    load: Load = load_images,
) -> Scenario:
    """Return a scenario: one class of a data set is OoD, the others are ID (LAMAE paper, Setting 1).

    Parameters
    ----------
    name : str or path
        A data set with labels, see :func:`load_images`.
    held_out_class : int or str
        The OoD class. An int is its label as the file has it. A string is its name. If the names are not numbers
        (cat, dog), a number, also in a string, counts the classes from 0.
    protocol : {"balanced", "test-only"}
        "balanced": train and test images of the class, and test sets of the same size. "test-only": only test images.
    random_state : int
        Seed of the validation split and of the cut to equal numbers.
    root, download
        See :func:`load_images`.
    load : callable
        Loads a set, like :func:`load_images`. A function that caches the sets saves time if you make many scenarios.

    Returns
    -------
    Scenario

    Raises
    ------
    ValueError
        The class does not exist, it is ambiguous, it has no test images, the set has no labels, or the test images
        have a class that the training images lack.
    """
    _check_protocol(protocol)
    train = load(name, "train", root, download)
    test = load(name, "test", root, download)
    if train.labels is None or test.labels is None:
        raise ValueError(f"{train.name} has no labels, so no class can be held out: choose a set with labels")
    held_out = _label(held_out_class, train)
    _check_parts(train, test, held_out)
    if len(train.classes) < 2:
        raise ValueError(f"{train.name} has a single class; at least two are needed to hold one out")
    parts = [train, test] if protocol == "balanced" else [test]
    inside, outside = zip(*(_id_and_ood(part, held_out) for part in (train, test)), strict=True)
    if not all(inside) or not sum(outside[-len(parts) :]):
        raise ValueError(
            f"{train.name} without {train.classes[held_out]}: protocol {protocol!r} needs ID images to train on and to "
            f"test, and OoD images; got {inside[0]} and {inside[1]} ID, {outside[0]} training and {outside[1]} test "
            "images of the held-out class"
        )
    ood_images = torch.cat([part.images[part.labels == held_out] for part in parts if part.labels is not None])
    ood_name = f"{train.name}-{train.classes[held_out]}"
    scenario = _scenario(
        f"{train.name} without {train.classes[held_out]}",
        _without(train, held_out),
        _without(test, held_out),
        {ood_name: ImageSet(ood_name, ood_images, known=train.known and test.known)},
        protocol,
        random_state,
        _hashes(train, test),
    )
    return replace(scenario, held_out=ood_name)


def cross_dataset(
    id_name: Name,
    ood_names: Sequence[Name | ImageSet],
    *,
    protocol: Protocol = "balanced",
    image_shape: ImageShape | None = None,
    random_state: int = 0,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    load: Load = load_images,
) -> Scenario:
    """Return a scenario: one data set is ID, others are OoD (LAMAE paper, Settings 2 and 3).

    Parameters
    ----------
    id_name : str or path
        The in-distribution set, see :func:`load_images`.
    ood_names : sequence of str, path or ImageSet
        A known set gives its test images, a path gives all of its images, and an ImageSet is used as it is. "constant"
        and "noise" are generated with the number of images of the ID test set, in the scenario's shape.
    protocol : {"balanced", "test-only"}
        "balanced" cuts all test sets to the same size; "test-only" cuts nothing.
    image_shape : (int, int, int), optional
        Channels, height and width of all images, see :func:`bring_to_shape`. By default the largest of each among the
        sets, so that no pixel is lost.
    random_state : int
        Seed of the validation split, of the generated sets and of the cut to equal numbers.
    root, download, load
        See :func:`leave_one_class_out`.

    Returns
    -------
    Scenario
    """
    _check_protocol(protocol)
    if isinstance(ood_names, str | os.PathLike | ImageSet):
        raise ValueError(f"ood_names must be a list of sets, such as ['noise']; got {ood_names!r}")
    if not ood_names:
        raise ValueError("ood_names is empty: name at least one OoD set")
    train = load(id_name, "train", root, download)
    test = load(id_name, "test", root, download)
    _check_parts(train, test)
    loaded = [
        source if isinstance(source, ImageSet) else load(source, _ood_split(source), root, download)
        for source in ood_names
        if source not in SYNTHETIC
    ]
    if image_shape is None:
        channels, heights, widths = zip(*(part.image_shape for part in [train, *loaded]), strict=True)
        image_shape = (max(channels), max(heights), max(widths))
    drawn = [
        SYNTHETIC[str(source)](len(test), image_shape, random_state) for source in ood_names if source in SYNTHETIC
    ]
    ood = {part.name: part for part in [*loaded, *drawn]}
    if len(ood) < len(ood_names) or train.name in ood:
        raise ValueError(f"the sets of a scenario must have different names; got {train.name} and {list(ood_names)}")
    hashes = _hashes(train, test, loaded)
    train, test = (_with_shape(part, image_shape) for part in (train, test))
    ood = {name: _with_shape(part, image_shape) for name, part in ood.items()}
    return _scenario(train.name, train, test, ood, protocol, random_state, hashes)


def _check_protocol(protocol: str) -> None:
    if protocol not in get_args(Protocol):
        raise ValueError(f"protocol must be one of {', '.join(get_args(Protocol))}; got {protocol!r}")


def _id_and_ood(images: ImageSet, held_out: int) -> tuple[int, int]:
    """Return the numbers of images of the other classes and of the held-out class."""
    assert images.labels is not None
    ood = int((images.labels == held_out).sum())
    return len(images) - ood, ood


def _check_parts(train: ImageSet, test: ImageSet, held_out: int | None = None) -> None:
    """Refuse parts of different classes or shapes, and ID test images of a class that has no training image."""
    if train.classes != test.classes or train.image_shape != test.image_shape:
        raise ValueError(
            f"{train.name}: training images of {train.image_shape} with the classes {list(train.classes)} and test "
            f"images of {test.image_shape} with the classes {list(test.classes)} are not splits of one set"
        )
    if train.labels is None or test.labels is None:
        return
    counts = torch.bincount(test.labels, minlength=len(test.classes)).tolist()
    present = set(train.labels.tolist()) | {held_out}
    missing = {test.classes[label]: n for label, n in enumerate(counts) if n and label not in present}
    if missing:
        raise ValueError(
            f"{train.name}: classes without a training image cannot be in-distribution: "
            + ", ".join(f"{name} ({n} test images)" for name, n in missing.items())
        )


def _label(wanted: Any, images: ImageSet) -> int:
    """Return the index of a class that is given by label or name."""
    if isinstance(wanted, bool) or not isinstance(wanted, str | Integral):
        raise ValueError(f"held_out_class must be an int or a name; got {wanted!r}")
    names = images.classes
    numbered = all(_WHOLE.fullmatch(name) for name in names)
    if isinstance(wanted, str):
        places = {place for place, name in enumerate(names) if name == wanted}
        if not places and not numbered and wanted.isdecimal():
            places = {int(wanted)}
    else:
        places = {place for place, name in enumerate(names) if _WHOLE.fullmatch(name) and int(name) == wanted}
        if not numbered:
            places.add(int(wanted))
    places &= set(range(len(names)))
    if len(places) > 1:
        found = ", ".join(repr(names[place]) for place in sorted(places))
        raise ValueError(f"{images.name}: class {wanted!r} is ambiguous: {found}; give the name as a string")
    if not places:
        shown = names if numbered else range(len(names))
        raise ValueError(
            f"{images.name} has no class {wanted!r}; it has "
            + ", ".join(f"{label} ({name})" for label, name in zip(shown, names, strict=True))
        )
    return places.pop()


_WHOLE = re.compile("-?[0-9]+")


def _ood_split(name: Name) -> str:
    return "test" if name in DATA_SETS or name in EMBEDDED else "all"


def _without(images: ImageSet, held_out: int) -> ImageSet:
    """Return the images of the other classes. Their labels are renumbered 0..S-1."""
    assert images.labels is not None
    kept = images.subset(images.labels != held_out)
    assert kept.labels is not None
    labels = kept.labels - (kept.labels > held_out).long()
    return replace(kept, labels=labels, classes=images.classes[:held_out] + images.classes[held_out + 1 :])


def _with_shape(images: ImageSet, image_shape: ImageShape) -> ImageSet:
    return replace(images, images=bring_to_shape(images.images, image_shape))


def _cut(images: ImageSet, n: int, random_state: int) -> ImageSet:
    generator = torch.Generator().manual_seed(random_state)
    return images.subset(torch.randperm(len(images), generator=generator)[:n].sort().values)


def _hashes(train: ImageSet, test: ImageSet, ood: Sequence[ImageSet] = ()) -> dict[str, str]:
    named = {f"{train.name} train": train, f"{test.name} test": test, **{part.name: part for part in ood}}
    return {name: part.sha256 for name, part in named.items()}


def _scenario(
    name: str,
    train: ImageSet,
    test: ImageSet,
    ood: dict[str, ImageSet],
    protocol: Protocol,
    random_state: int,
    hashes: dict[str, str],
) -> Scenario:
    rest, validation = stratified_split(train.labels, len(train), VALIDATION_SHARE, random_state)
    if protocol == "balanced":
        n = min(len(part) for part in [test, *ood.values()])
        test = _cut(test, n, random_state)
        ood = {ood_name: _cut(part, n, random_state) for ood_name, part in ood.items()}
    return Scenario(name, train.subset(rest), train.subset(validation), test, ood, hashes)
