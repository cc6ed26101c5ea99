"""Explorers: their pictures agree with the metrics, and the slider controls the pictures."""

import base64
import io
import re
from html.parser import HTMLParser

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from lamae_tutorial import (
    AutoEncoder,
    MemAE,
    auroc,
    complexity_normalized,
    fpr_at_tpr,
    load_images,
    shannon_entropy,
)
from lamae_tutorial.teaching import widgets
from lamae_tutorial.teaching.widgets import Frame

RNG = np.random.default_rng(0)
INSIDE, OUTSIDE = RNG.normal(3, 1, 200), RNG.normal(5, 1, 150)


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 3), shade).save(buffer, "PNG")
    return buffer.getvalue()


FRAMES = [Frame(f"level <{n}>", picture(n), f'a "{n}"', {"n": n}) for n in range(5)]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return load_images("digits", "test").images[:200]


@pytest.fixture(scope="module")
def threshold_frames() -> list[Frame]:
    return widgets.threshold_frames(INSIDE, OUTSIDE)


def test_every_frame_is_a_small_png(threshold_frames: list[Frame]) -> None:
    for frame in threshold_frames:
        with Image.open(io.BytesIO(frame.png)) as image:
            assert image.format == "PNG" and image.width <= 800
    assert sum(len(frame.png) for frame in threshold_frames) < 400_000
    assert len({frame.png for frame in threshold_frames}) == len(threshold_frames) == 16


def test_confusion_matrix_of_each_threshold(threshold_frames: list[Frame]) -> None:
    thresholds = [frame.numbers["threshold"] for frame in threshold_frames]
    assert thresholds == sorted(thresholds)
    for frame in threshold_frames:
        numbers = frame.numbers
        assert numbers["id_accepted"] == sum(numbers["threshold"] >= INSIDE)
        assert numbers["ood_rejected"] == sum(numbers["threshold"] < OUTSIDE)
        assert numbers["id_accepted"] + numbers["id_rejected"] == len(INSIDE)
        assert numbers["ood_accepted"] + numbers["ood_rejected"] == len(OUTSIDE)
        assert f"{numbers['ood_accepted']} of 150 OoD" in frame.alt


def test_one_threshold_is_that_of_fpr95(threshold_frames: list[Frame]) -> None:
    (frame,) = [frame for frame in threshold_frames if "95 %" in frame.label]
    assert frame.numbers["ood_accepted"] / len(OUTSIDE) == fpr_at_tpr(INSIDE, OUTSIDE)


def test_points_of_the_frames_lie_on_the_roc_curve() -> None:
    """With one threshold in each gap between scores, the area under the trapezoids is the AUROC."""
    frames = widgets.threshold_frames(np.array([1.0, 2.0, 3.0]), np.array([2.5, 4.0]), count=31)
    points = {(0.0, 0.0), (1.0, 1.0)}
    points |= {(f.numbers["ood_accepted"] / 2, f.numbers["id_accepted"] / 3) for f in frames}
    ood, inside = zip(*sorted(points), strict=True)
    assert np.trapezoid(inside, ood) == pytest.approx(auroc([1, 2, 3], [2.5, 4]))


def test_attention_numbers_are_those_of_the_detector(images: torch.Tensor) -> None:
    detector = MemAE(epochs=1, memory_size=20, random_state=0).fit(images)
    frames = widgets.attention_frames(detector, images[:3], ["a", "b", "c"])
    assert [frame.label for frame in frames] == ["a", "b", "c"]
    assert [frame.numbers["error"] for frame in frames] == pytest.approx(detector.score(images[:3]).tolist(), rel=1e-5)
    with torch.no_grad():
        weights = detector.network_(images[:3] / 255)[1]
    assert [frame.numbers["slots"] for frame in frames] == (weights > 0).sum(1).tolist()
    assert [frame.numbers["largest"] for frame in frames] == pytest.approx(weights.max(1).values.tolist())


def test_attention_of_a_memory_that_is_never_read(images: torch.Tensor) -> None:
    detector = MemAE(epochs=1, memory_size=20, shrink_threshold=0.9, random_state=0).fit(images)
    frames = widgets.attention_frames(detector, images[:2], ["a", "b"])
    assert [frame.numbers["slots"] for frame in frames] == [0, 0]
    assert "0 of 20 slots" in frames[0].alt


