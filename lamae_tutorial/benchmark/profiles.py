"""How much is computed: a quick look ("smoke"), the chapters' small MNIST ("mini"), a CPU ("fast"), or all ("paper").

The command line, the notebooks and the tests use them. This module does not import PyTorch, so `--help` answers at
once.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """What to run, on which images and for how long.

    Attributes
    ----------
    data_set : str
        Set of the leave-one-class-out runs, see :func:`lamae_tutorial.load_images`.
    epochs : int
        Maximum number of epochs of each detector.
    seeds : int
        Number of repeats. The seeds are 0, 1, ...
    held_out_classes : tuple of int
        Each of these classes is OoD once.
    reconstructed_class, memory_class : int
        The OoD class of the LAMAE paper's Figures 3 and 4, and of its Figure 5.
    memory_sizes : tuple of int
        N^s of Figure 5.
    cross : tuple of (str, tuple of str)
        In-distribution sets with their OoD sets, as in the LAMAE paper's Table 2.
    difference : tuple of (str, str)
        Pairs of ID and OoD set, as in Tables 1 and 2 of the difference-image paper. Its ablation uses the last pair.
    correlated : tuple of str
        The sets for the correlation of entropy and reconstruction error (LAMAE paper, Section 3.2.1).
    beyond : tuple of str
        Sets of which each of the ten classes is held out once, which no paper does.
    cifar10_epochs, difference_epochs, pixelcnn_epochs : int
        They replace `epochs` for runs with CIFAR-10 as ID set, for the difference-image paper's runs, and for PixelCNN
        among these. An epoch of PixelCNN takes about twenty times as long.
    classifier_epochs, cifar10_classifier_epochs : int
        They replace `epochs` for Classifier and LANCE, which are trained with one cycle of the learning rate.
    """

    data_set: str
    epochs: int
    seeds: int
    held_out_classes: tuple[int, ...]
    reconstructed_class: int
    memory_class: int
    memory_sizes: tuple[int, ...]
    cross: tuple[tuple[str, tuple[str, ...]], ...]
    difference: tuple[tuple[str, str], ...]
    correlated: tuple[str, ...]
    beyond: tuple[str, ...]
    cifar10_epochs: int
    difference_epochs: int
    pixelcnn_epochs: int
    classifier_epochs: int
    cifar10_classifier_epochs: int


_SMOKE = Profile(
    "digits",
    epochs=40,
    seeds=3,
    held_out_classes=(1,),
    reconstructed_class=1,
    memory_class=1,
    memory_sizes=(1, 10),
    cross=(("digits", ("constant", "noise")),),
    difference=(("digits", "noise"),),
    correlated=("digits",),
    beyond=("digits",),
    cifar10_epochs=1,
    difference_epochs=1,
    pixelcnn_epochs=1,
    classifier_epochs=40,
    cifar10_classifier_epochs=1,
)
_PAPER = Profile(
    "mnist",
    epochs=200,
    seeds=10,
    held_out_classes=tuple(range(10)),
    reconstructed_class=7,
    memory_class=0,
    memory_sizes=(1, 2, 5, 10, 20, 50, 100),
    cross=(
        ("fashion_mnist", ("mnist", "notmnist", "constant", "noise")),
        ("cifar10", ("fashion_mnist", "celeba", "constant", "noise")),
    ),
    difference=(("mnist", "cifar10"), ("cifar10", "mnist")),
    correlated=("mnist", "cifar10"),
    beyond=("fashion_mnist", "cifar10"),
    cifar10_epochs=500,
    difference_epochs=100,
    pixelcnn_epochs=100,
    classifier_epochs=20,
    cifar10_classifier_epochs=40,
)

PROFILES = {
    "smoke": _SMOKE,
    "mini": replace(
        _SMOKE,
        data_set="mini_mnist",
        epochs=30,
        cross=(("mini_mnist", ("constant", "noise")),),
        difference=(("mini_mnist", "noise"),),
        correlated=("mini_mnist",),
        beyond=("mini_mnist",),
        classifier_epochs=30,
    ),
    "fast": replace(
        _PAPER,
        epochs=20,
        seeds=3,
        cifar10_epochs=4,
        difference_epochs=5,
        pixelcnn_epochs=1,
        classifier_epochs=4,
        cifar10_classifier_epochs=4,
    ),
    "paper": _PAPER,
}
