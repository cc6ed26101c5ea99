"""The training loop: best weights, patience, batches and bad losses."""

import pytest
import torch
from torch import Tensor, nn

from lamae_tutorial.data.images import TrainingData
from lamae_tutorial.detectors import DETECTORS
from lamae_tutorial.detectors.together import can_fit_together
from lamae_tutorial.training.loop import (
    Stopped,
    TrainingSettings,
    _batches,
    _Sets,
    _steps,
    arithmetic,
    as_float,
    mean_losses,
    resolve_device,
    train,
    train_together,
)
from lamae_tutorial.training.stacking import Single

CPU = torch.device("cpu")
SETTINGS = {
    "epochs": 6,
    "batch_size": 2,
    "learning_rate": 0.1,
    "patience": 6,
    "precision": "float32",
    "device": "cpu",
    "verbose": False,
}


class Toy(TrainingSettings):
    """Messages contain the name of this class."""


class Offset(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.offset


def distance(network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
    return (network(images) - 1).square().mean()


def mean_loss(network: nn.Module, loss, images: Tensor) -> float:
    return mean_losses(Single(network, []), loss, _Sets([(images, None)], CPU))[0]


def run(
    validation_losses: list[float], milestones: tuple[int, ...] = (), one_cycle: bool = False, **changed
) -> tuple[nn.Module, list[dict]]:
    """Train with a given validation loss in each epoch."""
    dictated = iter(validation_losses)
    images = torch.full((4, 1, 2, 2), 0.5)
    network = Offset()
    history = train(
        network,
        distance,
        TrainingData(images, None, images, None, num_classes=0, seed=0),
        Toy(**{**SETTINGS, **changed}),
        selection_loss=lambda *_: torch.tensor(next(dictated)),
        milestones=milestones,
        one_cycle=one_cycle,
    )
    return network, history


def test_weights_of_the_best_epoch_are_kept() -> None:
    reference, _ = run([3.0], epochs=1)
    reference_two, _ = run([3.0, 2.0], epochs=2)
    network, history = run([3.0, 2.0, 5.0, 5.0, 5.0, 5.0])
    assert [epoch["validation_loss"] for epoch in history] == [3, 2, 5, 5, 5, 5]
    assert network.offset.item() == reference_two.offset.item() != reference.offset.item()
    assert not network.training


def test_patience_ends_training() -> None:
    assert len(run([3.0, 2.0, 5.0, 5.0, 5.0, 5.0], patience=2)[1]) == 4
    assert len(run([3.0, 2.0, 5.0, 1.0, 5.0, 5.0], patience=2)[1]) == 6


def test_training_lowers_the_loss() -> None:
    _, history = run([1.0] * 6)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["train_loss"] < 0.05 < 0.2 < history[0]["train_loss"]


def test_milestones_divide_the_learning_rate_by_five(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watched(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    run([1.0] * 4, epochs=4, batch_size=4, milestones=(1, 3))
    assert rates == pytest.approx([0.1, 0.02, 0.02, 0.004])


def test_one_cycle_raises_the_learning_rate_and_lets_it_fall_to_0(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run([1.0] * 5, epochs=5, batch_size=2, one_cycle=True)  # 4 images: two steps an epoch
    peak = rates.index(max(rates))
    assert len(rates) == 10
    assert rates[0] == pytest.approx(0.1 / 25) and max(rates) == pytest.approx(0.1) and rates[-1] < 1e-4
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (1, 4), (4, 1), (4, 2), (5, 2), (5, 4), (7, 4), (128, 128)])
def test_steps_are_counted_as_they_are_made(n: int, batch_size: int) -> None:
    assert _steps(n, batch_size) == len(_batches(n, batch_size, torch.Generator()))


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_cycle_of_a_single_step(epochs: int) -> None:
    assert len(run([1.0] * epochs, epochs=epochs, batch_size=4, one_cycle=True)[1]) == epochs


def test_validation_may_use_gradients_by_the_image() -> None:
    def slope(network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        with torch.enable_grad():
            moved = images.requires_grad_()
            (gradient,) = torch.autograd.grad(network(moved).square().sum(), moved)
        return gradient.mean()

    assert mean_loss(Offset(), slope, torch.full((3, 1, 2, 2), 0.5)) == pytest.approx(1.0)


def test_a_loss_that_is_not_finite_ends_with_advice() -> None:
    with pytest.raises(FloatingPointError, match=r"nan \(validation\) in epoch 2; try a learning_rate below 0.1"):
        run([1.0, float("nan")])


def test_batches_hold_every_index_once_and_never_one_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    for n, sizes in [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (3, [3]), (1, [1])]:
        batches = _batches(n, 4, generator)
        assert [len(batch) for batch in batches] == sizes
        assert torch.cat(batches).sort().values.tolist() == list(range(n))


def test_mean_loss_weighs_the_last_batch_by_its_size() -> None:
    images = torch.cat([torch.zeros(1024, 1, 1, 1), torch.ones(1, 1, 1, 1)])
    assert mean_loss(Offset(), distance, images) == pytest.approx(1024 / 1025)


def test_as_float() -> None:
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    torch.testing.assert_close(as_float(levels).flatten(), torch.tensor([0, 0.2, 1]))
    assert as_float(torch.rand(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "gpu"):
        with pytest.raises(ValueError, match=f"device '{name}' is not usable here"):
            resolve_device(name)


def test_images_and_labels_are_moved_to_the_device() -> None:
    sets = _Sets([(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4))] * 2, torch.device("meta"))
    images, labels = sets.part([slice(0, 3), torch.tensor([3, 1, 2], device="meta")])
    assert [part.is_meta for part in (*images, *labels)] == [True] * 4
    assert {len(part) for part in (*images, *labels)} == {3}


def test_ctrl_c_keeps_the_best_weights() -> None:
    reference, _ = run([3.0], epochs=1)
    network = Offset()

    def pressed_in_epoch_3(*_: object) -> Tensor:
        losses.append(3.0 + len(losses))
        if len(losses) == 3:
            raise KeyboardInterrupt
        return torch.tensor(losses[-1])

    losses: list[float] = []
    images = torch.full((4, 1, 2, 2), 0.5)
    data = TrainingData(images, None, images, None, num_classes=0, seed=0)
    with pytest.raises(Stopped, match="Toy was stopped in epoch 3; it has the weights of epoch 1") as stop:
        train(
            network,
            distance,
            data,
            Toy(**SETTINGS),
            selection_loss=pressed_in_epoch_3,
        )
    assert [epoch["validation_loss"] for epoch in stop.value.histories[0]] == [3.0, 4.0]
    assert network.offset.item() == reference.offset.item()
    assert not network.training


def tf32() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_precision_of_the_steps() -> None:
    cpu, before = torch.device("cpu"), tf32()
    factors = torch.full((2, 2), 1 + 2**-10)
    for precision, allowed, product in [
        ("float32", (False, False), torch.float32),
        ("tf32", (True, True), torch.float32),
        ("bf16", (False, False), torch.bfloat16),
    ]:
        with arithmetic(precision, cpu):
            assert tf32() == allowed
            assert (factors @ factors).dtype == product
        assert tf32() == before
    with pytest.raises(ZeroDivisionError), arithmetic("tf32", cpu):
        raise ZeroDivisionError
    assert tf32() == before
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bf16; got 'fp8'"):
        run([1.0], precision="fp8")


STACKABLE = [name for name, kind in DETECTORS.items() if can_fit_together(kind)]


def side_by_side(name: str, **changed):
    """Train three seeds alone and side by side, in double precision; return (networks, histories) of both."""
    small = {"levels": 4, "features": 4, "layers": 2} if name == "pixelcnn" else {}
    detector = DETECTORS[name](**small)

    def double(network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        return detector.loss(network, images.double(), labels)

    seeds, data, alone, together = (0, 1, 2), [], [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(70, 1, 8, 8, generator=generator)
        labels = torch.arange(70) % 3
        data.append(TrainingData(images[:50], labels[:50], images[50:], labels[50:], 3, seed))
        for networks in (alone, together):
            torch.manual_seed(seed)
            networks.append(detector.build_network((1, 8, 8), 3).double())
    settings = Toy(**{**SETTINGS, "epochs": 4, "batch_size": 8, "learning_rate": 1e-3, **changed})
    one_by_one = [
        train(network, double, part, settings, parameter_groups=detector.parameter_groups(network))
        for network, part in zip(alone, data, strict=True)
    ]
    at_once = train_together(
        together,
        double,
        data,
        settings,
        parameter_groups=detector.parameter_groups(together[0]),
        selection_loss=double,
    )
    return alone, one_by_one, together, at_once


@pytest.mark.parametrize("name", STACKABLE)
def test_side_by_side_is_as_one_after_the_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # random numbers in a loss differ side by side
    alone, one_by_one, together, at_once = side_by_side(name)
    for single, stacked in zip(one_by_one, at_once, strict=True):
        assert len(single) == len(stacked) == 4
        for key in ("train_loss", "validation_loss"):
            assert [epoch[key] for epoch in stacked] == pytest.approx([epoch[key] for epoch in single], rel=1e-5)
    for single, stacked in zip(alone, together, strict=True):
        assert not stacked.training
        torch.testing.assert_close(stacked.state_dict(), single.state_dict(), rtol=1e-5, atol=1e-6)
    weights = [next(network.parameters()) for network in together]
    assert not torch.allclose(weights[0], weights[1])


def test_each_seed_side_by_side_ends_by_its_own_patience() -> None:
    _, one_by_one, _, at_once = side_by_side("godin", learning_rate=0.03, patience=1, epochs=12)
    lengths = [len(history) for history in one_by_one]
    assert [len(history) for history in at_once] == lengths
    assert len(set(lengths)) > 1 and max(lengths) < 12


def test_side_by_side_needs_sets_of_one_size() -> None:
    images = torch.rand(6, 1, 2, 2)
    data = [TrainingData(images[:n], None, images, None, num_classes=0, seed=0) for n in (4, 5)]
    networks = [Offset(), Offset()]
    with pytest.raises(ValueError, match=r"the same number of images; got 2 networks and .* \[\(4, 6\), \(5, 6\)\]"):
        train_together(
            networks,
            distance,
            data,
            Toy(**SETTINGS),
            parameter_groups=[{"params": [networks[0].offset]}],
            selection_loss=distance,
        )
