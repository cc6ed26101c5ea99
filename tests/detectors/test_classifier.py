"""Classifier: its memory, its positions, and its scores by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lamae_tutorial.detectors.classifier import Classifier, ClassifierNetwork, FeatureMemory, turn

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def network_of(detector: Classifier, images: torch.Tensor = IMAGES) -> ClassifierNetwork:
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 3)
    assert isinstance(network, ClassifierNetwork)
    network.eval()
    network.remember(images, LABELS[: len(images)])
    return network


@pytest.mark.parametrize("rotations", [False, True])
def test_scores_by_hand(rotations: bool) -> None:
    detector = Classifier(rotations=rotations, memory_size=4, neighbours=2)
    network = network_of(detector)
    images = torch.rand(5, 1, 8, 8)
    scores = detector.score_batch(network, images)
    assert tuple(scores) == Classifier.score_kinds
    positions = range(4 if rotations else 1)
    logits, cosines = [], []
    for at in positions:
        features = network.encoder(torch.rot90(images, at, (2, 3)))
        stored = network.encoder(torch.rot90(IMAGES, at, (2, 3)))
        logits.append(network.head(features)[:, 3 * at : 3 * at + 3])
        cosines.append(F.cosine_similarity(features[:, None], stored[None], dim=2).sort(descending=True).values[:, 1])
    torch.testing.assert_close(scores["neighbours"], -torch.stack(cosines).mean(0))
    torch.testing.assert_close(scores["max_logit"], -torch.stack(logits).mean(0).amax(1))
    torch.testing.assert_close(scores["energy"], -torch.stack([part.exp().sum(1).log() for part in logits]).mean(0))
    torch.testing.assert_close(scores["msp"], 1 - torch.stack([part.softmax(1) for part in logits]).mean(0).amax(1))


def test_a_small_probability_of_another_class_is_not_rounded_to_0() -> None:
    detector = Classifier(memory_size=1, neighbours=1)
    network = network_of(detector)
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.data = torch.tensor([30.0, 0.0, 0.0])
    score = detector.score_batch(network, IMAGES)["msp"]
    torch.testing.assert_close(score, torch.full((12,), float(2 * np.exp(-30.0))))


def test_memory_holds_images_of_each_class_and_fills_up_with_copies() -> None:
    network = network_of(Classifier(memory_size=6, neighbours=1))
    slots = network.memory.slots
    assert slots.shape == (1, 3, 6, 128)
    torch.testing.assert_close(slots.norm(dim=3), torch.ones(1, 3, 6))
    for label in range(3):
        found = F.normalize(network.encoder(IMAGES[label == LABELS]), dim=1) @ slots[0, label].T
        assert (found.amax(0) > 1 - 1e-5).all(), "each slot is an image of the class"
        assert (found.amax(1) > 1 - 1e-5).all(), "each image of the class is there"


def test_similarity_is_the_cosine_by_position_and_class() -> None:
    memory = FeatureMemory(2, 3, 4, 5)
    memory.slots.copy_(F.normalize(torch.randn(2, 3, 4, 5), dim=3))
    features = torch.randn(2, 6, 5)
    expected = F.cosine_similarity(features[:, :, None, None], memory.slots[:, None], dim=4)
    torch.testing.assert_close(memory.similarity(features), expected)
    torch.testing.assert_close(memory.similarity(features[:1]), expected[:1])  # only the first position


def test_turned_copies_are_classes_of_their_own() -> None:
    detector = Classifier(rotations=True, augmentation=None, memory_size=1, neighbours=1)
    network = network_of(detector)
    copies = [(torch.rot90(IMAGES[at - 1 :: 3], at, (2, 3)), LABELS[at - 1 :: 3] + 3 * at) for at in (1, 2, 3)]
    images = torch.cat([IMAGES, *(part for part, _ in copies)])
    labels = torch.cat([LABELS, *(part for _, part in copies)])
    expected = F.cross_entropy(network.head(network.encoder(images)), labels)
    torch.testing.assert_close(detector.loss(network, IMAGES, LABELS), expected)
    assert network.head.out_features == 12 and network(IMAGES)[1].shape == (12, 3)


def test_four_quarters_are_a_whole_turn() -> None:
    images = torch.rand(2, 3, 5, 5)
    assert torch.equal(turn(turn(images, 3), 1), images)
    assert torch.equal(turn(images, 1)[0, 0, 0], images[0, 0, :, -1])


def test_last_layer_makes_the_logits_of_the_features() -> None:
    detector = Classifier(rotations=True, memory_size=1, neighbours=1)
    network = network_of(detector)
    features, logits = detector.embed(network, IMAGES)
    torch.testing.assert_close(detector.last_layer(network)(features), logits)


def test_impossible_settings_are_named() -> None:
    oblong = torch.zeros(6, 1, 4, 6, dtype=torch.uint8)
    with pytest.raises(ValueError, match="neighbours must be at most memory_size, 5; got 6"):
        Classifier(memory_size=5, neighbours=6).fit(IMAGES, LABELS)
    with pytest.raises(ValueError, match="rotations need square images; got 4 x 6: leave `rotations` out"):
        Classifier(rotations=True).fit(oblong, [0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match='augmentation must be "affine", "flip\\+affine" or None; got \'flip\''):
        Classifier(augmentation="flip").fit(IMAGES, LABELS)
    assert Classifier(rotations=None, memory_size=1, neighbours=1).build_network((1, 4, 6), 3).memory.positions == 1
