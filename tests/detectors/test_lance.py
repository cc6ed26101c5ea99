"""LANCE: the label-assisted memory of features, the reconstruction from it, and the joined score."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lamae_tutorial import auroc
from lamae_tutorial.complexity import shannon_entropy, total_variation
from lamae_tutorial.detectors.lance import LANCE, Judge, LANCENetwork, generalised_entropy, signs
from lamae_tutorial.training.state import seeded

Bars = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
IMAGES = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 3


def network_of(detector: LANCE) -> LANCENetwork:
    torch.manual_seed(0)
    network = detector.build_network((1, 8, 8), 3)
    assert isinstance(network, LANCENetwork)
    network.eval()
    network.remember(IMAGES, LABELS)
    return network


@torch.no_grad()
def test_only_the_predicted_class_is_remembered() -> None:
    detector = LANCE(memory_size=10, neighbours=3, rotations=False)
    network = network_of(detector)
    images = torch.rand(20, 1, 8, 8)
    features, logits = detector.embed(network, images)
    predicted = logits.argmax(1)
    scores = detector.score_batch(network, images)
    for row, label in enumerate(predicted.tolist()):
        stored = network.memory.slots[0, label]
        nearest = F.cosine_similarity(features[row], stored, dim=1).topk(3)
        torch.testing.assert_close(scores["neighbours"][row], -nearest.values[-1])
        rebuilt = network.decoder(stored[nearest.indices].mean(0, keepdim=True))
        torch.testing.assert_close(scores["error"][row], (rebuilt - images[row]).square().sum())
        torch.testing.assert_close(network(images[row : row + 1])[0], rebuilt)
    by_entropy = scores["error"] / shannon_entropy(images).float().log1p()
    torch.testing.assert_close(scores["error+"], by_entropy, rtol=1e-4, atol=0)
    torch.testing.assert_close(scores["error_tv"], scores["error"] / total_variation(images).float(), rtol=0.02, atol=0)


def exponential(n: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).exponential(2.0, (2, n))).float()


def test_the_surprise_is_minus_the_logarithm_of_the_p_value() -> None:
    judge = Judge(2, 1)
    judge.learn(exponential(20_000), torch.zeros(20_000, dtype=torch.int64), (False, False))
    new = torch.tensor([[0.0, 1.0, 2.0, 4.0, 8.0, 100.0]]).expand(2, -1)
    # The p-value of x is exp(-x / 2), so its surprise is x / 2: by the levels at first, then by the tail.
    found = judge(new, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(found, new / 2, rtol=0.05, atol=0.05)


def test_a_part_by_class_compares_within_the_predicted_class() -> None:
    wide, narrow = exponential(1000), exponential(1000) / 10
    scores, predicted = torch.cat([wide, narrow], 1), torch.arange(2000) // 1000
    judge = Judge(2, 3)
    judge.learn(scores, predicted, (True, False))
    at = torch.tensor([[1.0, 1.0]] * 2)
    by_class, by_all = judge(at, torch.tensor([0, 1]))
    assert by_class[1] > 3 * by_class[0], "1.0 is much for the narrow class"
    assert by_all[0] == by_all[1]
    alone = Judge(2, 1)
    alone.learn(scores, torch.zeros(2000, dtype=torch.int64), (False, False))
    assert torch.equal(judge.levels[0, 2], alone.levels[0, 0]), "a class without images is compared with all"


def test_surprise_never_falls_when_a_score_rises() -> None:
    scores = torch.randn(2, 300).round(decimals=1)  # with ties
    judge = Judge(2, 1)
    judge.learn(scores, torch.zeros(300, dtype=torch.int64), (True, True))
    rising = torch.linspace(-5, 50, 2000).expand(2, -1)
    found = judge(rising, torch.zeros(2000, dtype=torch.int64))
    assert (found >= 0).all() and (found.diff(dim=1) >= -1e-6).all() and found[0, -1] > 20
    torch.testing.assert_close(judge(rising + 1e-7, torch.zeros(2000, dtype=torch.int64)), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2])
def test_a_judge_of_one_or_two_images_is_finite(n: int) -> None:
    judge = Judge(2, 2)
    judge.learn(exponential(n), torch.zeros(n, dtype=torch.int64), (True, False))
    assert judge(torch.tensor([[0.0, 1e9]] * 2), torch.tensor([0, 1])).isfinite().all()


def test_the_joined_score_by_hand() -> None:
    judge = Judge(6, 1)
    judge.weight.fill_(0.5)
    judge.doubt.fill_(0.25)
    rare = -np.log(0.02)
    surprises = torch.tensor([[6.0], [1.0], [3.0], [3.0], [3.5], [5.0]])
    assert judge.join(surprises).item() == pytest.approx(6 - rare / 4 + 0.25 * 2 + 0.5 * (5 - rare))
    surprises[5] = 3.5
    assert judge.join(surprises).item() == pytest.approx(6 - rare / 4 + 0.5), "2% of the ID images are rebuilt as badly"
    surprises[0] = 0.9
    assert judge.join(surprises).item() == 0.5, "neighbours as far as those of many ID images do not count"


def test_the_signs_by_hand() -> None:
    given = {"neighbours": -0.5, "msp": 0.1, "gen": 2.0, "error": 7.0, "error+": 0.6, "error_tv": 0.3}
    scores = {name: torch.tensor([value]) for name, value in given.items()}
    expected = torch.tensor([-0.5, float(np.log(0.1)), 2.0, 7.0, 0.6, 0.3])
    torch.testing.assert_close(signs(scores)[:, 0], expected)
    even, sure = generalised_entropy(torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist()
    assert even == pytest.approx(2 * 0.25**0.1, abs=0.01) and sure == pytest.approx(0, abs=0.01)


@torch.no_grad()
def test_the_generalised_entropy_is_that_of_the_image_in_its_own_position() -> None:
    detector = LANCE(memory_size=10, neighbours=3)
    network, images = network_of(detector), torch.rand(20, 1, 8, 8)
    scores, _ = detector.scores_and_class(network, images)
    torch.testing.assert_close(scores["gen"], generalised_entropy(network.classify(images).softmax(1)))
    assert network.memory.positions == 4


def test_outliers_that_the_classifier_trusts_are_found(bars: Bars) -> None:
    images, labels, ood = bars
    detector = LANCE(epochs=12, batch_size=16, random_state=0, memory_size=50).fit(images, labels)
    inside = detector.score(images)
    far = {
        "diagonals": ood,
        "constant": torch.full((20, 1, 8, 8), 90, dtype=torch.uint8),
        "noise": torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    }
    for name, outliers in far.items():
        assert auroc(inside, detector.score(outliers)) > 0.97, name
    assert detector.network_.judge.weight.item() in (0.125, 0.25, 0.5)
    assert [entry["stage"] for entry in detector.history_] == ["classifier"] * 12 + ["decoder"] * 3


@pytest.mark.parametrize(("wrong", "weight"), [(0, 0.125), (1, 0.5), (50, 1.0)])
def test_the_doubt_weighs_as_much_as_the_classifier_errs(wrong: int, weight: float, bars: Bars) -> None:
    images, labels, _ = bars
    detector = LANCE(epochs=12, batch_size=16, random_state=0, memory_size=20)
    validation, right = images[:100], labels[:100].clone()
    right[:wrong] = (right[:wrong] + 1) % 3
    detector.fit(images, labels, (validation, right))
    assert detector.network_.judge.doubt.item() == pytest.approx(weight)


def test_images_too_small_for_pseudo_outliers_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="LANCE needs images of at least 4 x 4 pixels; got 3 x 5"):
        LANCE().fit(torch.zeros(6, 1, 3, 5), [0, 0, 1, 1, 2, 2])


def test_the_weight_is_chosen_without_ood_images_and_is_saved(bars: Bars, tmp_path) -> None:
    detector = LANCE(epochs=2, batch_size=16, random_state=0, memory_size=20).fit(bars[0], bars[1])
    before = detector.score(bars[2])
    with seeded(0, "cpu"):
        detector.finish(bars[0])
    loaded = LANCE.load(detector.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.score(bars[2]), detector.score(bars[2]))
    assert before.shape == (60,)
