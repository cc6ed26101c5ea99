"""GODIN: its two heads, its perturbation, and the weights without weight decay."""

import pytest
import torch
from torch.nn import functional as F

from lamae_tutorial import GODIN, Detector
from lamae_tutorial.detectors.godin import GODINNetwork

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network_of(detector: GODIN) -> GODINNetwork:
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 3)
    assert isinstance(network, GODINNetwork)
    return network.eval()


@pytest.mark.parametrize("similarity", ["cosine", "inner", "euclid"])
def test_heads_and_loss_by_hand(similarity) -> None:
    detector = GODIN(similarity=similarity)
    network = network_of(detector)
    features, f, h, g = network(IMAGES)
    weight = network.h.weight
    for row in range(6):
        for number in range(3):
            z, w = features[row], weight[number]
            expected = {
                "cosine": z @ w / z.norm() / w.norm(),
                "inner": z @ w + (network.h.bias[number] if similarity == "inner" else 0),
                "euclid": -(z - w).square().mean(),
            }[similarity]
            torch.testing.assert_close(h[row, number], expected)
    assert (network.h.bias is None) == (similarity != "inner")
    assert ((g > 0) & (g < 1)).all()
    torch.testing.assert_close(f, h / g[:, None])
    torch.testing.assert_close(detector.loss(network, IMAGES, LABELS), F.cross_entropy(h / g[:, None], LABELS))


def test_scores_without_a_step_are_minus_the_heads() -> None:
    detector = GODIN()
    network = network_of(detector)
    _, f, h, g = network(IMAGES)
    scores = detector.score_batch(network, IMAGES)
    assert tuple(scores) == GODIN.score_kinds == ("h", "g", "f")
    torch.testing.assert_close(scores["h"], -h.max(1).values)
    torch.testing.assert_close(scores["g"], -g)
    torch.testing.assert_close(scores["f"], -f.max(1).values)


def test_the_step_raises_h_for_each_image() -> None:
    detector = GODIN()
    network = network_of(detector)
    before = detector.score_batch(network, IMAGES)["h"]
    network.step.fill_(0.001)
    after = detector.score_batch(network, IMAGES)["h"]
    assert (after < before).all()


def test_the_best_step_is_chosen_on_what_it_is_given() -> None:
    detector = GODIN(perturbations=(0.0, 0.001, 0.003, 0.5))
    detector.network_ = network = network_of(detector)
    detector.image_shape_ = tuple(IMAGES.shape[1:])
    detector.finish(IMAGES)
    chosen = float(network.step)
    means = {}
    for size in detector.perturbations:
        network.step.fill_(size)
        means[size] = detector.score_batch(network, IMAGES)["h"].mean().item()
    assert chosen == pytest.approx(min(means, key=means.get))
    detector.perturbations = (0.0,)
    detector.finish(IMAGES)
    assert float(network.step) == 0


def test_weight_decay_spares_h_and_nothing_is_lost() -> None:
    detector = GODIN(weight_decay=0.1)
    network = network_of(detector)
    exempt, rest = detector.parameter_groups(network)
    assert {id(p) for p in exempt["params"]} == {id(p) for p in network.h.parameters()}
    assert rest["weight_decay"] == 0.1 and "weight_decay" not in exempt
    assert len(exempt["params"]) + len(rest["params"]) == len(list(network.parameters()))


def test_backbone_follows_the_images() -> None:
    grey = GODIN().build_network((1, 28, 28), 3)
    colour = GODIN().build_network((3, 32, 32), 3).eval()
    assert grey.h.in_features == 32 and colour.h.in_features == 512
    assert colour(torch.rand(2, 3, 32, 32))[1].shape == (2, 3)
    assert GODIN(backbone="resnet34").build_network((1, 28, 28), 3).h.in_features == 512


def test_the_step_is_saved(bars, tmp_path) -> None:
    images, labels, _ = bars
    detector = GODIN(epochs=1, random_state=0, device="cpu", perturbations=(0.04,)).fit(images, labels)
    loaded = Detector.load(detector.save(tmp_path / "model"), device="cpu")
    assert float(loaded.network_.step) == pytest.approx(0.04)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="similarity must be one of cosine, inner, euclid; got 'dot'"):
        GODIN(similarity="dot").check_settings()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='backbone must be "conv", "resnet34" or None'):
        GODIN(backbone="vit").check_settings()  # type: ignore[arg-type]
