"""LANCE: label-assisted neighbours, classifier and error. This package's own detector; it is in no paper.

LAMAE's idea is kept: the classifier says which part of the memory may be read. Here the memory holds stored features of
training images instead of learnt slots. An image is out-of-distribution if it lies far from its predicted class: the
nearest stored features are far away, or a decoder rebuilds the image badly from them. It is also out-of-distribution if
it lies between classes, so that probabilities are spread. These signs are joined by their p-values on ID validation
images. The classifier's errors on these images weigh the second kind, and pseudo-outliers made of them the
reconstruction: no OoD image has a say.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.complexity import batch_entropy, batch_variation
from lamae_tutorial.data.images import ImageShape, TrainingData
from lamae_tutorial.detectors.classifier import Classifier, ClassifierNetwork, FeatureMemory, view_confidence
from lamae_tutorial.detectors.pseudo_outliers import STRATEGIES, make_outliers
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.metrics import auroc
from lamae_tutorial.networks.convolutional import ConvDecoder
from lamae_tutorial.training.loop import History, as_float, in_stages, train

# Of the signs of :func:`signs`: classes differ in width, so distances are compared within the predicted class. Doubt is
# not: it is highest where classes overlap, and this is where it tells most.
BY_CLASS = (True, False, False, True, True, True)
WEIGHTS = (0.125, 0.25, 0.5)  # of the reconstruction, to choose from
DOUBT = (0.125, 1.0)  # lowest and highest weight of the doubt
_WRONG = 0.02  # share of ID images classified wrongly from which on doubt has its highest weight
_LEVELS = 17
_TAIL = 0.1  # share of ID images from which on surprise grows linearly
RARE = -math.log(0.02)  # surprise from which on the reconstruction counts, and neighbours at the highest doubt
_GEN = 0.1  # exponent of the generalised entropy, as in its paper
_NARROWEST = 0.1  # distance of two levels, as a share of the scale: rounding must not change a surprise much
_SMALLEST = 0.01  # scale, as a share of the 90% quantile, for the same reason
_FEWEST = 50  # images of a class that give it levels of its own
_GAMMA = 1e-9  # avoids a division by 0, as in `complexity_normalized`; ONNX would drop it from a sum
SMALLEST = 4  # side of the images, for pseudo-outliers by `patch_permutation`
_JUDGED = 1000  # validation images of which pseudo-outliers are made
_SEED = 0


@dataclass(kw_only=True, eq=False, repr=False)
class LANCE(Classifier, ReconstructionDetector):
    """Label-assisted neighbours, classifier and error.

    Parameters are those of :class:`lamae_tutorial.detectors.classifier.Classifier`, and `channels` (of the decoder) and
    `reduction` of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector`. Labels 0..S-1 are needed.

    Scores: "joint", the weighted sum of the surprises (:class:`Judge`) of the :func:`signs`, see :meth:`Judge.join`;
    "neighbours", minus the cosine of the features and their k-th nearest stored ones *of the predicted class*;
    "max_logit", "energy" and "msp" as for the classifier; "gen", the generalised entropy of the probabilities of the
    image in its own position (Liu et al. 2023); "error", the squared error of the image rebuilt from its k nearest
    stored features of the predicted class; "error+"; and "error_tv", the error divided by the total variation.

    Attributes
    ----------
    network_.judge.doubt : float32 ()
        Weight of the doubt in "joint", from 0.125 to 1: the share of ID validation images that the classifier gets
        wrong, divided by 2%. Where classes overlap, doubt tells more, and distances less.
    network_.judge.weight : float32 ()
        Weight of the reconstruction in "joint". `fit` takes the one with the highest mean AUROC of ID validation images
        against pseudo-outliers made of them, over all strategies of
        :mod:`lamae_tutorial.detectors.pseudo_outliers`.
    """

    title: ClassVar[str] = "LANCE"
    score_kinds: ClassVar[tuple[str, ...]] = (
        "joint",
        "neighbours",
        "max_logit",
        "energy",
        "msp",
        "gen",
        "error",
        "error+",
        "error_tv",
    )

    recipe: ClassVar[int] = 3

    rotations: bool | None = None

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        if min(image_shape[1:]) < SMALLEST:
            raise ValueError(
                f"LANCE needs images of at least {SMALLEST} x {SMALLEST} pixels; got {image_shape[1]} x "
                f"{image_shape[2]}: choose another detector"
            )
        channels = self.resolve()[0]
        encoder, head, memory = self.build_parts(image_shape, num_classes)
        return LANCENetwork(encoder, head, memory, ConvDecoder(image_shape, channels, self.latent_dim), self.neighbours)

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        assert isinstance(network, LANCENetwork)
        read_memory: Callable[[Tensor], Tensor] = network.read
        judge: Judge = network.judge
        shorter = copy(self)
        shorter.epochs = -(-self.epochs // 4)

        def classifier() -> History:
            history = super(LANCE, self).train_network(network, data)
            assert data.validation_labels is not None  # as there are labels
            parts = data.validation_images.split(_JUDGED)
            with torch.no_grad():
                predicted = torch.cat(
                    [network.classify(as_float(part.to(judge.doubt.device))).argmax(1) for part in parts]
                )
            wrong = (predicted.cpu() != data.validation_labels.cpu()).double().mean()
            judge.doubt.fill_(float((wrong / _WRONG).clamp(*DOUBT)))
            return history

        def rebuilding(decoder: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
            with torch.no_grad():
                read = read_memory(images)
            return self.reconstruction_error(images, decoder(read)).mean()

        return in_stages(
            classifier=classifier,
            decoder=lambda: train(network.decoder, rebuilding, data, shorter, one_cycle=True),
        )

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        assert isinstance(network, LANCENetwork)
        scores, predicted = self.scores_and_class(network, images)
        joint = network.judge.join(network.judge(signs(scores), predicted))
        return {"joint": joint, **scores}

    def scores_and_class(self, network: "LANCENetwork", images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return all scores but "joint", and the predicted classes."""
        features, logits = network.views(images)
        nearest, read = network.nearest(features, logits)
        error = self.reconstruction_error(images, network.decoder(read))
        scores = {
            "neighbours": -nearest.mean(0),
            **view_confidence(logits),
            "gen": generalised_entropy(logits[0].softmax(1)),
            "error": error,
            "error+": error / batch_entropy(images).log1p().clamp(min=_GAMMA),
            "error_tv": error / batch_variation(images).clamp(min=_GAMMA),
        }
        return scores, logits[0].argmax(1)

    def finish(self, validation_images: Tensor) -> None:
        """Set the joined score: its scales by ID validation images, and the reconstruction's weight."""
        assert isinstance(self.network_, LANCENetwork)
        network, judge = self.network_, self.network_.judge

        def judged(images: Tensor) -> tuple[Tensor, Tensor]:
            batches = self.batched(images, lambda batch: self.scores_and_class(network, batch))
            return torch.cat([signs(scores) for scores, _ in batches], 1), torch.cat([label for _, label in batches])

        judge.learn(*judged(validation_images), BY_CLASS)
        generator = torch.Generator().manual_seed(_SEED)
        chosen = torch.randperm(len(validation_images), generator=generator)[:_JUDGED]
        some = as_float(validation_images[chosen].cpu())
        inside = judge(*judged(some))
        outside = [judge(*judged(make_outliers(name, some, generator))) for name in STRATEGIES]
        mean = {}
        for weight in WEIGHTS:
            judge.weight.fill_(weight)
            id_scores = judge.join(inside).cpu().numpy()
            mean[weight] = np.mean([auroc(id_scores, judge.join(part).cpu().numpy()) for part in outside])
        judge.weight.fill_(max(mean, key=lambda weight: mean[weight]))


def signs(scores: Mapping[str, Tensor]) -> Tensor:
    """Return what is joined, (6, B): neighbours; two kinds of doubt; the error, and the error by two complexities."""
    named = [scores[kind] for kind in ("neighbours", "gen", "error", "error+", "error_tv")]
    return torch.stack([named[0], scores["msp"].clamp_min(1e-30).log(), *named[1:]])


def generalised_entropy(probabilities: Tensor) -> Tensor:
    """Return the generalised entropy (B,) of probabilities (B, S): the sum of (p (1 - p)) ** 0.1."""
    return (probabilities * (1 - probabilities)).clamp_min(1e-30).pow(_GEN).sum(1)


class LANCENetwork(ClassifierNetwork):
    """Encoder, last layer, memory, decoder and the joined score."""

    def __init__(
        self, encoder: nn.Module, head: nn.Linear, memory: FeatureMemory, decoder: nn.Module, neighbours: int
    ) -> None:
        super().__init__(encoder, head, memory)
        self.decoder = decoder
        self.judge = Judge(len(BY_CLASS), memory.num_classes)
        self.neighbours = neighbours

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float images (B, C, H, W) to reconstructions (B, C, H, W) and logits (B, S)."""
        features = self.encoder(images)
        logits = self.head(features)[:, : self.memory.num_classes]
        return self.decoder(self.nearest(features[None], logits[None])[-1]), logits

    def read(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) to what the decoder gets, (B, latent_dim)."""
        features = self.encoder(images)
        return self.nearest(features[None], self.head(features)[None, :, : self.memory.num_classes])[-1]

    def nearest(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Find the k nearest stored features of the predicted class.

        Parameters
        ----------
        features : float (positions, B, latent_dim)
            Of all positions, or only of the first.
        logits : float (positions, B, S)
            Those of the first position predict the class.

        Returns
        -------
        similarity : float (positions, B)
            Cosine of the features and the k-th nearest ones.
        read : float (B, latent_dim)
            Mean of the k nearest features in the first position.
        """
        memory, predicted = self.memory, logits[0].argmax(1)
        chosen = predicted[None, :, None, None].expand(len(features), -1, 1, memory.size)
        cosines = memory.similarity(features).gather(2, chosen).squeeze(2)  # (positions, B, M)
        places = predicted[None, :, None] * memory.size + cosines.topk(self.neighbours, 2).indices  # among all slots
        slots = memory.slots[: len(features)].flatten(1, 2)  # (positions, S * M, latent_dim)
        last = slots.gather(1, places[..., -1:].expand_as(features))
        # In double precision: surprises magnify the rounding of a long product.
        cosine = F.cosine_similarity(features.double(), last.double(), dim=2).float()
        return cosine, slots[0][places[0]].mean(1)


class Judge(nn.Module):
    """Tells how surprising scores are, on one scale for all.

    The surprise of a score is minus the logarithm of its p-value, the share of ID images that score at least as high.
    A p-value cannot fall below 1 / (n + 1), and far outliers would all be alike. So the surprise grows linearly in the
    highest 10% of the ID scores and beyond, as it does for an exponential tail with their mean.

    Attributes
    ----------
    levels : float32 (parts, S, 17)
        Quantiles of the ID scores, from the lowest score to the 90% quantile, for each predicted class.
    scale : float32 (parts, S)
        Mean distance of the highest 10% of the ID scores from the 90% quantile.
    doubt, weight : float32 ()
        Weights of the doubt and of the reconstruction in the joined score.
    """

    levels: Tensor
    scale: Tensor
    doubt: Tensor
    weight: Tensor

    def __init__(self, parts: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.zeros(parts, num_classes, _LEVELS))
        self.register_buffer("scale", torch.ones(parts, num_classes))
        self.register_buffer("doubt", torch.ones(()))
        self.register_buffer("weight", torch.ones(()))

    def learn(self, scores: Tensor, predicted: Tensor, by_class: Sequence[bool]) -> None:
        """Set the levels and scales.

        Parameters
        ----------
        scores : float (parts, n)
            Of ID images.
        predicted : int64 (n,)
            Their predicted classes.
        by_class : sequence of bool
            For each part, whether a score is compared only with those of the same predicted class. Classes with fewer
            than 50 images are compared with all.
        """
        steps = torch.linspace(0, 1 - _TAIL, _LEVELS, device=scores.device)
        for part, (values, separate) in enumerate(zip(scores, by_class, strict=True)):
            for label in range(self.levels.shape[1]):
                own = values[predicted == label] if separate else values
                own = own if len(own) >= _FEWEST else values
                levels = own.quantile(steps)
                excess = (own[own > levels[-1]] - levels[-1]).sum() / (own > levels[-1]).sum().clamp_min(1)
                self.levels[part, label] = levels
                self.scale[part, label] = excess.clamp_min(_SMALLEST * levels[-1].abs() + 1e-12)

    def forward(self, scores: Tensor, predicted: Tensor) -> Tensor:
        """Map scores (parts, B) and predicted classes (B,) to surprises (parts, B), >= 0."""
        levels, scale = self.levels[:, predicted], self.scale[:, predicted]  # (parts, B, 17), (parts, B)
        gaps = levels.diff(dim=2).clamp_min(_NARROWEST * scale[..., None])
        passed = ((scores[..., None] - levels[..., :-1]) / gaps).clamp(0, 1).mean(2)
        beyond = (scores - levels[..., -1]).clamp_min(0) / scale
        return beyond - torch.log1p(-(1 - _TAIL) * passed)

    def join(self, surprises: Tensor) -> Tensor:
        """Return the joined score (B,) of the surprises of :func:`signs`, (6, B).

        Both kinds of doubt count as their mean. Where the classes overlap, many ID images lie far from the others
        of their class, so neighbours count only beyond the surprise of 2% of the ID images, or less where the
        classifier is better. The reconstruction always counts only beyond it: good decoders rebuild near outliers too,
        but not those that are far from all training images.
        """
        far = (surprises[0] - self.doubt * RARE).clamp_min(0)
        rebuilt = (surprises[3:].amax(0) - RARE).clamp_min(0)
        return far + self.doubt * surprises[1:3].mean(0) + self.weight * rebuilt
