"""How much is computed: one frozen set of settings each for a quick look, a CPU and the papers' full size.

The command line, the notebooks and the tests take them from here. No PyTorch is imported, so that `--help` is quick.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Settings of a leave-one-class-out run.

    Attributes
    ----------
    data_set : str
        See :func:`lamae_tutorial.load_images`.
    epochs : int
        At most, for each detector.
    seeds : int
        Repeats, with the seeds 0, 1, ...
    """

    data_set: str
    epochs: int
    seeds: int


PROFILES = {
    "smoke": Profile("digits", epochs=40, seeds=3),
    "fast": Profile("mnist", epochs=20, seeds=3),
    "paper": Profile("mnist", epochs=200, seeds=10),
}
