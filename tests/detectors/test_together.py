"""Which detectors can be trained side by side."""

import pytest

from lamae_tutorial import DSEBM, AutoEncoder, ImageSet
from lamae_tutorial.detectors.together import can_fit_together, fit_together


def test_a_training_of_its_own_is_not_passed_over(bars) -> None:
    class Counted(AutoEncoder):
        def train_network(self, network, data):
            trained.append(data.seed)
            return super().train_network(network, data)

    trained: list[int] = []
    images = ImageSet("bars", bars[0])
    settings = {"epochs": 1, "device": "cpu", "verbose": False}
    for kind, possible in ((AutoEncoder, True), (Counted, False), (DSEBM, False)):
        detectors = [kind(random_state=seed, **settings) for seed in (0, 1)]
        assert can_fit_together(kind) == possible
        if possible:
            fit_together(detectors, [(images, images)] * 2)
            continue
        with pytest.raises(ValueError, match=f"{kind.__name__} cannot be trained side by side"):
            fit_together(detectors, [(images, images)] * 2)
    assert trained == []
    Counted(random_state=3, **settings).fit(bars[0])
    assert trained == [3]
