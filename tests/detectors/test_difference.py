"""The difference-image detector: its two stages, where the latent joins, and that it only reads the given images."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lamae_tutorial import Detector, DifferenceDetector, cross_dataset
from lamae_tutorial.benchmark.cells import evaluate
from lamae_tutorial.benchmark.records import cell_record
from lamae_tutorial.benchmark.settings import SETTINGS
from lamae_tutorial.data import catalogue, synthetic
from lamae_tutorial.detectors.difference import DifferenceNetwork
from lamae_tutorial.detectors.pseudo_outliers import inversion

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network_of(detector: DifferenceDetector, shape=(1, 8, 8)) -> DifferenceNetwork:
    torch.manual_seed(0)
    network = detector.build_network(shape, 0)
    assert isinstance(network, DifferenceNetwork)
    return network.eval()


def quick(**settings) -> DifferenceDetector:
    return DifferenceDetector(**{"epochs": 2, "batch_size": 16, "random_state": 0, "device": "cpu", **settings})


def test_difference_and_scores_by_hand() -> None:
    detector = DifferenceDetector()
    network = network_of(detector)
    rebuilt, latent = network.autoencoder(IMAGES)
    scores = detector.score_batch(network, IMAGES)
    assert tuple(scores) == ("outlier", "error")
    torch.testing.assert_close(scores["error"], (IMAGES - rebuilt).abs().sum((1, 2, 3)))
    torch.testing.assert_close(scores["outlier"], network.classifier((IMAGES - rebuilt).abs(), latent))
    mean = DifferenceDetector(reduction="mean").score_batch(network, IMAGES)["error"]
    torch.testing.assert_close(mean, scores["error"] / 64)


def test_the_loss_is_the_cross_entropy_of_images_and_pseudo_outliers() -> None:
    detector = DifferenceDetector(pseudo_outliers=inversion)
    network = network_of(detector)
    odds = torch.cat([network(IMAGES)[2], network(1 - IMAGES)[2]])
    expected = F.cross_entropy(torch.stack([torch.zeros(12), odds], 1), torch.tensor([0] * 6 + [1] * 6))
    loss = detector.loss(network, IMAGES, None)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(weight.grad is None for weight in network.autoencoder.parameters())
    assert all(weight.grad is not None for weight in network.classifier.parameters())


def test_noise_is_added_to_both_labels_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    for amount in (0.2, 0.0):
        detector = DifferenceDetector(pseudo_outliers=inversion, noise_augmentation=amount)
        network = network_of(detector)
        monkeypatch.setattr(
            network.autoencoder, "forward", lambda x: seen.append(x) or (x * 0, torch.zeros(len(x), 32))
        )
        images = torch.full((200, 1, 8, 8), 0.4)
        detector.loss(network, images, None)
        network.classifier.train()
        detector.loss(network, images, None)
        evaluated, trained = seen[-2:]
        assert torch.equal(evaluated, torch.cat([images, 1 - images]))
        spread = (trained - evaluated).flatten(1).std(1)
        if amount:
            for half in spread.split(200):
                assert 60 < (half == 0).sum() < 140 and half.max() < 0.25 and half[half > 0].mean() > 0.05
        else:
            assert torch.equal(trained, evaluated)


@pytest.mark.parametrize("backbone", ["conv", "resnet18"])
@pytest.mark.parametrize("layer", [1, 3])
def test_the_latent_joins_after_the_layer_that_is_named(backbone, layer: int) -> None:
    network = network_of(DifferenceDetector(backbone=backbone, auxiliary_layer=layer), (3, 32, 32))
    classifier = network.classifier
    assert len(classifier.before) == layer and classifier.join.in_features == 32
    difference, latent = torch.rand(2, 3, 32, 32), torch.randn(2, 32)
    maps = classifier.before(difference)
    maps = maps + classifier.join(latent)[:, :, None, None]
    expected = classifier.head(classifier.after(maps).mean((2, 3)))[:, 0]
    torch.testing.assert_close(classifier(difference, latent), expected)
    assert not torch.allclose(classifier(difference, latent), classifier(difference, -latent))


def test_without_the_auxiliary_input_the_latent_changes_nothing() -> None:
    classifier = network_of(DifferenceDetector(auxiliary=None)).classifier
    assert torch.equal(classifier(IMAGES, torch.zeros(6, 32)), classifier(IMAGES, torch.ones(6, 32)))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 9, 14)])
def test_resnet_encoder_mirrored_decoder_and_classifier(shape) -> None:
    network = network_of(DifferenceDetector(**DifferenceDetector.PAPER), shape)
    rebuilt, latent, odds = network(torch.rand(2, *shape))
    assert rebuilt.shape == (2, *shape) and latent.shape == (2, 512) and odds.shape == (2,)
    encoder, decoder = network.autoencoder.encoder, network.autoencoder.decoder
    assert encoder.conv1.stride == (1, 1) and isinstance(encoder.maxpool, nn.Identity)
    for part in (encoder, decoder, network.classifier):
        blocks = [module for module in part.modules() if type(module).__name__ == "BasicBlock"]
        assert len(blocks) == 8
    widths = [block.conv2.out_channels for block in decoder.modules() if type(block).__name__ == "BasicBlock"]
    assert widths == [512, 512, 256, 256, 128, 128, 64, 64]


def test_cifar10_has_a_wider_quick_network() -> None:
    network = network_of(DifferenceDetector(**SETTINGS["cifar10"]["difference"]), (3, 32, 32))
    assert network.classifier.join.in_features == 64 and network.classifier.head.in_features == 128


def test_stage_two_leaves_the_autoencoder_alone(bars, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = []
    original = DifferenceDetector.loss

    def watched(self, network, images, labels):
        snapshots.append({name: value.clone() for name, value in network.autoencoder.state_dict().items()})
        assert not network.autoencoder.training
        return original(self, network, images, labels)

    monkeypatch.setattr(DifferenceDetector, "loss", watched)
    detector = quick().fit(bars[0])
    assert len(snapshots) > 20
    for name, value in detector.network_.autoencoder.state_dict().items():
        assert torch.equal(value, snapshots[0][name]), name
    assert not any(module.training for module in detector.network_.modules())


def test_history_names_the_stages_and_settings_reach_adam(bars, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, tuple[float, float]]] = []
    step = torch.optim.Adam.step

    def watched(self, *arguments):
        rates.append((self.param_groups[0]["lr"], self.param_groups[0]["betas"]))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    detector = quick(epochs=3, batch_size=240, milestones=(1, 2), learning_rate=1e-2, betas=(0.9, 0.99)).fit(bars[0])
    assert [(epoch["stage"], epoch["epoch"]) for epoch in detector.history_] == [
        (stage, epoch) for stage in ("autoencoder", "classifier") for epoch in (1, 2, 3)
    ]
    assert [rate for rate, _ in rates] == pytest.approx(2 * [1e-2, 2e-3, 4e-4])
    assert {betas for _, betas in rates} == {(0.9, 0.99)}


def test_fit_reads_nothing_but_what_it_was_given(bars, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks see only training images, validation images and images made from them; no file is opened."""
    images = bars[0][:200]
    validation = bars[0][200:]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("fit must not read files")

    for name in ("open", "io.open"):
        monkeypatch.setattr(f"builtins.{name}" if name == "open" else name, refuse)
    monkeypatch.setattr(catalogue, "load_images", refuse)
    for name in ("noise_images", "constant_images"):
        monkeypatch.setattr(synthetic, name, refuse)
    given = {image.numpy().tobytes() for image in torch.cat([images, validation])}
    sources: list[torch.Tensor] = []

    def spy(batch: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        sources.append(batch.clone())
        return 1 - batch

    seen: list[torch.Tensor] = []
    build = DifferenceDetector.build_network

    def watched_build(self, image_shape, num_classes):
        network = build(self, image_shape, num_classes)
        network.autoencoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
        return network

    monkeypatch.setattr(DifferenceDetector, "build_network", watched_build)
    quick(pseudo_outliers=spy, noise_augmentation=0.0).fit(images, None, (validation, None))
    known = given | {(255 - image).numpy().tobytes() for image in torch.cat([images, validation])}
    for batches, allowed in ((sources, given), (seen, known)):
        assert batches
        for image in torch.cat(batches):
            assert (image * 255).round().to(torch.uint8).contiguous().numpy().tobytes() in allowed


def test_explanation_is_what_the_scores_come_from(bars) -> None:
    detector = quick().fit(bars[0])
    explanation = detector.explain(bars[2][:7])
    torch.testing.assert_close(explanation.reconstruction, detector.reconstruct(bars[2][:7]))
    images = bars[2][:7].float() / 255
    torch.testing.assert_close(explanation.difference, (images - explanation.reconstruction).abs())
    np.testing.assert_array_equal(explanation.score.numpy(), detector.score(bars[2][:7]))
    np.testing.assert_allclose(explanation.difference.sum((1, 2, 3)), detector.score(bars[2][:7], "error"), rtol=1e-5)


def test_a_detector_with_a_function_for_outliers_can_be_saved(bars, tmp_path) -> None:
    detector = quick(pseudo_outliers=inversion).fit(bars[0])
    loaded = Detector.load(detector.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(loaded.score(bars[2]), detector.score(bars[2]))
    assert loaded.get_params()["pseudo_outliers"] == "inversion"


def test_mnist_against_cifar10_is_brought_to_colour_and_recorded(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("mnist", (28, 28)), ("cifar10", (32, 32, 3))):
        arrays = {
            f"x_{part}": rng.integers(0, 256, (n, *shape), dtype=np.uint8) for part, n in (("train", 60), ("test", 20))
        }
        labels = {f"y_{part}": np.arange(n) % 10 for part, n in (("train", 60), ("test", 20))}
        np.savez(tmp_path / f"{name}.npz", **arrays, **labels)
    for inside, outside in (("mnist", "cifar10"), ("cifar10", "mnist")):
        scenario = cross_dataset(inside, [outside], root=tmp_path)
        parts = [scenario.train, scenario.validation, scenario.test, scenario.ood[outside]]
        assert {part.image_shape for part in parts} == {(3, 32, 32)}
        mnist = scenario.train if inside == "mnist" else scenario.ood[outside]
        assert not mnist.images[:, :, :2].any() and not mnist.images[..., -2:].any(), "28 in the middle of 32"
        assert torch.equal(mnist.images[:, 0], mnist.images[:, 2])
        detector = quick().fit(scenario.train.images, None, scenario.validation)
        cell = evaluate(detector, scenario, 0)
        assert list(cell.scores) == ["outlier", "error+", "error"]
        record = cell_record(cell)
        assert record["epochs_run"] == 2 and record["best_epoch"] in (1, 2)
        assert record["training_seconds"] == sum(epoch["seconds"] for epoch in detector.history_)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "vit"}, 'backbone must be "conv" or "resnet18"; got \'vit\''),
        ({"auxiliary": "image"}, "auxiliary must be \"latent\" or None; got 'image'"),
        ({"auxiliary_layer": 4}, r"auxiliary_layer must lie in 1\.\.3; got 4"),
        ({"auxiliary_layer": 0}, r"auxiliary_layer must lie in 1\.\.3; got 0"),
        ({"noise_augmentation": -0.1}, "noise_augmentation must be >= 0; got -0.1"),
        (
            {"pseudo_outliers": "cifar10"},
            "pseudo_outliers must be 'mixture', a function, or one or more of .*'cifar10'",
        ),
        ({"reduction": "max"}, 'reduction must be "sum" or "mean"; got \'max\''),
    ],
)
def test_bad_options_are_refused(settings, message: str, bars) -> None:
    with pytest.raises(ValueError, match=message):
        quick(**settings).fit(bars[0])
