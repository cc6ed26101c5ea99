"""LAMAE: loss and scores by hand, its variants, and that its parts follow the paper."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lamae_tutorial import LAMAE, AutoEncoder

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network_of(detector: LAMAE | AutoEncoder) -> nn.Module:
    torch.manual_seed(0)
    return detector.build_network((1, 8, 8), 3).eval()


@pytest.mark.parametrize(("reduction", "pixels"), [("sum", 1), ("mean", 64)])
@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_loss_is_equation_2(reduction, pixels: int, beta: float) -> None:
    detector = LAMAE(reduction=reduction, beta=beta)
    network = network_of(detector)
    rebuilt, logits, _ = network(IMAGES)
    total = 0.0
    for t in range(6):
        error = ((IMAGES[t] - rebuilt[t]) ** 2).sum().item() / pixels
        total += error - beta * np.log(logits[t].softmax(0)[LABELS[t]].item())
    assert detector.loss(network, IMAGES, LABELS).item() == pytest.approx(total / 6, rel=1e-5)


def test_scores_by_hand() -> None:
    detector = LAMAE()
    network = network_of(detector)
    scores = detector.score_batch(network, IMAGES)
    rebuilt, logits, _ = network(IMAGES)
    assert tuple(scores) == ("error", "cosine", "energy", "msp")
    assert LAMAE.score_kinds == ("error", "error+", "cosine", "energy", "msp")
    torch.testing.assert_close(scores["error"], (IMAGES - rebuilt).square().sum((1, 2, 3)))
    x, y = IMAGES.flatten(1), rebuilt.flatten(1)
    torch.testing.assert_close(scores["cosine"], 1 - (x * y).sum(1) / x.norm(dim=1) / y.norm(dim=1))
    torch.testing.assert_close(scores["energy"], -logits.exp().sum(1).log())
    torch.testing.assert_close(scores["msp"], 1 - F.softmax(logits, 1).max(1).values)


def test_autoencoder_scores_share_their_meaning() -> None:
    detector = AutoEncoder()
    network = network_of(detector)
    scores = detector.score_batch(network, IMAGES)
    rebuilt = network(IMAGES)[0]
    torch.testing.assert_close(scores["error"], (IMAGES - rebuilt).square().sum((1, 2, 3)))
    assert detector.loss(network, IMAGES, None).item() == pytest.approx(scores["error"].mean().item(), rel=1e-5)


def test_variants_differ_where_the_notebook_differs_from_the_paper() -> None:
    paper, notebook = LAMAE(), LAMAE(variant="notebook")
    assert paper.resolve() == ((16, 32, 64), "sum")
    assert notebook.resolve() == ((32, 64), "mean")
    assert LAMAE(variant="notebook", channels=(8,), reduction="sum").resolve() == ((8,), "sum")
    network = network_of(notebook)
    assert network.memory.variant == "notebook" and network.memory.slots.abs().max() > 4
    error = (IMAGES - network(IMAGES)[0]).square().mean()
    torch.testing.assert_close(notebook.selection_loss(network, IMAGES, LABELS), error)
    same = network_of(paper)
    torch.testing.assert_close(paper.selection_loss(same, IMAGES, LABELS), paper.loss(same, IMAGES, LABELS))


def test_options_reach_the_network() -> None:
    network = network_of(LAMAE(latent_dim=7, slots_per_class=[1, 2, 3], classifier_hidden=(9,)))
    assert network.memory.slots.shape == (3, 3, 7)
    assert sum(isinstance(layer, nn.Linear) for layer in network.classifier) == 2


def test_skip_goes_around_the_memory() -> None:
    network = network_of(LAMAE(skip_dim=4))
    latent = network.encoder(IMAGES)
    read, _ = network.memory(latent, network.classifier(latent))
    assert [tuple(layer.weight.shape) for layer in network.skip] == [(4, 32), (32, 4)]
    expected = network.decoder(read + latent @ network.skip[0].weight.T @ network.skip[1].weight.T)
    torch.testing.assert_close(network(IMAGES)[0], expected)
    assert network_of(LAMAE()).skip is None


def test_both_variants_learn_the_bars(bars) -> None:
    images, labels, ood = bars
    for variant, epochs in [("paper", 12), ("notebook", 12)]:
        detector = LAMAE(variant=variant, epochs=epochs, batch_size=16, random_state=0, device="cpu")
        detector.fit(images[:180], labels[:180])
        assert (detector.classify(images[180:]) == labels[180:].numpy()).mean() > 0.95
        assert detector.reconstruct(ood).shape == ood.shape
        losses = [epoch["train_loss"] for epoch in detector.history_]
        assert losses[-1] < 0.5 * losses[0]


def test_bad_reduction_is_refused(bars) -> None:
    with pytest.raises(ValueError, match='reduction must be "sum" or "mean"; got \'max\''):
        LAMAE(reduction="max", epochs=1).fit(bars[0], bars[1])  # type: ignore[arg-type]
