"""Post-hoc detectors: features, scores compared with other libraries and by hand, records and the command line."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_ood.detector
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.neighbors import NearestNeighbors

from lamae_tutorial import GODIN, LAMAE, SSVAE, ImageSet, auroc
from lamae_tutorial.benchmark.baselines import METHODS, check_post_hoc, post_hoc_scores
from lamae_tutorial.benchmark.cells import cell_key, compute
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.benchmark.grid import dask_client, run_grid
from lamae_tutorial.benchmark.records import read_results
from lamae_tutorial.cli import main
from lamae_tutorial.detectors.classifying import ClassifyingDetector

Bars = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
SETTINGS = {"epochs": 8, "batch_size": 16, "random_state": 0, "device": "cpu", "verbose": False}
KINDS = [f"{name} (post-hoc)" for name in METHODS]
LAMAE_CELL = CellSpec(ScenarioSpec("digits", "1"), "lamae", 0, 2, post_hoc=True)


@pytest.fixture
def lamae(bars: Bars) -> LAMAE:
    return LAMAE(**SETTINGS, classifier_hidden=(12,)).fit(bars[0], bars[1])


@pytest.fixture
def sets(bars: Bars) -> dict[str, ImageSet]:
    return {
        "train": ImageSet("bars", bars[0], bars[1], ("row", "column", "border")),
        "ood": ImageSet("diagonals", bars[2]),
    }


# Features -------------------------------------------------------------------------------------------------------------


def test_the_last_layer_maps_features_to_logits(lamae: LAMAE, bars: Bars) -> None:
    ssvae = SSVAE(**{**SETTINGS, "epochs": 1}, min_log_variance=-4.0).fit(bars[0], bars[1])
    for detector, size in ((lamae, 12), (ssvae, 64)):
        features, logits = detector.features(bars[0])
        assert (features.shape, logits.shape) == ((240, size), (240, 3))
        assert features.dtype == logits.dtype == np.float32
        layer = detector.last_layer(detector.network_)
        with torch.no_grad():
            expected = detector.network_(bars[0].float() / 255)[1]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        by_layer = features @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        np.testing.assert_allclose(by_layer, logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(logits.argmax(1), detector.classify(bars[0]))


def test_features_are_those_before_the_last_layer(bars: Bars) -> None:
    latent = LAMAE(**{**SETTINGS, "epochs": 1}).fit(bars[0], bars[1])
    images = bars[2].float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(latent.features(images)[0], latent.network_.encoder(images), atol=1e-5)
    hidden = LAMAE(**{**SETTINGS, "epochs": 1}, classifier_hidden=(12,)).fit(bars[0], bars[1])
    assert hidden.features(images)[0].min() == 0, "a hidden layer is rectified"


def test_vim_is_left_out_for_godin(bars: Bars, sets: dict[str, ImageSet]) -> None:
    godin = GODIN(**{**SETTINGS, "epochs": 1}).fit(bars[0], bars[1])
    features, logits = godin.features(bars[2])
    with torch.no_grad():
        expected = godin.network_(bars[2].float() / 255)
    for ours, theirs in ((features, expected[0]), (logits, expected[1])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    with pytest.warns(UserWarning, match=r"ViM \(post-hoc\) is left out for GODIN: GODIN has no linear layer"):
        scores = post_hoc_scores(godin, sets["train"], sets)
    assert list(scores) == [kind for kind in KINDS if not kind.startswith("ViM")]


def test_a_class_of_ones_own_may_have_no_features(lamae: LAMAE, bars: Bars) -> None:
    with pytest.raises(ValueError, match="LAMAE does not say what its features are: write `embed`"):
        ClassifyingDetector.embed(lamae, lamae.network_, bars[0])


# Scores ---------------------------------------------------------------------------------------------------------------


def test_scores_by_hand(lamae: LAMAE, sets: dict[str, ImageSet]) -> None:
    scores = post_hoc_scores(lamae, sets["train"], sets)
    assert list(scores) == KINDS
    train, labels = lamae.features(sets["train"].images)[0].astype(float), sets["train"].labels.numpy()
    weight, bias = (part.detach().numpy().astype(float) for part in lamae.last_layer(lamae.network_).parameters())
    for key, part in sets.items():
        features, logits = (array.astype(float) for array in lamae.features(part.images))
        found = {kind.removesuffix(" (post-hoc)"): of_set[key] for kind, of_set in scores.items()}
        assert {(values.dtype, values.shape) for values in found.values()} == {(np.dtype(float), (len(part),))}
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, features)]
        distances = NearestNeighbors(n_neighbors=10).fit(unit[0]).kneighbors(unit[1])[0]
        np.testing.assert_allclose(found["KNN"], distances[:, -1], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found["MaxLogit"], -logits.max(1), rtol=1e-5)
        np.testing.assert_allclose(found["EnergyBased"], -logsumexp(logits, 1), rtol=1e-5)
        shares = softmax(logits, 1)
        np.testing.assert_allclose(found["MaxSoftmax"], -shares.max(1), rtol=1e-5)
        shares = shares.clip(1e-7, 1 - 1e-7)
        np.testing.assert_allclose(found["GEN"], ((shares * (1 - shares)) ** 0.1).mean(1), rtol=1e-2)

        # Mahalanobis and RMD, with covariances as sums, as in pytorch-ood
        means = np.stack([train[labels == label].mean(0) for label in range(3)])
        ridge = 1e-6 * np.eye(train.shape[1])
        within = np.linalg.inv((train - means[labels]).T @ (train - means[labels]) + ridge)
        whole = train - train.mean(0)
        around = np.linalg.inv(whole.T @ whole + ridge)
        squared = cdist(features, means, "mahalanobis", VI=within) ** 2
        np.testing.assert_allclose(found["Mahalanobis"], squared.min(1) / 2, rtol=1e-2, atol=1e-4)
        background = cdist(features, train.mean(0)[None], "mahalanobis", VI=around) ** 2
        np.testing.assert_allclose(found["RMD"], (squared - background).min(1), rtol=1e-2, atol=1e-4)

        # ViM: half of the dimensions are principal
        origin = -np.linalg.pinv(weight) @ bias
        vectors = np.linalg.eigh((train - origin).T @ (train - origin))[1][:, :6]
        residual, of_train = (np.linalg.norm((rows - origin) @ vectors, axis=1) for rows in (features, train))
        alpha = (train @ weight.T + bias).max(1).mean() / of_train.mean()
        np.testing.assert_allclose(found["ViM"], alpha * residual - logsumexp(logits, 1), rtol=1e-2, atol=1e-3)


def test_out_of_distribution_scores_higher(lamae: LAMAE, sets: dict[str, ImageSet]) -> None:
    for kind, of_set in post_hoc_scores(lamae, sets["train"], sets).items():
        assert auroc(of_set["train"], of_set["ood"]) > 0.6, kind


def test_few_images_are_stored_and_drawn_with_the_seed(
    lamae: LAMAE, sets: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    everything = post_hoc_scores(lamae, sets["train"], sets)
    monkeypatch.setattr("lamae_tutorial.benchmark.baselines.STORED", 12)
    few, same = (post_hoc_scores(lamae, sets["train"], sets) for _ in range(2))
    lamae.seed_ = 1
    other = post_hoc_scores(lamae, sets["train"], sets)
    assert (few["KNN (post-hoc)"]["ood"] > everything["KNN (post-hoc)"]["ood"]).all()
    for kind in KINDS:
        np.testing.assert_array_equal(few[kind]["ood"], same[kind]["ood"])
        assert np.array_equal(few[kind]["ood"], other[kind]["ood"]) == (kind != "KNN (post-hoc)")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_images_without_a_label_are_left_out(bars: Bars, sets: dict[str, ImageSet]) -> None:
    images, labels = bars[0], bars[1].clone()
    labels[::2] = -1
    ssvae = SSVAE(**{**SETTINGS, "epochs": 1}, min_log_variance=-4.0).fit(images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 1,024 features of 120 images
        some = post_hoc_scores(ssvae, replace(sets["train"], labels=labels), sets)
        labelled = ImageSet("bars", images[1::2], labels[1::2], sets["train"].classes)
        expected = post_hoc_scores(ssvae, labelled, sets)
    assert some.keys() == expected.keys() >= {"KNN (post-hoc)", "MaxLogit (post-hoc)"}
    for kind in some:
        np.testing.assert_array_equal(some[kind]["ood"], expected[kind]["ood"])


def test_what_cannot_be_computed_is_left_out(
    lamae: LAMAE, sets: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def singular(*_: object) -> None:
        raise torch.linalg.LinAlgError("the matrix is singular")

    monkeypatch.setattr(pytorch_ood.detector.ViM, "predict_features", lambda _, part: part[:, 0] / 0)
    monkeypatch.setattr(pytorch_ood.detector.Mahalanobis, "fit_features", singular)
    with pytest.warns(UserWarning) as told:
        scores = post_hoc_scores(lamae, sets["train"], sets)
    assert list(scores) == ["KNN (post-hoc)", *KINDS[4:]]
    assert [str(one.message) for one in told] == [
        "ViM (post-hoc) is left out for LAMAE: its scores are not finite",
        "Mahalanobis (post-hoc) is left out for LAMAE: the matrix is singular",
        "RMD (post-hoc) is left out for LAMAE: the matrix is singular",
    ]


# Cells ----------------------------------------------------------------------------------------------------------------


def test_a_cells_name_changes_only_where_scores_are_added() -> None:
    for name, changes in (("lamae", True), ("godin", True), ("autoencoder", False), ("trivial", False)):
        cell = replace(LAMAE_CELL, detector=name)
        assert (cell_key(cell) != cell_key(replace(cell, post_hoc=False))) == changes, name


def test_trained_once_and_scored_by_all() -> None:
    (record, arrays), (plain, of_plain) = (
        compute(cell, None, "cpu") for cell in (LAMAE_CELL, replace(LAMAE_CELL, post_hoc=False))
    )
    assert record["cell"]["post_hoc"] and not plain["cell"]["post_hoc"]
    own = plain["results"]
    assert record["results"][: len(own)] == own
    assert [result["score"] for result in record["results"][len(own) :]] == KINDS
    for result in record["results"]:
        scores = (arrays[f"score/{result['score']}/{key}"] for key in ("id", "ood/digits-1"))
        assert result["auroc"] == auroc(*scores)
    for name, values in of_plain.items():
        np.testing.assert_array_equal(arrays[name], values)


def test_on_workers_and_side_by_side(tmp_path: Path) -> None:
    cells = [replace(LAMAE_CELL, seed=seed) for seed in (0, 1)]
    with dask_client(1, None) as client:
        ways = {"workers": {"client": client}, "together": {"side_by_side": True}, "plain": {}}
        results = {}
        for way, settings in ways.items():
            done = run_grid(cells, tmp_path / way, device="cpu", **settings)
            assert done.failed == []
            results[way] = read_results(done.finished)
    for one, two in zip(results["workers"], results["plain"], strict=True):
        assert (one.title, one.seed, one.ood) == (two.title, two.seed, two.ood)
        assert one.auroc == pytest.approx(two.auroc, abs=0.01)
    assert [one.title for one in results["together"]] == [one.title for one in results["plain"]]
    assert sum(one.title == "LAMAE: ViM (post-hoc)" for one in results["together"]) == 2


# The command line -----------------------------------------------------------------------------------------------------


def test_a_run_shows_them_beside_the_detectors_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--id", "digits", "--held-out", "1", "--epochs", "2", "--device", "cpu", "--out", str(tmp_path)]
    assert main([*command, "--detectors", "autoencoder,lamae", "--post-hoc"]) == 0
    shown = capsys.readouterr().out
    titles = [line.split("|")[2].strip() for line in shown.splitlines() if line.startswith("| digits-1")]
    assert titles[:3] == ["AE", "AE+", "AE (cosine)"]
    assert titles[3:5] == ["LAMAE", "LAMAE+"] and titles[-8:] == [f"LAMAE: {kind}" for kind in KINDS]
    assert main(["report", str(tmp_path)]) == 0
    assert "LAMAE: ViM (post-hoc)" in capsys.readouterr().out


def test_a_benchmark_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["benchmark", "figure5", "--profile", "smoke", "--seeds", "1", "--epochs", "1", "--device", "cpu"]
    assert main([*command, "--post-hoc", "--out", str(tmp_path)]) == 0
    records = [json.loads(path.read_text())[0] for path in tmp_path.glob("*.json")]
    assert {record["cell"]["post_hoc"] for record in records} == {True}
    assert "LAMAE: KNN (post-hoc)" in capsys.readouterr().out


def test_a_missing_package_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_ood.detector", None)
    monkeypatch.setattr("lamae_tutorial.benchmark.grid.compute", lambda *_: pytest.fail("trained"))
    command = ["run", "--id", "digits", "--held-out", "1", "--post-hoc", "--out", str(tmp_path)]
    assert main(command) == 2
    assert capsys.readouterr().err.endswith("install it: pip install 'lamae-tutorial[baselines]'\n")
    check_post_hoc([replace(LAMAE_CELL, post_hoc=False)])  # not needed, not missed


def test_a_run_without_a_classifier_is_refused() -> None:
    cells = [replace(LAMAE_CELL, detector=name) for name in ("autoencoder", "trivial")]
    with pytest.raises(ValueError, match="features of a classifier; autoencoder, trivial: none of these has them"):
        check_post_hoc(cells)
