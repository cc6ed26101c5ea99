"""What the training loop trains: one network, or several networks of the same form side by side.

Side by side, the weights are stacked along a new first axis, and one pass computes all losses (:func:`torch.vmap`). The
weights of a network affect only its own loss, so the sum of the losses gives them the right gradient. Adam treats each
weight separately. Every network is thus trained as it would be alone.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor | None], Tensor]
Groups = list[dict[str, Any]]


class Single:
    """One network."""

    def __init__(self, network: nn.Module, groups: Groups) -> None:
        self.network, self.groups = network, groups

    def train(self, mode: bool) -> None:
        self.network.train(mode)

    def losses(self, loss: Loss, images: list[Tensor], labels: list[Tensor] | None) -> Tensor:
        """Return the loss of the network, (1,)."""
        return loss(self.network, images[0], None if labels is None else labels[0])[None]

    def state(self, index: int) -> dict[str, Tensor]:
        """A copy of a network's weights and buffers."""
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def load(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Give the networks these weights and buffers."""
        self.network.load_state_dict(states[0])
        self.network.eval()


class Stacked:
    """Networks of the same form, with weights stacked along a new first axis."""

    def __init__(self, networks: Sequence[nn.Module], groups: Groups) -> None:
        self.networks = networks
        self.parameters, self.buffers = torch.func.stack_module_state(list(networks))
        names = {parameter: name for name, parameter in networks[0].named_parameters()}
        self.groups = [
            {**group, "params": [self.parameters[names[parameter]] for parameter in group["params"]]}
            for group in groups
        ]
        self.template = _Bound(copy.deepcopy(networks[0]).to("meta"))

    def train(self, mode: bool) -> None:
        self.template.train(mode)

    def losses(self, loss: Loss, images: list[Tensor], labels: list[Tensor] | None) -> Tensor:
        """Return the loss of each network, (number of networks,)."""

        def one(state: dict[str, Tensor], images: Tensor, labels: Tensor | None) -> Tensor:
            return torch.func.functional_call(self.template, state, (loss, images, labels))

        state = {f"network.{name}": value for name, value in {**self.parameters, **self.buffers}.items()}
        stacked = None if labels is None else torch.stack(labels)
        every = torch.vmap(one, in_dims=(0, 0, None if labels is None else 0), randomness="different")
        return every(state, torch.stack(images), stacked)

    def state(self, index: int) -> dict[str, Tensor]:
        """A copy of a network's weights and buffers."""
        everything = {**self.parameters, **self.buffers}
        return {name: everything[name][index].detach().clone() for name in self.networks[index].state_dict()}

    def load(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Give the networks these weights and buffers."""
        for network, state in zip(self.networks, states, strict=True):
            network.load_state_dict(state)
            network.eval()


class _Bound(nn.Module):
    """A network whose forward pass is a loss, as :func:`torch.func.functional_call` requires."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, loss: Loss, images: Tensor, labels: Tensor | None) -> Tensor:
        return loss(self.network, images, labels)