def test_complexity_numbers_are_those_of_the_package(images: torch.Tensor) -> None:
    detector = AutoEncoder(epochs=1, random_state=0).fit(images)
    frames = widgets.complexity_frames(detector, images[0], threshold=1.0, steps=3)
    assert [frame.label for frame in frames][3] == "original" and len(frames) == 7
    one = images[:1]
    assert frames[3].numbers["entropy"] == pytest.approx(shannon_entropy(one).item())
    assert frames[3].numbers["cn"] == pytest.approx(np.log1p(shannon_entropy(one).item()))
    assert frames[3].numbers["error"] == pytest.approx(detector.score(one)[0], rel=1e-5)
    assert frames[3].numbers["corrected"] == pytest.approx(complexity_normalized(detector.score(one), one)[0], rel=1e-5)


def test_blur_smooths_and_noise_ends_in_noise(images: torch.Tensor) -> None:
    names, changed = widgets._blurred_and_noisy(images[0], 4, 0)
    assert len(names) == len(changed) == 9 and changed.shape[1:] == images.shape[1:]
    assert torch.equal(changed[4], images[0])
    contrast = changed.float().flatten(1).std(1)
    assert contrast[0] < contrast[1] < contrast[2] < contrast[3] < contrast[4]
    assert changed[0].float().mean() == pytest.approx(images[0].float().mean().item(), rel=0.25)
    other = widgets._blurred_and_noisy(images[1], 4, 0)[1]
    assert torch.equal(changed[8], other[8]) and not torch.equal(changed[7], other[7])
    low = widgets._blurred_and_noisy(images[0][:, :5], 4, 0)[1]  # lower than wide
    assert low.shape == (9, 1, 5, 8) and low[0].float().std() < low[3].float().std()


def test_slider_is_linked_to_the_stack_in_the_browser() -> None:
    box = widgets.slider(FRAMES, "Level", start=2)
    control, stack = box.children
    assert isinstance(stack, ipywidgets.Stack)
    assert [child.value for child in stack.children] == [frame.png for frame in FRAMES]
    assert stack.selected_index == control.index == 2
    assert [label for label, _ in control.options] == [frame.label for frame in FRAMES]
    assert box.link.source == (control, "index") and box.link.target == (stack, "selected_index")


def test_without_stack_the_kernel_changes_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ipywidgets, "Stack")
    control, image = widgets.slider(FRAMES, "Level", start=1).children
    assert image.value == FRAMES[1].png
    control.index = 4
    assert image.value == FRAMES[4].png


def test_alpha_frames_count_what_is_called() -> None:
    id_p, ood_p = RNG.uniform(0.02, 1, 50), RNG.uniform(0.02, 0.3, 40)
    frames = widgets.alpha_frames(id_p, ood_p, alphas=(0.01, 0.1, 0.5))
    assert [frame.label for frame in frames] == ["0.01", "0.1", "0.5"]
    for frame in frames:
        alpha = frame.numbers["alpha"]
        assert frame.numbers["id_rejected"] == sum(id_p <= alpha)
        assert frame.numbers["ood_accepted"] == sum(ood_p > alpha)
        assert f"{frame.numbers['ood_rejected']} of 40 OoD" in frame.alt
    assert frames[0].numbers["id_rejected"] == frames[0].numbers["ood_rejected"] == 0
    assert len({frame.png for frame in frames}) == 3


class Page(HTMLParser):
    """Collects the start tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_page_shows_one_picture_and_names_all() -> None:
    page = Page(widgets.page(FRAMES, "Level & more", start=2))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert ["hidden" in each for each in pictures] == [True, True, False, True, True]
    assert [each["alt"] for each in pictures] == [frame.alt for frame in FRAMES]
    for each, frame in zip(pictures, FRAMES, strict=True):
        assert base64.b64decode(each["src"].removeprefix("data:image/png;base64,")) == frame.png
    (control,) = [attributes for tag, attributes in page.tags if tag == "input"]
    assert (control["min"], control["max"], control["value"]) == ("0", "4", "2")
    assert "http" not in re.sub(r"base64,[^\"]*", "", widgets.page(FRAMES, "Level"))


def test_show_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(widgets, "display", shown.append)
    monkeypatch.delenv(widgets.STATIC_PAGE, raising=False)
    widgets.show(FRAMES, "Level")
    monkeypatch.setenv(widgets.STATIC_PAGE, "1")
    widgets.show(FRAMES, "Level")
    live, static = shown
    assert isinstance(live, ipywidgets.VBox)
    assert "lamae-explorer" in static.data


@pytest.mark.parametrize(("frames", "start"), [(FRAMES[:1], 0), (FRAMES, 5), (FRAMES, -1)])
def test_a_slider_needs_frames_and_a_start_among_them(frames: list[Frame], start: int) -> None:
    with pytest.raises(ValueError, match="at least two frames"):
        widgets.slider(frames, "Level", start)
    with pytest.raises(ValueError, match="at least two frames"):
        widgets.page(frames, "Level", start)
