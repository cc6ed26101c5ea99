"""Hostile images, labels, parameters, threads, calibrations and folders: a result or a clear error, a line each."""

import json
import os
import re
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lamae_tutorial import (
    DETECTORS,
    DSEBM,
    LAMAE,
    VAE,
    AutoEncoder,
    Detector,
    ImageSet,
    MemAE,
    auprc,
    auroc,
    bring_to_shape,
    characterize,
    complexity_normalized,
    constant_images,
    fpr_at_tpr,
    noise_images,
    shannon_entropy,
    summary,
)
from lamae_tutorial.conformal import Calibration, benjamini_hochberg

N = 48
LEVELS = np.random.default_rng(0).integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)
SHARES = (LEVELS / 256).astype(np.float16)  # exact in every float type
LABELS = np.arange(N) % 3
SMALL = {"epochs": 1, "batch_size": 16, "random_state": 0, "device": "cpu", "verbose": False}


@cache
def ae() -> AutoEncoder:
    return AutoEncoder(**SMALL, channels=(4, 4)).fit(LEVELS).calibrate(LEVELS)


@cache
def lamae() -> LAMAE:
    return LAMAE(**SMALL, channels=(4, 4)).fit(LEVELS, LABELS)


def table(*cases: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Cases whose first entry is what is done, in words."""
    names = {2: "value", 3: "value, expected"}[len(cases[0])]
    return pytest.mark.parametrize(names, [pytest.param(*case[1:], id=case[0]) for case in cases])


# Arrays ---------------------------------------------------------------------------------------------------------------


def in_inference_mode(array: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return torch.from_numpy(array.copy()) + 0


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def spread(array: np.ndarray) -> np.ndarray:
    wide = np.zeros((*array.shape[:3], 2 * array.shape[3]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


@table(
    ("int64", LEVELS.astype(np.int64)),
    ("int32, big-endian", LEVELS.astype(">i4")),
    ("uint16", LEVELS.astype(np.uint16)),
    ("uint64", LEVELS.astype(np.uint64)),
    ("nested lists", LEVELS.tolist()),
    ("list of tensors", [torch.from_numpy(image) for image in LEVELS]),
    ("tuple of arrays", tuple(LEVELS)),
    ("int16 tensor", torch.from_numpy(LEVELS).short()),
    ("an ImageSet", ImageSet("own", torch.from_numpy(LEVELS))),
    ("read-only", read_only(LEVELS)),
    ("every second column of an array", spread(LEVELS)),
    ("negative strides", np.ascontiguousarray(LEVELS[::-1, :, ::-1])[::-1, :, ::-1]),
    ("Fortran's order", np.asfortranarray(LEVELS)),
    ("masked array without a mask", np.ma.masked_array(LEVELS)),
    ("tensor of inference mode", in_inference_mode(LEVELS)),
)
def test_whole_numbers_are_levels(value: Any) -> None:
    np.testing.assert_array_equal(ae().score(value), ae().score(LEVELS))
    np.testing.assert_array_equal(AutoEncoder(**SMALL, channels=(4, 4)).fit(value).score(LEVELS), ae().score(LEVELS))


@table(
    ("float16", SHARES),
    ("float64", SHARES.astype(np.float64)),
    ("long double", SHARES.astype(np.longdouble)),
    ("float32, big-endian", SHARES.astype(">f4")),
    ("nested lists", SHARES.astype(float).tolist()),
    ("bfloat16 tensor", torch.from_numpy(SHARES).bfloat16()),
    ("tensor with gradients", torch.from_numpy(SHARES).float().requires_grad_()),
    ("parameter", torch.nn.Parameter(torch.from_numpy(SHARES).float())),
    ("list of tensors with gradients", [torch.from_numpy(i).float().requires_grad_() for i in SHARES]),
    ("tensor of inference mode", in_inference_mode(SHARES.astype(np.float32))),
    ("read-only", read_only(SHARES.astype(np.float32))),
)
def test_floats_are_shares(value: Any) -> None:
    plain = torch.from_numpy(SHARES).float()
    np.testing.assert_array_equal(ae().score(value), ae().score(plain))
    np.testing.assert_array_equal(
        DSEBM(**SMALL, channels=(4,)).fit(value).score(value), DSEBM(**SMALL, channels=(4,)).fit(plain).score(plain)
    )
    torch.testing.assert_close(shannon_entropy(value), shannon_entropy(plain))


@table(
    ("(N, H, W, C), grey", LEVELS.transpose(0, 2, 3, 1), r"got \(48, 8, 8, 1\).*images\.transpose\(0, 3, 1, 2\)"),
    ("(N, H, W, C), colour", np.zeros((9, 8, 8, 3), np.uint8), r"images\.transpose\(0, 3, 1, 2\)"),
    ("(N, H, W, C), alpha", np.zeros((9, 8, 8, 4), np.uint8), r"images\.transpose\(0, 3, 1, 2\)"),
    ("(N, H, W, C), tensor", torch.zeros(9, 8, 8, 3), r"images\.permute\(0, 3, 1, 2\)"),
    ("(N, H, W)", LEVELS[:, 0], r"shape \(N, .*images\[:, None\]"),
    ("one image", LEVELS[0], r"images\[None\]"),
    ("a matrix", LEVELS.reshape(N, -1), r"shape \(N, .*got \(48, 64\)"),
    ("a label vector", LABELS, r"got \(48,\).*labels"),
    ("a label tensor", torch.from_numpy(LABELS), r"got \(48,\).*labels"),
    ("five dimensions", LEVELS[None], r"got \(1, 48, 1, 8, 8\)"),
    ("no image", LEVELS[:0], "N >= 1"),
    ("no pixel", LEVELS[:, :, :0], "N >= 1"),
    ("floats up to 255", LEVELS.astype(np.float32), r"must lie in \[0, 1\].*divide them by 255"),
    ("floats from -1", SHARES * 2 - 1, r"must lie in \[0, 1\]; got values from -1"),
    ("not a number", SHARES * np.nan, r"must lie in \[0, 1\]; got values from nan"),
    ("infinite", np.full_like(SHARES, np.inf), r"must lie in \[0, 1\]"),
    ("whole numbers up to 65535", LEVELS.astype(np.uint16) * 257, "must be uint8, or float .* to 65535"),
    ("whole numbers below 0", LEVELS.astype(np.int16) - 128, "must be uint8, or float .* from -128"),
    ("huge whole numbers", LEVELS.astype(np.uint64) + np.uint64(2**63), "must be uint8, or float"),
    ("bool", LEVELS > 128, "must be uint8, or float .*bool.*multiply"),
    ("black and white as int64", (LEVELS > 128).astype(int), "must be uint8, or float .*int64.*multiply"),
    ("complex", LEVELS.astype(complex), "must be uint8, or float .*complex"),
    ("text", LEVELS.astype(str), "images must be numbers; got ndarray of <U"),
    ("objects", LEVELS.astype(object), "images must be numbers; got ndarray of object"),
    ("a path", "pictures/", "images must be numbers; got str"),
    ("None", None, "images must be numbers; got NoneType"),
    ("a mapping", {"images": LEVELS}, "images must be numbers; got dict"),
    ("images of different sizes", [LEVELS[0], LEVELS[0, :, :4]], "all of one shape; got list"),
    ("tensors of different sizes", [torch.zeros(1, 8, 8), torch.zeros(1, 4, 4)], "all of one shape; got list"),
    ("masked pixels", np.ma.masked_array(LEVELS, LEVELS > 200), "no masked values"),
    ("sparse tensor", torch.from_numpy(LEVELS).to_sparse(), "dense tensor"),
    ("tensor without values", torch.empty(9, 1, 8, 8, device="meta"), "dense tensor"),
    ("a table", pd.DataFrame(LEVELS.reshape(N, -1)), r"got \(48, 64\)"),
    ("a column of arrays", pd.Series(list(LEVELS)), "images must be numbers; got Series of object"),
)
def test_what_is_no_set_of_images_is_refused(value: Any, expected: str) -> None:
    functions: list[Callable[[Any], object]] = [
        ae().score,
        ae().predict,
        ae().reconstruct,
        AutoEncoder(**SMALL).fit,
        shannon_entropy,
        lambda images: AutoEncoder(**SMALL).fit(LEVELS, None, (images, None)),
    ]
    for function in functions:
        with pytest.raises(ValueError, match=expected):
            function(value)


def test_an_image_set_brings_its_labels() -> None:
    own = ImageSet("own", torch.from_numpy(LEVELS), torch.from_numpy(LABELS), ("a", "b", "c"))
    fitted = LAMAE(**SMALL, channels=(4, 4)).fit(own)
    np.testing.assert_array_equal(fitted.score(LEVELS), lamae().score(LEVELS))


@table(
    ("the images alone", LEVELS, "validation must be an ImageSet, or a pair of images and labels; got ndarray"),
    ("a mapping", {"images": LEVELS}, "validation must be an ImageSet, or a pair.*; got dict"),
    ("three things", (LEVELS, LABELS, 1), "validation must be an ImageSet, or a pair"),
    ("no labels", (LEVELS, None), "the validation images need labels too; got none"),
    ("another size", (np.zeros((9, 1, 9, 9), np.uint8), LABELS[:9]), r"shape \(N, 1, 8, 8\)"),
)
def test_what_is_no_validation_set_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        LAMAE(**SMALL).fit(LEVELS, LABELS, value)


# Labels ---------------------------------------------------------------------------------------------------------------


@table(
    ("uint8", LABELS.astype(np.uint8)),
    ("big-endian", LABELS.astype(">i8")),
    ("floats", LABELS.astype(float)),
    ("a list", LABELS.tolist()),
    ("a column of a table", pd.Series(LABELS)),
    ("int32 tensor", torch.from_numpy(LABELS).int()),
    ("bfloat16 tensor", torch.from_numpy(LABELS).bfloat16()),
    ("tensor with gradients", torch.from_numpy(LABELS).float().requires_grad_()),
    ("uint64", LABELS.astype(np.uint64)),
)
def test_whole_numbers_are_labels(value: Any) -> None:
    fitted = LAMAE(**SMALL, channels=(4, 4)).fit(LEVELS, value)
    np.testing.assert_array_equal(fitted.score(LEVELS), lamae().score(LEVELS))


@table(
    ("bool", LABELS > 0, r"labels must be 48 whole numbers.*bool.*labels\.astype\(int\)"),
    ("text", np.array(["cat", "dog", "cow"])[LABELS], r"labels must be numbers.*np\.unique\(labels"),
    ("digits as text", LABELS.astype(str), r"labels must be numbers.*np\.unique\(labels"),
    ("(N, 1)", LABELS[:, None], r"labels must be 48 whole numbers.*labels\.ravel\(\)"),
    ("one-hot", np.eye(3)[LABELS], r"labels must be 48 whole numbers.*\(48, 3\)"),
    ("NaN", np.where(LABELS, LABELS, np.nan), "whole numbers.*with NaN"),
    ("halves", LABELS / 2, "labels must be 48 whole numbers"),
    ("None in a list", [None, *LABELS[1:].tolist()], "labels must be numbers; got list of object"),
    ("more than an int64", [2**70, *LABELS[1:].tolist()], "labels must be numbers; got list of object"),
    ("2^63", LABELS.astype(np.uint64) + np.uint64(2**63), "labels must be >= 0; got labels from 9223372036854775808"),
    ("one number", 3, "labels must be 48 whole numbers"),
    ("masked", np.ma.masked_array(LABELS, LABELS == 0), "no masked values"),
    ("a gap", LABELS * 2, r"no class missing; got the classes \[0, 2, 4\]"),
    ("one class an image, with gaps", np.arange(N) * 2, r"no class missing.*38, \.\.\.\]"),
    ("negative", LABELS - 1, "labels must be >= 0; got labels from -1"),
    ("too few", LABELS[:-1], r"labels must be 48 whole numbers.*\(47,\)"),
    ("images", LEVELS, "labels must be 48 whole numbers"),
)
def test_what_is_no_label_vector_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        LAMAE(**SMALL).fit(LEVELS, value)


# PyTorch's state ------------------------------------------------------------------------------------------------------


class default_dtype:
    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        assert torch.get_default_dtype() == torch.float64, "the caller's default is left as it was"
        torch.set_default_dtype(torch.float32)


class default_device:
    def __enter__(self) -> None:
        torch.set_default_device("meta")

    def __exit__(self, *_: object) -> None:
        assert torch.get_default_device().type == "meta", "the caller's default is left as it was"
        torch.set_default_device(None)


@pytest.mark.parametrize("around", [default_dtype, default_device, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", DETECTORS)
def test_pytorchs_state_around_a_call_changes_nothing(name: str, around: Any, tmp_path: Path) -> None:
    def fitted() -> Detector:
        small = {"pixelcnn": {"levels": 4, "features": 4, "layers": 2}, "dsebm": {"channels": (4,)}}
        return DETECTORS[name](**SMALL, **small.get(name, {})).fit(LEVELS, LABELS)

    plain = fitted()
    expected = plain.scores(LEVELS), plain.p_values(LEVELS)
    folder = plain.save(tmp_path / "plain")
    with around():
        inside = fitted()
        found = [
            (inside.scores(LEVELS), inside.p_values(LEVELS)),
            (plain.scores(LEVELS), plain.p_values(LEVELS)),
        ]
        loaded = Detector.load(folder, "cpu")
        found.append((loaded.scores(LEVELS), loaded.p_values(LEVELS)))
    found.append((inside.scores(LEVELS), inside.p_values(LEVELS)))
    found.append((loaded.scores(LEVELS), loaded.p_values(LEVELS)))
    for scores, p_values in found:
        assert scores.keys() == expected[0].keys()
        for kind in scores:
            np.testing.assert_array_equal(scores[kind], expected[0][kind])
        np.testing.assert_array_equal(p_values, expected[1])


# Parameters -----------------------------------------------------------------------------------------------------------

NAN = float("nan")


@table(
    ("epochs 0", ("vae", {"epochs": 0}), "epochs must be a whole number >= 1; got 0"),
    ("epochs 2.0", ("vae", {"epochs": 2.0}), "epochs must be a whole number >= 1; got 2.0"),
    ("epochs text", ("vae", {"epochs": "3"}), "epochs must be a whole number >= 1; got '3'"),
    ("epochs NaN", ("vae", {"epochs": NAN}), "epochs must be .*; got nan"),
    ("epochs absurd", ("vae", {"epochs": 10**30}), "epochs must be"),
    ("epochs list", ("vae", {"epochs": [1]}), r"epochs must be .*; got \[1\]"),
    ("batch_size negative", ("vae", {"batch_size": -4}), "batch_size must be .*; got -4"),
    ("batch_size array", ("vae", {"batch_size": np.arange(3)}), "batch_size must be .*; got array"),
    ("patience 0", ("vae", {"patience": 0}), "patience must be"),
    ("learning_rate 0", ("vae", {"learning_rate": 0}), "learning_rate must be > 0; got 0"),
    ("learning_rate NaN", ("vae", {"learning_rate": NAN}), "learning_rate must be > 0; got nan"),
    ("learning_rate infinite", ("vae", {"learning_rate": float("inf")}), "learning_rate must be > 0; got inf"),
    ("learning_rate negative", ("vae", {"learning_rate": -1e-3}), "learning_rate must be > 0"),
    ("learning_rate text", ("vae", {"learning_rate": "fast"}), "learning_rate must be > 0; got 'fast'"),
    ("learning_rate complex", ("vae", {"learning_rate": 1j}), "learning_rate must be > 0"),
    ("precision", ("pixelcnn", {"precision": "fp8"}), "precision must be one of float32, tf32, bf16; got 'fp8'"),
    ("precision a dtype", ("vae", {"precision": torch.float32}), "precision must be .*; got torch.float32"),
    ("verbose text", ("vae", {"verbose": "no"}), "verbose must be True or False; got 'no'"),
    ("device unknown", ("vae", {"device": "gpu"}), "device 'gpu' is not usable here"),
    ("device None", ("vae", {"device": None}), "device None is not usable here"),
    ("device meta", ("vae", {"device": "meta"}), "device 'meta' is not usable here"),
    ("device number", ("vae", {"device": 1.5}), "device 1.5 is not usable here"),
    ("random_state negative", ("vae", {"random_state": -1}), r"random_state must be None or .*; got -1"),
    ("random_state float", ("vae", {"random_state": 1.0}), "random_state must be"),
    ("random_state huge", ("vae", {"random_state": 2**32}), "random_state must be .*4294967295.*; got 4294967296"),
    ("random_state text", ("vae", {"random_state": "0"}), "random_state must be"),
    ("random_state bool", ("vae", {"random_state": True}), "random_state must be"),
    ("random_state generator", ("vae", {"random_state": np.random.default_rng(0)}), "no generator; got Generator"),
    ("latent_dim 0", ("autoencoder", {"latent_dim": 0}), "latent_dim must be a whole number in 1..65536; got 0"),
    ("latent_dim absurd", ("autoencoder", {"latent_dim": 10**9}), "latent_dim must be .*; got 1000000000"),
    ("latent_dim float", ("vae", {"latent_dim": 8.0}), "latent_dim must be"),
    ("channels text", ("autoencoder", {"channels": "16"}), "channels must be a sequence .*; got '16'"),
    ("channels number", ("autoencoder", {"channels": 16}), "channels must be a sequence .*; got 16"),
    ("channels 0", ("autoencoder", {"channels": (16, 0)}), "channels must be a sequence"),
    ("channels floats", ("autoencoder", {"channels": [16.0]}), "channels must be a sequence"),
    ("channels absurd", ("autoencoder", {"channels": [10**9]}), "channels must be a sequence"),
    ("a million channels", ("autoencoder", {"channels": [1] * 10**6}), "channels must be a sequence"),
    ("channels generator", ("dsebm", {"channels": (c for c in (4, 4))}), "channels must be a sequence"),
    ("reduction", ("autoencoder", {"reduction": "max"}), 'reduction must be "sum" or "mean"; got \'max\''),
    ("reduction empty", ("autoencoder", {"reduction": ""}), 'reduction must be "sum" or "mean"; got \'\''),
    ("num_samples 0", ("vae", {"num_samples": 0}), "num_samples must be"),
    ("min_log_variance NaN", ("vae", {"min_log_variance": NAN}), r"min_log_variance must lie in \[-80, 80\]; got nan"),
    ("min_log_variance low", ("ssvae", {"min_log_variance": -1000}), "min_log_variance must"),
    ("beta negative", ("ssvae", {"beta": -1}), "beta must be >= 0; got -1"),
    ("beta NaN", ("lamae", {"beta": NAN}), "beta must be >= 0; got nan"),
    ("memory_size 0", ("memae", {"memory_size": 0}), "memory_size must be"),
    ("memory_size text", ("memae", {"memory_size": "100"}), "memory_size must be"),
    ("temperature 0", ("memae", {"temperature": 0}), "temperature must be > 0; got 0"),
    ("temperature NaN", ("memae", {"temperature": NAN}), "temperature must be > 0; got nan"),
    ("entropy_weight negative", ("memae", {"entropy_weight": -1}), "entropy_weight must be >= 0"),
    ("variant", ("lamae", {"variant": "code"}), 'variant must be "paper" or "notebook"; got'),
    ("slots_per_class 0", ("lamae", {"slots_per_class": 0}), "slots_per_class must be"),
    ("slots_per_class float", ("lamae", {"slots_per_class": 2.5}), "slots_per_class must be"),
    ("skip_dim negative", ("lamae", {"skip_dim": -1}), "skip_dim must be"),
    ("classifier_hidden number", ("lamae", {"classifier_hidden": 8}), "classifier_hidden must be a sequence"),
    ("similarity", ("godin", {"similarity": "dot"}), "similarity must be one of cosine, inner, euclid; got 'dot'"),
    ("backbone", ("godin", {"backbone": "vit"}), 'backbone must be "conv", "resnet34" or None; got'),
    ("weight_decay negative", ("godin", {"weight_decay": -1}), "weight_decay must be >= 0"),
    ("perturbations empty", ("godin", {"perturbations": ()}), r"perturbations must be .*; got \(\)"),
    ("perturbations number", ("godin", {"perturbations": 0.1}), "perturbations must be"),
    ("perturbations NaN", ("godin", {"perturbations": [NAN]}), "perturbations must be"),
    ("auxiliary_layer", ("difference", {"auxiliary_layer": 4}), r"auxiliary_layer must lie in 1\.\.3; got 4"),
    ("auxiliary_layer text", ("difference", {"auxiliary_layer": "2"}), "auxiliary_layer must lie in"),
    ("pseudo_outliers", ("difference", {"pseudo_outliers": "cifar10"}), "pseudo_outliers must be"),
    ("pseudo_outliers number", ("difference", {"pseudo_outliers": 3}), "pseudo_outliers must be"),
    ("noise_augmentation NaN", ("difference", {"noise_augmentation": NAN}), "noise_augmentation must be >= 0; got nan"),
    ("betas", ("difference", {"betas": (0.9, 1.0)}), r"betas must be two numbers in \[0, 1\)"),
    ("one beta", ("difference", {"betas": 0.9}), "betas must be two numbers"),
    ("milestones", ("difference", {"milestones": 40}), "milestones must be a sequence"),
    ("levels", ("pixelcnn", {"levels": 1}), r"levels must be a whole number in 2\.\.256; got 1"),
    ("kernel_size even", ("pixelcnn", {"kernel_size": 4}), "kernel_size must be an odd whole number"),
    ("kernel_size float", ("pixelcnn", {"kernel_size": 5.0}), "kernel_size must be an odd whole number"),
    ("a million layers", ("pixelcnn", {"layers": 10**6}), "layers must be a whole number in 1..1000; got 1000000"),
    ("noise NaN", ("dsebm", {"noise": NAN}), "noise must be > 0; got nan"),
    ("hidden 0", ("dsebm", {"hidden": 0}), "hidden must be"),
)
def test_parameters_are_checked_before_anything_else(value: tuple[str, dict[str, Any]], expected: str) -> None:
    name, settings = value
    detector = DETECTORS[name](**{**SMALL, **settings})
    with pytest.raises(ValueError, match=expected):
        detector.fit(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=expected):
        detector.fit(LEVELS, LABELS)


@table(
    ("autoencoder", "autoencoder"),
    ("lamae", "lamae"),
    ("godin", "godin"),
    ("vae", "vae"),
    ("difference", "difference"),
)
def test_a_batch_of_one_is_refused_where_it_is_normalised(value: str) -> None:
    with pytest.raises(ValueError, match="batch_size must be >= 2 for a network with batch normalisation; got 1"):
        DETECTORS[value](**{**SMALL, "batch_size": 1}).fit(LEVELS, LABELS)


def test_a_batch_of_one_is_taken_where_nothing_is_normalised() -> None:
    assert np.isfinite(DSEBM(**{**SMALL, "batch_size": 1}, channels=(4,)).fit(LEVELS).score(LEVELS)).all()


@table(
    ("seed of NumPy", ("vae", {"random_state": np.int64(0)}, {"random_state": 0})),
    ("channels in an array", ("vae", {"channels": np.array([4, 8])}, {"channels": (4, 8)})),
    ("channels in a list", ("vae", {"channels": [4, 8]}, {"channels": (4, 8)})),
    ("float32 rate", ("vae", {"learning_rate": np.float32(0.125)}, {"learning_rate": 0.125})),
    ("slots of NumPy", ("lamae", {"slots_per_class": np.int64(4)}, {"slots_per_class": 4})),
    ("slots in an array", ("lamae", {"slots_per_class": np.array([4, 2, 3])}, {"slots_per_class": [4, 2, 3]})),
    ("steps in an array", ("godin", {"perturbations": np.array([0.0, 0.25])}, {"perturbations": (0.0, 0.25)})),
    ("name of NumPy", ("vae", {"reduction": np.str_("mean")}, {"reduction": "mean"})),
    ("a device", ("vae", {"device": torch.device("cpu")}, {"device": "cpu"})),
)
def test_numpys_values_are_as_good_as_pythons(value: Any, tmp_path: Path) -> None:
    name, given, plain = value
    first, second = (DETECTORS[name](**{**SMALL, **chosen}).fit(LEVELS, LABELS) for chosen in (given, plain))
    np.testing.assert_array_equal(first.score(LEVELS), second.score(LEVELS))
    np.testing.assert_array_equal(Detector.load(first.save(tmp_path / "a"), "cpu").score(LEVELS), second.score(LEVELS))


def test_a_class_of_ones_own_needs_no_rules() -> None:
    class Mean(Detector):
        title, score_kinds, needs_labels = "Mean", ("mean",), False

        def __init__(self, colour: str = "any", **further: Any) -> None:
            super().__init__(**further)
            self.colour = colour

        def build_network(self, image_shape: Any, num_classes: int) -> torch.nn.Module:
            return torch.nn.Flatten()

        def train_network(self, network: torch.nn.Module, data: Any) -> list[dict[str, Any]]:
            return []

        def score_batch(self, network: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"mean": network(images).mean(1)}

    assert Mean(colour="any").fit(LEVELS).score(LEVELS).shape == (N,)


SCORES = np.linspace(0, 1, 30)


@table(
    ("base 1", lambda: shannon_entropy(LEVELS, base=1), "base must be > 1; got 1"),
    ("base 0", lambda: shannon_entropy(LEVELS, base=0), "base must be > 1; got 0"),
    ("base negative", lambda: shannon_entropy(LEVELS, base=-2), "base must be > 1; got -2"),
    ("base NaN", lambda: shannon_entropy(LEVELS, base=NAN), "base must be > 1; got nan"),
    ("base text", lambda: shannon_entropy(LEVELS, base="e"), "base must be > 1; got 'e'"),
    ("gamma NaN", lambda: complexity_normalized(SCORES, LEVELS[:30], NAN), "gamma must be > 0; got nan"),
    ("gamma text", lambda: complexity_normalized(SCORES, LEVELS[:30], "1"), "gamma must be > 0; got '1'"),
    ("NaN error", lambda: complexity_normalized([NAN], LEVELS[:1]), "scores must be reconstruction errors"),
    ("tpr NaN", lambda: fpr_at_tpr(SCORES, SCORES, NAN), r"tpr must lie in \(0, 1\]; got nan"),
    ("tpr text", lambda: fpr_at_tpr(SCORES, SCORES, "95%"), r"tpr must lie in \(0, 1\]; got '95%'"),
    ("tpr 0", lambda: summary(SCORES, SCORES, 0), r"tpr must lie in \(0, 1\]; got 0"),
    ("positive list", lambda: auprc(SCORES, SCORES, ["ood"]), 'positive must be "ood" or "id"'),
    ("masked scores", lambda: auroc(np.ma.masked_array(SCORES, SCORES > 0.5), SCORES), "id_scores must be finite"),
    ("complex scores", lambda: auroc(SCORES * 1j, SCORES), "must be real numbers"),
    ("scores (N, 1)", lambda: auroc(SCORES[:, None], SCORES), r"id_scores must have the shape \(N,\)"),
    ("alpha NaN", lambda: ae().predict(LEVELS, NAN), r"alpha must lie in \(0, 1\); got nan"),
    ("alpha text", lambda: ae().predict(LEVELS, "5%"), r"alpha must lie in \(0, 1\); got '5%'"),
    ("alpha 0", lambda: ae().predict(LEVELS, 0), r"alpha must lie in \(0, 1\); got 0"),
    ("alpha 1", lambda: benjamini_hochberg([0.5], 1), r"alpha must lie in \(0, 1\); got 1"),
    ("n 0", lambda: constant_images(0), "n must be a whole number >= 1; got 0"),
    ("n negative", lambda: noise_images(-3), "n must be a whole number >= 1; got -3"),
    ("n float", lambda: noise_images(10.0), "n must be a whole number >= 1; got 10.0"),
    ("n absurd", lambda: noise_images(2**31 - 1), "would need .* GiB"),
    ("seed negative", lambda: constant_images(3, random_state=-1), "random_state must be a whole number"),
    ("seed float", lambda: noise_images(3, random_state=0.5), "random_state must be a whole number"),
    ("seed None", lambda: noise_images(3, random_state=None), "random_state must be a whole number"),
    ("split", lambda: noise_images(3, split="dev"), "split must be one of train, test, all; got 'dev'"),
    ("shape of two", lambda: noise_images(3, (28, 28)), r"image_shape must be \(1 or 3, height, width\)"),
    ("shape negative", lambda: noise_images(3, (1, -28, 28)), "image_shape must be"),
    ("shape of floats", lambda: constant_images(3, (1, 28.0, 28.0)), "image_shape must be"),
    ("two channels", lambda: constant_images(3, (2, 28, 28)), "image_shape must be"),
    ("absurd size", lambda: bring_to_shape(torch.from_numpy(LEVELS), (1, 10**6, 10**6)), "image_shape must be"),
    ("shape None", lambda: bring_to_shape(torch.from_numpy(LEVELS), None), "image_shape must be"),
    ("complexity of labels", lambda: characterize(LABELS, LEVELS), "images must have the shape"),
)
def test_functions_check_their_parameters(value: Callable[[], object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        value()


@table(
    ("scores with gradients", lambda: auroc(torch.rand(9, requires_grad=True), torch.ones(9)), 1.0),
    ("bfloat16 scores", lambda: auroc(torch.zeros(9).bfloat16(), torch.ones(9).bfloat16()), 1.0),
    ("n of NumPy", lambda: len(noise_images(np.int64(3), (1, np.int64(4), 4))), 3),
    ("alpha of NumPy", lambda: len(ae().predict(LEVELS, np.float32(0.5))), N),
)
def test_functions_take_numbers_of_any_kind(value: Callable[[], object], expected: object) -> None:
    assert value() == expected


# Randomness -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "difference"])
def test_fits_in_threads_give_what_each_gives_alone(name: str) -> None:
    def fitted(seed: int) -> Detector:
        return DETECTORS[name](**{**SMALL, "epochs": 3, "random_state": seed}).fit(LEVELS)

    alone = [fitted(seed).score(LEVELS) for seed in range(4)]
    found: dict[int, np.ndarray] = {}
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait()
        found[seed] = fitted(seed).score(LEVELS)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], alone[seed])


def test_loading_in_another_thread_does_not_disturb_a_fit(tmp_path: Path) -> None:
    folder = ae().save(tmp_path / "model")
    settings = {**SMALL, "epochs": 6}
    alone = VAE(**settings).fit(LEVELS).score(LEVELS)
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            Detector.load(folder, "cpu")

    thread = threading.Thread(target=load)
    thread.start()
    try:
        np.testing.assert_array_equal(VAE(**settings).fit(LEVELS).score(LEVELS), alone)
    finally:
        ended.set()
        thread.join()


def states() -> list[bytes]:
    return [torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()).encode()]  # noqa: NPY002


def test_no_global_generator_is_left_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = states()
    folder = VAE(**SMALL).fit(LEVELS).save(tmp_path / "model")
    Detector.load(folder, "cpu").score(LEVELS)
    noise_images(3), constant_images(3)
    monkeypatch.setattr(VAE, "loss", lambda *_: torch.rand(()) / 0)
    with pytest.raises((FloatingPointError, RuntimeError)):
        VAE(**SMALL).fit(LEVELS)
    assert states() == before


# Calibration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DETECTORS)
def test_an_image_equal_to_calibration_images_is_accepted(name: str) -> None:
    """The same image scores a little differently in a batch of another size: rounding must not make it an outlier."""
    small = {"pixelcnn": {"levels": 4, "features": 4, "layers": 2}, "dsebm": {"channels": (4,)}}
    detector = DETECTORS[name](**SMALL, **small.get(name, {})).fit(LEVELS, LABELS)
    for kind in detector.score_kinds:
        for image in (LEVELS[:1], np.full((1, 1, 8, 8), 130, np.uint8)):
            detector.calibrate(np.repeat(image, 101, axis=0), kind)
            for copies in (1, 7, 300):
                equal = np.repeat(image, copies, axis=0)
                assert (detector.p_values(equal) == 1).all(), (kind, copies)
                assert (detector.predict(equal) == 1).all() and (detector.decision_function(equal) >= 0).all()


def test_ties_count() -> None:
    p = Calibration(np.array([1.0, 1.0, 1.0, 2.0])).p_values([1.0, 2.0, 3.0])
    np.testing.assert_allclose(p, [1, 2 / 5, 1 / 5])


def test_a_class_without_calibration_images_warns_and_is_judged() -> None:
    labels = np.arange(120) % 3
    images = np.random.default_rng(1).integers(0, 16, (120, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label] += 200
    detector = LAMAE(**{**SMALL, "epochs": 10, "learning_rate": 0.01}, channels=(4, 4)).fit(images, labels)
    classes = detector.classify(images)
    assert (classes == labels).mean() > 0.9
    detector.class_names_ = ("cat", "dog", "cow")
    with pytest.warns(UserWarning, match="no calibration image is classified as dog: images of these classes"):
        detector.calibrate(images[classes != 1], per_class=True)
    unseen = images[classes == 1]
    expected = Calibration(detector.calibration_.scores).p_values(detector.score(unseen))
    np.testing.assert_array_equal(detector.p_values(unseen), expected)
    assert (detector.p_values(255 - images) < 0.1).all(), "not accepted for that reason alone"
    for shown in (unseen, images, 255 - images):
        np.testing.assert_array_equal(detector.predict(shown, 0.05) == 1, detector.decision_function(shown) >= 0)


def test_too_few_calibration_images_are_too_few_for_every_verdict() -> None:
    few = AutoEncoder(**SMALL, channels=(4,)).fit(LEVELS, None, (LEVELS[:5], None))
    for verdict in (few.predict, few.decision_function):
        with pytest.raises(ValueError, match=r"no p-value is as low as alpha = 0\.05.*more images \(19, "):
            verdict(LEVELS)


@table(
    ("NaN", lambda: Calibration(np.array([1.0, NAN])), "calibration scores must be finite"),
    ("none", lambda: Calibration(np.array([])), "calibration scores must have the shape"),
    ("a NaN score", lambda: Calibration(SCORES).p_values([NAN]), "scores must be finite"),
    ("groups of floats", lambda: Calibration(SCORES, SCORES), "one whole number per score"),
    ("groups missing", lambda: Calibration(SCORES, np.arange(30)).p_values([0.5]), "give the group"),
    ("one group too few", lambda: Calibration(SCORES, np.arange(29)), r"groups must have the shape \(30,\)"),
)
def test_calibrations_are_checked(value: Callable[[], object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        value()


def test_groups_in_a_list_are_groups() -> None:
    np.testing.assert_allclose(Calibration([1.0, 2.0], [0, 1]).p_values([1.5, 1.5], [0, 1]), [0.5, 1.0])


def test_a_failed_fit_leaves_the_old_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = AutoEncoder(**SMALL, channels=(4,)).fit(LEVELS)
    before = detector.scores(LEVELS), detector.p_values(LEVELS)
    score_batch = AutoEncoder.score_batch
    monkeypatch.setattr(
        AutoEncoder, "score_batch", lambda self, *a: {k: v * NAN for k, v in score_batch(self, *a).items()}
    )
    with pytest.raises(ValueError, match=r"finite|reconstruction errors"):
        detector.set_params(random_state=1).fit(LEVELS)
    monkeypatch.undo()
    np.testing.assert_array_equal(detector.score(LEVELS), before[0]["error"])
    np.testing.assert_array_equal(detector.p_values(LEVELS), before[1])


# Saving ---------------------------------------------------------------------------------------------------------------


@table(
    ("channels", ("autoencoder", {"channels": (4,)})),
    ("latent_dim", ("autoencoder", {"latent_dim": 5})),
    ("reduction", ("autoencoder", {"reduction": "mean"})),
    ("nonsense", ("autoencoder", {"channels": "nonsense"})),
    ("num_samples", ("vae", {"num_samples": 2, "min_log_variance": 3.0})),
    ("memory_size", ("memae", {"memory_size": 3})),
    ("variant", ("lamae", {"variant": "notebook", "slots_per_class": 3})),
    ("similarity", ("godin", {"similarity": "euclid", "perturbations": (0.5,)})),
    ("levels", ("pixelcnn", {"levels": 8})),
    ("auxiliary_layer", ("difference", {"auxiliary_layer": 1, "auxiliary": None})),
)
def test_parameters_set_after_fit_change_no_score_and_no_saved_detector(value: Any, tmp_path: Path) -> None:
    name, changed = value
    small = {"pixelcnn": {"levels": 4, "features": 4, "layers": 2}}
    detector = DETECTORS[name](**SMALL, **small.get(name, {})).fit(LEVELS, LABELS)
    before = detector.scores(LEVELS), detector.p_values(LEVELS)
    detector.set_params(**changed)
    loaded = Detector.load(detector.save(tmp_path / "model"), "cpu")
    for after in (detector, loaded):
        for kind, scores in after.scores(LEVELS).items():
            np.testing.assert_array_equal(scores, before[0][kind])
        np.testing.assert_array_equal(after.p_values(LEVELS), before[1])


def test_a_parameter_changed_in_place_changes_no_saved_detector(tmp_path: Path) -> None:
    channels = [4, 4]
    detector = AutoEncoder(**SMALL, channels=channels).fit(LEVELS)
    channels.append(8)
    loaded = Detector.load(detector.save(tmp_path / "model"), "cpu")
    np.testing.assert_array_equal(loaded.score(LEVELS), detector.score(LEVELS))


def parameters(**changed: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: {**config, "parameters": {**config["parameters"], **changed}}


def entry(**changed: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: {**config, **changed}


@table(
    ("a list", lambda config: [config]),
    ("a number", lambda config: 1),
    ("null", lambda config: None),
    ("format text", entry(format="1")),
    ("format NaN", entry(format=NAN)),
    ("format true", entry(format=True)),
    ("format 0", entry(format=0)),
    ("format list", entry(format=[])),
    ("class dunder", entry(detector="__class__")),
    ("class list", entry(detector=["AutoEncoder"])),
    ("class null", entry(detector=None)),
    ("abstract class", entry(detector="ReconstructionDetector")),
    ("module number", entry(module=3)),
    ("parameters list", entry(parameters=[1, 2])),
    ("parameters null", entry(parameters=None)),
    ("unknown parameter", parameters(hidden_layers=3)),
    ("dunder parameter", parameters(__class__="x")),
    ("channels [1e9]", parameters(channels=[1e9])),
    ("channels 10^9", parameters(channels=[10**9])),
    ("channels 10^400", parameters(channels=[10**400])),
    ("channels wide", parameters(channels=[65536] * 3)),
    ("a million layers", parameters(channels=[1] * 10**6)),
    ("channels nested", parameters(channels=[[4], [4]])),
    ("channels NaN", parameters(channels=[NAN])),
    ("channels text", parameters(channels="4,4")),
    ("channels mapping", parameters(channels={"a": 1})),
    ("channels others", parameters(channels=[4])),
    ("latent_dim infinite", parameters(latent_dim=float("inf"))),
    ("latent_dim null", parameters(latent_dim=None)),
    ("epochs negative", parameters(epochs=-1)),
    ("learning_rate NaN", parameters(learning_rate=NAN)),
    ("image_shape of two", entry(image_shape=[8, 8])),
    ("image_shape 0", entry(image_shape=[0, 8, 8])),
    ("image_shape negative", entry(image_shape=[1, -8, 8])),
    ("image_shape huge", entry(image_shape=[1, 10**6, 10**6])),
    ("image_shape beyond int64", entry(image_shape=[1, 10**20, 8])),
    ("image_shape infinite", entry(image_shape=[1, float("inf"), 8])),
    ("image_shape floats", entry(image_shape=[1.0, 8.0, 8.0])),
    ("image_shape text", entry(image_shape="188")),
    (
        "image_shape and channels huge",
        lambda c: parameters(channels=[65536] * 3)(entry(image_shape=[1, 2**20, 2**20])(c)),
    ),
    ("num_classes huge", entry(num_classes=10**9)),
    ("num_classes infinite", entry(num_classes=float("inf"))),
    ("num_classes NaN", entry(num_classes=NAN)),
    ("num_classes negative", entry(num_classes=-1)),
    ("class_names text", entry(class_names="ab", num_classes=2)),
    ("class_names numbers", entry(class_names=[1, 2], num_classes=2)),
    ("class_names null", entry(class_names=None)),
    ("seed infinite", entry(seed=float("inf"))),
    ("seed text", entry(seed="0")),
    ("history null", entry(history=None)),
    ("history number", entry(history=[1, 2])),
    ("history mapping", entry(history={"epoch": 1})),
    ("calibration_kind unknown", entry(calibration_kind="likelihood")),
    ("calibration_kind list", entry(calibration_kind=[])),
    ("sha256 null", entry(sha256=None)),
    ("recipe other", entry(recipe=99)),
)
def test_a_damaged_config_is_refused(value: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    folder = ae().save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(value(config)))
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))} is not a saved detector"):
        Detector.load(folder, "cpu")


@table(
    ("deep nesting", lambda folder: (folder / "config.json").write_text("[" * 200_000)),
    ("deep nesting, closed", lambda folder: (folder / "config.json").write_text("[" * 100_000 + "]" * 100_000)),
    ("empty", lambda folder: (folder / "config.json").write_text("")),
    ("bytes", lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00")),
    ("oversized", lambda folder: (folder / "config.json").write_text('{"a": "' + "x" * 2**25 + '"}')),
    ("a pipe", lambda folder: ((folder / "config.json").unlink(), os.mkfifo(folder / "config.json"))),
    ("a folder", lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").mkdir())),
    ("a loop", lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").symlink_to("config.json"))),
    ("missing", lambda folder: (folder / "config.json").unlink()),
    ("weights missing", lambda folder: (folder / "model.safetensors").unlink()),
    ("weights a pipe", lambda f: ((f / "model.safetensors").unlink(), os.mkfifo(f / "model.safetensors"))),
    ("weights empty", lambda folder: (folder / "model.safetensors").write_bytes(b"")),
)
def test_a_damaged_file_is_refused(value: Callable[[Path], object], tmp_path: Path) -> None:
    folder = ae().save(tmp_path / "model")
    value(folder)
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))} is not a saved detector"):
        Detector.load(folder, "cpu")


@table(
    ("NaN", {"calibration.scores": torch.tensor([1.0, NAN])}),
    ("none", {"calibration.scores": torch.zeros(0)}),
    ("of two dimensions", {"calibration.scores": torch.zeros(3, 3)}),
    ("groups of a detector without a classifier", {"calibration.groups": torch.zeros(4, dtype=torch.int64)}),
)
def test_a_damaged_calibration_is_refused(value: dict[str, torch.Tensor], tmp_path: Path) -> None:
    import hashlib

    folder = ae().save(tmp_path / "model")
    save_file({**load_file(folder / "model.safetensors"), **value}, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sha256": digest}))
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))} is not a saved detector"):
        Detector.load(folder, "cpu")


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def written(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


@table(
    ("config.json of another tool", lambda at: written(at / "x", config_json='{"port": 80}'), FileExistsError),
    (
        "a model of another tool",
        lambda at: written(at / "x", config_json='{"architectures": ["Bert"]}', model_safetensors="weights"),
        FileExistsError,
    ),
    ("weights alone", lambda at: written(at / "x", model_safetensors="weights"), FileExistsError),
    ("a config.json that is no JSON", lambda at: written(at / "x", config_json="{"), FileExistsError),
    ("a text", lambda at: written(at / "x", thesis_txt="mine"), FileExistsError),
    ("a file", lambda at: written(at / "x", y="mine") / "y", FileExistsError),
    ("below a file", lambda at: written(at / "x", y="mine") / "y" / "model", NotADirectoryError),
    ("far below a file", lambda at: written(at / "x", y="mine") / "y" / "a" / "b" / "model", NotADirectoryError),
    ("a link to nothing", lambda at: ((at / "x").symlink_to(at / "gone"), at / "x")[1], FileExistsError),
)
def test_nothing_else_is_overwritten(value: Callable[[Path], Path], expected: type[OSError], tmp_path: Path) -> None:
    target = value(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(expected, match=r"name another folder"):
        ae().save(target)
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ae().save(tmp_path / "model")
    before = contents(tmp_path)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        ae().save(folder)
    assert contents(tmp_path) == before


def test_a_class_of_one_name_and_other_code_is_refused(tmp_path: Path) -> None:
    def define(sign: int) -> type[Detector]:
        class Shade(MemAE):
            def score_batch(self, network: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
                scores = super().score_batch(network, images)
                return (
                    {**scores, "cosine": scores["cosine"] * 1.0}
                    if sign > 0
                    else {**scores, "cosine": -scores["cosine"]}
                )

        return Shade

    folder = define(1)(**SMALL).fit(LEVELS).save(tmp_path / "model")
    assert type(Detector.load(folder, "cpu")).__name__ == "Shade", "a subclass of one's own comes back"

    class Shade(MemAE):
        def score_batch(self, network: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {kind: -scores for kind, scores in super().score_batch(network, images).items()}

    with pytest.raises(ValueError, match="class Shade has other code"):
        Detector.load(folder, "cpu")


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AutoEncoder(**SMALL, channels=(4,)).fit(read_only(LEVELS)).score(read_only(LEVELS))
