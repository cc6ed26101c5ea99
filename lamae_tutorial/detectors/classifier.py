"""A classifier trained well: the rival that a memory has to beat.

Its features of training images are stored, so that the distance to the nearest of them is a score (Sun et al. 2022).
A second task, to name by which multiple of 90 degrees an image was turned, makes the features richer (Hendrycks et al.
2019; as joint classes: Tack et al. 2020). Each image is then scored in all four positions.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import ImageShape, TrainingData
from lamae_tutorial.data.parameters import FLAG, NOT_NEGATIVE, SIZE, Rules, one_of, optional
from lamae_tutorial.detectors.classifying import ClassifyingDetector
from lamae_tutorial.networks.convolutional import ConvEncoder
from lamae_tutorial.networks.deep import deep_encoder
from lamae_tutorial.training.augmentation import AUGMENTATIONS, augment
from lamae_tutorial.training.loop import History, as_float, train

_BATCH = 1024


@dataclass(kw_only=True, eq=False, repr=False)
class Classifier(ClassifyingDetector):
    """Classifier with stored features of the training images.

    It is trained with AdamW and one cycle of the learning rate, see :func:`lamae_tutorial.training.loop.train`.

    Parameters
    ----------
    encoder : {"deep", "lamae"}
        "deep": :func:`lamae_tutorial.networks.deep.deep_encoder`. "lamae": the encoder of the LAMAE paper,
        :class:`lamae_tutorial.networks.convolutional.ConvEncoder`.
    latent_dim : int
        Length of the features.
    augmentation : {"affine", "flip+affine"} or None
        How training images are changed, see :func:`lamae_tutorial.training.augmentation.augment`.
    rotations : bool or None
        Learn the position of turned images as a second task, and score each image in all four positions. None means
        True if the images are square. It helps where things have an upright position; for textures choose False.
    memory_size : int
        Features stored for each class, of training images drawn at random. A class with fewer images fills its places
        with copies.
    neighbours : int
        k: the k-th nearest stored feature counts.
    weight_decay : float
        See :class:`torch.optim.AdamW`.

    Other parameters are those of :class:`lamae_tutorial.Detector`. Labels 0..S-1 are needed.

    Scores: "neighbours", minus the cosine of the features and their k-th nearest stored ones; "max_logit", minus the
    largest logit; "energy" and "msp" (:func:`lamae_tutorial.detectors.classifying.confidence`). With rotations, each is
    a mean over the four positions: of the cosines, of the logits before the largest is taken, of the energies, and of
    the probabilities before the largest is taken.
    """

    title: ClassVar[str] = "Classifier"
    score_kinds: ClassVar[tuple[str, ...]] = ("neighbours", "max_logit", "energy", "msp")
    parameter_rules: ClassVar[Rules] = {
        "encoder": one_of("deep", "lamae"),
        "latent_dim": SIZE,
        "augmentation": one_of(*AUGMENTATIONS, None),
        "rotations": optional(FLAG, "be True, False or None"),
        "memory_size": SIZE,
        "neighbours": SIZE,
        "weight_decay": NOT_NEGATIVE,
    }

    encoder: Literal["deep", "lamae"] = "deep"
    latent_dim: int = 128
    augmentation: str | None = "affine"
    rotations: bool | None = False
    memory_size: int = 1000
    neighbours: int = 10
    weight_decay: float = 1e-2
    batch_size: int = 64
    learning_rate: float = 4e-3

    def check_settings(self) -> None:
        super().check_settings()
        if self.neighbours > self.memory_size:
            raise ValueError(
                f"neighbours must be at most memory_size, {self.memory_size}; got {self.neighbours}: raise memory_size"
            )

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return ClassifierNetwork(*self.build_parts(image_shape, num_classes))

    def build_parts(self, image_shape: ImageShape, num_classes: int) -> "tuple[nn.Module, nn.Linear, FeatureMemory]":
        """Return encoder, last layer and memory."""
        square = image_shape[1] == image_shape[2]
        if self.rotations and not square:
            raise ValueError(
                f"rotations need square images; got {image_shape[1]} x {image_shape[2]}: leave `rotations` out"
            )
        positions = 4 if self.rotations or (self.rotations is None and square) else 1
        encoder = (
            deep_encoder(image_shape, self.latent_dim)
            if self.encoder == "deep"
            else ConvEncoder(image_shape, latent_dim=self.latent_dim)
        )
        memory = FeatureMemory(positions, num_classes, self.memory_size, self.latent_dim)
        return encoder, nn.Linear(self.latent_dim, positions * num_classes), memory

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        assert isinstance(network, ClassifierNetwork) and data.labels is not None  # fit has checked
        groups = [{"params": list(network.trained()), "weight_decay": self.weight_decay}]
        try:
            return train(
                network,
                self.loss,
                data,
                self,
                parameter_groups=groups,
                selection_loss=self.selection_loss,
                one_cycle=True,
            )
        finally:  # also after Ctrl-C
            network.remember(data.images, data.labels)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the cross entropy of changed images. With rotations, turned copies have classes of their own."""
        assert isinstance(network, ClassifierNetwork) and labels is not None  # fit has checked
        if self.augmentation:
            images = augment(images, self.augmentation)
        classes = network.memory.num_classes
        turns = range(1, network.memory.positions)
        turned = [turn(images[at - 1 :: len(turns)], at) for at in turns]  # the order of images is random
        theirs = [labels[at - 1 :: len(turns)] + at * classes for at in turns]
        logits = network.head(network.encoder(torch.cat([images, *turned])))
        return F.cross_entropy(logits, torch.cat([labels, *theirs]))

    def selection_loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the cross entropy of unchanged images."""
        assert isinstance(network, ClassifierNetwork) and labels is not None
        return F.cross_entropy(network.classify(images), labels)

    def embed(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(network, ClassifierNetwork)
        features = network.encoder(images)
        return features, network.head(features)[:, : network.memory.num_classes]

    def last_layer(self, network: nn.Module) -> nn.Linear:
        """Return the last layer for images in their own position."""
        assert isinstance(network, ClassifierNetwork)
        classes = network.memory.num_classes
        layer = nn.Linear(self.latent_dim, classes)
        layer.load_state_dict({"weight": network.head.weight[:classes], "bias": network.head.bias[:classes]})
        return layer

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        assert isinstance(network, ClassifierNetwork)
        features, logits = network.views(images)
        similarity = network.memory.similarity(features).flatten(2)  # (positions, B, S * M)
        nearest = similarity.topk(self.neighbours, 2).values[..., -1]
        return {"neighbours": -nearest.mean(0), **view_confidence(logits)}


def view_confidence(logits: Tensor) -> dict[str, Tensor]:
    """Return the scores of logits (positions, B, S) that the classifier has without its memory, (B,) each."""
    return {
        "max_logit": -logits.mean(0).amax(1),
        "energy": -logits.logsumexp(2).mean(0),
        # 1 minus the largest, as the sum of the others: the difference would be rounded to 0 where it is small.
        "msp": logits.softmax(2).mean(0).sort(1, descending=True).values[:, 1:].sum(1),
    }


def turn(images: Tensor, quarters: int) -> Tensor:
    """Turn images (B, C, H, W) by a multiple of 90 degrees; the result is in channels-last memory."""
    return torch.rot90(images, quarters, (2, 3)).contiguous(memory_format=torch.channels_last)


class FeatureMemory(nn.Module):
    """Stored features of training images, by position and class.

    Attributes
    ----------
    slots : float32 (positions, S, M, latent_dim)
        Features of length 1.
    """

    slots: Tensor

    def __init__(self, positions: int, num_classes: int, size: int, latent_dim: int) -> None:
        super().__init__()
        self.positions = positions
        self.num_classes = num_classes
        self.size = size
        self.register_buffer("slots", torch.zeros(positions, num_classes, size, latent_dim))

    def similarity(self, features: Tensor) -> Tensor:
        """Return the cosines of features (positions, B, latent_dim) and stored ones, (positions, B, S, M)."""
        cosines = F.normalize(features, dim=2) @ self.slots[: len(features)].flatten(1, 2).mT
        return cosines.unflatten(2, (self.num_classes, self.size))


class ClassifierNetwork(nn.Module):
    """Encoder, last layer and memory."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, memory: FeatureMemory) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.memory = memory

    def trained(self) -> list[nn.Parameter]:
        """Return the classifier's parameters."""
        return [*self.encoder.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float images (B, C, H, W) to features (B, latent_dim) and logits (B, S)."""
        features = self.encoder(images)
        return features, self.head(features)[:, : self.memory.num_classes]

    def classify(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) to logits (B, S)."""
        return self.head(self.encoder(images))[:, : self.memory.num_classes]

    def views(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (positions, B, latent_dim) and logits (positions, B, S) of images in all positions."""
        positions, classes = self.memory.positions, self.memory.num_classes
        features = torch.stack([self.encoder(turn(images, at) if at else images) for at in range(positions)])
        logits = [self.head(part)[:, at * classes : (at + 1) * classes] for at, part in enumerate(features)]
        return features, torch.stack(logits)

    @torch.no_grad()
    def remember(self, images: Tensor, labels: Tensor) -> None:
        """Store features of training images, uint8 or float (N, C, H, W), drawn by PyTorch's global generator."""
        self.eval()
        device = self.memory.slots.device
        order = torch.randperm(len(images))
        for label in range(self.memory.num_classes):
            found = order[labels[order] == label][: self.memory.size]
            chosen = images[found]
            parts = [self.views(as_float(part.to(device)))[0] for part in chosen.split(_BATCH)]
            features = F.normalize(torch.cat(parts, 1), dim=2)  # (positions, n, latent_dim)
            places = torch.arange(self.memory.size, device=device) % len(chosen)
            self.memory.slots[:, label] = features[:, places]
