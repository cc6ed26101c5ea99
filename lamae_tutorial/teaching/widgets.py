"""Explorers: a slider over small pictures, drawn in advance. They therefore work without a kernel.

Each `..._frames` function draws ten to twenty pictures (:class:`Frame`) and keeps the numbers that they show.
:func:`show` puts the pictures under a slider. In a notebook this is an ipywidgets `Stack`, linked to the slider in the
browser. A static page gets the same pictures as HTML with a range input, because the JavaScript of the widgets would be
3.5 MB from another host. The book's builder selects this form with the environment variable LAMAE_STATIC_PAGE.
"""

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lamae_tutorial.complexity import complexity_normalized, complexity_normalizer, shannon_entropy
from lamae_tutorial.detectors.memae import MemAE, MemAENetwork
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.plots import BOOK_STYLE, ID_COLOUR, OOD_COLOUR, score_densities, show_image

STATIC_PAGE = "LAMAE_STATIC_PAGE"
_COLOURS = 64  # size of a frame's palette: the file is small and the text stays sharp
_WIDTH = 5  # of a frame in inches; BOOK_STYLE has text for this width
_CSS_PIXELS = 96 * _WIDTH


@dataclass(frozen=True)
class Frame:
    """One picture of an explorer.

    Attributes
    ----------
    label : str
        Shown beside the slider.
    png : bytes
    alt : str
        A sentence that describes the picture, with its numbers.
    numbers : dict of str to float
        The numbers in the picture, unrounded.
    """

    label: str
    png: bytes
    alt: str
    numbers: dict[str, float]


def show(frames: Sequence[Frame], description: str, start: int = 0) -> None:
    """Display frames under a slider: live widgets, or HTML if LAMAE_STATIC_PAGE is set.

    Parameters
    ----------
    frames : sequence of Frame
        At least two.
    description : str
        What the slider changes.
    start : int
        Index of the first visible frame.
    """
    if os.environ.get(STATIC_PAGE):
        display(HTML(page(frames, description, start)))
    else:
        display(slider(frames, description, start))


def slider(frames: Sequence[Frame], description: str, start: int = 0) -> ipywidgets.Widget:
    """Return live widgets: a slider over the labels, and the pictures. Parameters: see :func:`show`."""
    _check(frames, start)
    labels = [(frame.label, index) for index, frame in enumerate(frames)]
    style = {"description_width": "initial"}
    layout = ipywidgets.Layout(width="95%")
    picture_layout = ipywidgets.Layout(width=f"{_CSS_PIXELS}px", max_width="100%", height="auto")
    control = ipywidgets.SelectionSlider(
        options=labels, index=start, description=description, style=style, layout=layout
    )
    if not hasattr(ipywidgets, "Stack"):  # ipywidgets 7.7: the kernel changes the content of one picture
        picture = ipywidgets.Image(value=frames[start].png, format="png", layout=picture_layout)
        control.observe(lambda change: setattr(picture, "value", frames[change["new"]].png), "value")
        return ipywidgets.VBox([control, picture])
    images = [ipywidgets.Image(value=frame.png, format="png", layout=picture_layout) for frame in frames]
    stack = ipywidgets.Stack(images, selected_index=start)
    # `index`, not `value`: in the browser a SelectionSlider only has an index.
    link = ipywidgets.jslink((control, "index"), (stack, "selected_index"))
    box = ipywidgets.VBox([control, stack])
    box.link = link
    return box


def page(frames: Sequence[Frame], description: str, start: int = 0) -> str:
    """Return the slider and the pictures as HTML for a page without a kernel. Parameters: see :func:`show`."""
    _check(frames, start)
    change = (
        "const box = this.closest('.lamae-explorer'); const pictures = box.querySelectorAll('img');"
        "pictures.forEach((picture, index) => { picture.hidden = index != this.value; });"
        "const label = pictures[this.value].title; this.setAttribute('aria-valuetext', label);"
        "box.querySelector('output').textContent = label;"
    )
    pictures = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(frame.png).decode()}" alt="{html.escape(frame.alt)}" '
        f'title="{html.escape(frame.label)}" style="width: 100%"'
        f"{'' if index == start else ' hidden'}>"
        for index, frame in enumerate(frames)
    )
    label = html.escape(frames[start].label)
    return (
        f'<div class="lamae-explorer" style="margin: 1em 0; max-width: {_CSS_PIXELS}px"><label style="display: block">'
        f"{html.escape(description)}: <output>{label}</output>"
        f'<input type="range" min="0" max="{len(frames) - 1}" step="1" value="{start}" aria-valuetext="{label}" '
        f'style="display: block; width: 100%" oninput="{html.escape(change)}"></label>{pictures}</div>'
    )


@rc_context(BOOK_STYLE)
def threshold_frames(
    id_scores: NDArray[np.float64], ood_scores: NDArray[np.float64], ood_name: str = "OoD", count: int = 15
) -> list[Frame]:
    """Draw frames for rising thresholds: densities, confusion matrix and the point on the ROC curve.

    Parameters
    ----------
    id_scores, ood_scores : float64 array (N,), (M,)
        Higher = more out-of-distribution.
    ood_name : str
    count : int
        Number of evenly spaced thresholds. The threshold that accepts 95% of the ID images is added.

    Returns
    -------
    list of Frame
        In rising order. `numbers`: "threshold", "id_accepted", "id_rejected", "ood_accepted", "ood_rejected".
    """
    both = np.concatenate([id_scores, ood_scores])
    # The lowest score that accepts at least 95% of the ID images, as in `fpr_at_tpr`.
    at_95 = float(np.sort(id_scores)[int(np.ceil(0.95 * len(id_scores))) - 1])
    even = np.linspace(both.min(), np.quantile(both, 0.99), count)
    curve = np.unique(both)
    accepted = [np.searchsorted(np.sort(scores), curve, "right") / len(scores) for scores in (id_scores, ood_scores)]
    frames = []
    for threshold in sorted({*even.tolist(), at_95}):
        id_accepted, ood_accepted = int((id_scores <= threshold).sum()), int((ood_scores <= threshold).sum())
        numbers = {
            "threshold": threshold,
            "id_accepted": id_accepted,
            "id_rejected": len(id_scores) - id_accepted,
            "ood_accepted": ood_accepted,
            "ood_rejected": len(ood_scores) - ood_accepted,
        }
        id_rate, ood_rate = id_accepted / len(id_scores), ood_accepted / len(ood_scores)
        figure = Figure(figsize=(_WIDTH, 4.6))
        panels = figure.subplot_mosaic([["densities", "densities"], ["table", "roc"]])
        densities, table, roc = panels["densities"], panels["table"], panels["roc"]
        score_densities(densities, id_scores, {ood_name: ood_scores})
        densities.axvline(threshold, color="black")
        densities.set_xlabel("score")
        _confusion_matrix(table, numbers)
        roc.plot(accepted[1], accepted[0], color="grey")
        roc.plot([ood_rate], [id_rate], "o", color="black")
        roc.set(xlabel="OoD accepted", ylabel="ID accepted", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
        at = f"{threshold:.2f}"
        label = f"{at} (accepts 95 % of ID)" if threshold == at_95 else at
        alt = (
            f"Threshold {at}: {id_accepted} of {len(id_scores)} ID images are accepted, "
            f"{ood_accepted} of {len(ood_scores)} OoD images are accepted."
        )
        frames.append(_frame(figure, label, alt, numbers))
    return frames


@rc_context(BOOK_STYLE)
def attention_frames(detector: MemAE, images: Tensor, names: Sequence[str], most: int = 6) -> list[Frame]:
    """Draw one frame per image: the weights of all memory slots, and the slots with the largest weights, decoded.

    Parameters
    ----------
    detector : MemAE
        Fitted.
    images : uint8 tensor (N, C, H, W)
    names : sequence of str
        One name per image.
    most : int
        Number of slots to decode.

    Returns
    -------
    list of Frame
        One per image. `numbers`: "error", "slots" (number of slots with a weight above 0) and "largest" (weight).
    """
    network = detector.network_
    assert isinstance(network, MemAENetwork)
    device = next(network.parameters()).device
    errors = detector.score(images)
    with torch.inference_mode():
        read, weights = network.memory(network.encoder(images.to(device).float() / 255))
        rebuilt, weights = network.decoder(read).cpu(), weights.cpu()
        decoded = network.decoder(network.memory.slots).cpu()
    highest = float(weights.max())
    frames = []
    for image, again, row, name, error in zip(images, rebuilt, weights, names, errors, strict=True):
        figure = Figure(figsize=(_WIDTH, 5.4))
        above, middle, below = figure.subfigures(3, 1, height_ratios=[1.7, 2.2, 1.4])
        for place, picture, title in zip(
            above.subplots(1, 2), (image, again), (name, f"rebuilt, error {error:.2f}"), strict=True
        ):
            show_image(place, picture, title)
        bars = middle.subplots()
        bars.bar(np.arange(len(row)), row.numpy(), color=ID_COLOUR, width=1)
        bars.axhline(1 / len(row), color="black", linewidth=0.8, linestyle="--")
        bars.set(xlabel="slot (dashed: 1/N)", ylabel="weight", ylim=(0, 1.05 * highest or 1))
        order = row.argsort(descending=True)[:most].tolist()
        for place, slot in zip(below.subplots(1, most), order, strict=False):
            show_image(place, decoded[slot])
            place.set_title(f"slot {slot}\n{row[slot]:.3f}")
        used, largest = int((row > 0).sum()), float(row.max())
        alt = (
            f"{name}: {used} of {len(row)} slots are read, the largest weight is {largest:.3f}, "
            f"the reconstruction error {error:.2f}."
        )
        numbers = {"error": float(error), "slots": float(used), "largest": largest}
        frames.append(_frame(figure, name, alt, numbers))
    return frames


@rc_context(BOOK_STYLE)
def complexity_frames(
    detector: ReconstructionDetector, image: Tensor, threshold: float, steps: int = 7, random_state: int = 0
) -> list[Frame]:
    """Draw frames of one image, from strong blur to strong noise: entropy, CN, error and corrected error.

    Parameters
    ----------
    detector : ReconstructionDetector
        Fitted.
    image : uint8 tensor (C, H, W)
    threshold : float
        Threshold of the corrected error, drawn as a line. An image above it would be rejected.
    steps : int
        Number of frames on either side of the original image.
    random_state : int
        Seed of the noise.

    Returns
    -------
    list of Frame
        `2 * steps + 1` frames. `numbers`: "entropy", "cn", "error", "corrected".
    """
    names, images = _blurred_and_noisy(image, steps, random_state)
    entropy, cn = shannon_entropy(images).numpy(), complexity_normalizer(images).numpy()
    errors = detector.score(images)
    corrected = complexity_normalized(errors, images)
    rebuilt = detector.reconstruct(images)
    frames = []
    for index, name in enumerate(names):
        figure = Figure(figsize=(_WIDTH, 4.6))
        left, right = figure.subfigures(1, 2, width_ratios=[1, 2.2])
        above, below = left.subplots(2)
        show_image(above, images[index], name)
        show_image(below, rebuilt[index], "rebuilt")
        axes = right.subplots(3, sharex=True)
        panels = {"H (bits)": entropy, "error": errors, "error / CN": corrected}
        for panel, (title, values) in zip(axes, panels.items(), strict=True):
            panel.plot(values, color="grey")
            panel.plot([index], values[index], "o", color=OOD_COLOUR)
            panel.set_title(f"{title}: {values[index]:.2f}")
            panel.set_xticks([0, steps, 2 * steps], ["blur", "", "noise"])
            panel.set_ylim(0, None)
        axes[2].axhline(threshold, color="black", linestyle="--", linewidth=0.8)
        numbers = {
            "entropy": float(entropy[index]),
            "cn": float(cn[index]),
            "error": float(errors[index]),
            "corrected": float(corrected[index]),
        }
        alt = (
            f"{name}: entropy {entropy[index]:.2f} bits, CN {cn[index]:.2f}, error {errors[index]:.2f}, "
            f"corrected error {corrected[index]:.2f}."
        )
        frames.append(_frame(figure, name, alt, numbers))
    return frames


@rc_context(BOOK_STYLE)
def alpha_frames(
    id_p_values: NDArray[np.float64],
    ood_p_values: NDArray[np.float64],
    ood_name: str = "OoD",
    alphas: Sequence[float] = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
) -> list[Frame]:
    """Draw one frame per false-alarm rate: histograms of p-values, and how many images are called OoD.

    Parameters
    ----------
    id_p_values, ood_p_values : float64 array (N,), (M,)
        Small = out-of-distribution.
    ood_name : str
    alphas : sequence of float
        In (0, 1).

    Returns
    -------
    list of Frame
        One per alpha. `numbers`: "alpha", "id_accepted", "id_rejected", "ood_accepted", "ood_rejected".
    """
    bins = np.linspace(0, 1, 21)
    frames = []
    for alpha in alphas:
        id_rejected, ood_rejected = int((id_p_values <= alpha).sum()), int((ood_p_values <= alpha).sum())
        numbers = {
            "alpha": alpha,
            "id_accepted": len(id_p_values) - id_rejected,
            "id_rejected": id_rejected,
            "ood_accepted": len(ood_p_values) - ood_rejected,
            "ood_rejected": ood_rejected,
        }
        figure = Figure(figsize=(_WIDTH, 4.6))
        histograms, table = figure.subplots(2, height_ratios=[1.3, 1])
        for values, name, colour, style in (
            (id_p_values, "ID", ID_COLOUR, "-"),
            (ood_p_values, ood_name, OOD_COLOUR, "--"),
        ):
            histograms.hist(
                values,
                bins.tolist(),
                weights=np.full(len(values), 1 / len(values)),
                histtype="stepfilled",
                facecolor=(colour, 0.2),
                edgecolor=colour,
                linestyle=style,
                label=name,
            )
        histograms.axvspan(0, alpha, color="grey", alpha=0.3)
        histograms.axvline(alpha, color="black")
        histograms.set(xlabel="p-value (grey: called OoD)", ylabel="share of images", xlim=(0, 1))
        histograms.legend()
        _confusion_matrix(table, numbers)
        alt = (
            f"Alpha {alpha:g}: {id_rejected} of {len(id_p_values)} ID images and {ood_rejected} of "
            f"{len(ood_p_values)} OoD images are called out-of-distribution."
        )
        frames.append(_frame(figure, f"{alpha:g}", alt, numbers))
    return frames


def _blurred_and_noisy(image: Tensor, steps: int, random_state: int) -> tuple[list[str], Tensor]:
    """Return names and images, uint8 (2 * steps + 1, C, H, W): strong blur first, then the original, noise last."""
    from torchvision.transforms.v2.functional import gaussian_blur  # imported here because it is slow to import

    original = image.float()
    height, width = image.shape[1:]
    kernel = [2 * width - 1, 2 * height - 1]  # the largest for which torchvision can reflect the border
    names, images = [], []
    for step in range(steps, 0, -1):
        sigma = width * step / (4 * steps)
        names.append(f"blur {sigma:.1f} px")
        images.append(gaussian_blur(original, kernel, [sigma, sigma]))
    names.append("original")
    images.append(original)
    noise = 255 * torch.rand(image.shape, generator=torch.Generator().manual_seed(random_state))
    for step in range(1, steps + 1):
        names.append(f"noise {100 * step / steps:.0f} %")
        images.append(original + (noise - original) * step / steps)
    return names, torch.stack(images).round().clamp(0, 255).to(torch.uint8)


def _confusion_matrix(axes: Axes, numbers: Mapping[str, float]) -> None:
    for row, truth in enumerate(("id", "ood")):
        for column, answer in enumerate(("accepted", "rejected")):
            right = (truth == "id") == (answer == "accepted")
            axes.add_patch(
                # Right answers are filled, so the figure does not rely on colour alone.
                _square(column, row, (ID_COLOUR if truth == "id" else OOD_COLOUR, 0.25) if right else "white")
            )
            axes.text(column + 0.5, row + 0.5, f"{numbers[f'{truth}_{answer}']:.0f}", ha="center", va="center")
    axes.set(xlim=(0, 2), ylim=(2, 0), aspect="equal")
    axes.set_xticks([0.5, 1.5], ["accepted", "rejected"])
    axes.set_yticks([0.5, 1.5], ["ID", "OoD"])
    axes.tick_params(length=0)


def _square(x: float, y: float, colour: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="black")


def _frame(figure: Figure, label: str, alt: str, numbers: dict[str, float]) -> Frame:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(_COLOURS).save(small, "PNG", optimize=True)
    return Frame(label, small.getvalue(), alt, numbers)


def _check(frames: Sequence[Frame], start: int) -> None:
    if len(frames) < 2 or not 0 <= start < len(frames):
        raise ValueError(
            f"a slider needs at least two frames and a start in their range; got {len(frames)} frames, start {start}"
        )
