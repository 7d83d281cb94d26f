"""Optimizers: one, or one for matrices and one for all else; what a checkpoint keeps of them."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from nas.supernet.weights import take_inventory
from nas.training.schedule import Schedule

STATES = {"momentum": "momentum_buffer", "mean": "exp_avg", "square": "exp_avg_sq", "step": "step"}
"""What a checkpoint calls the tensors that an optimizer keeps of each parameter."""

KEPT = tuple(f"{word}:" for word in STATES)
"""How the names of these begin."""

MATRIX = ("out", "in")


class Optimizer(Protocol):
    """What a step and a checkpoint need of an optimizer of torch, or of several."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Parameters and their settings."""
        ...

    @property
    def state(self) -> Any:
        """What is kept of each parameter, by the parameter."""
        ...

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        ...

    def step(self) -> Any:
        """Change the parameters."""
        ...


class MuonWithAdam:
    """Muon for matrices, AdamW for all else, at one rate: updates of matrices have the size of Adam's.

    Adam forgets squares sooner here (0.95) than alone (0.999), as is usual for text.

    Args:
        matrices: The former.
        others: The latter, as groups of AdamW.
        schedule: Settings.

    Source:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the size: Liu et al. 2025, arXiv:2502.16982.
    """

    def __init__(self, matrices: list[nn.Parameter], others: list[dict[str, Any]], schedule: Schedule) -> None:
        lr, decay, momentum = schedule.learning_rate, schedule.weight_decay, schedule.momentum
        muon = torch.optim.Muon(matrices, lr, decay, momentum, adjust_lr_fn="match_rms_adamw")
        self._parts: tuple[torch.optim.Optimizer, ...] = (muon, torch.optim.AdamW(others, lr=lr, betas=(momentum, 0.95)))
        self._of = {p: part for part in self._parts for group in part.param_groups for p in group["params"]}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """See `Optimizer`."""
        return [group for part in self._parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, Any]:
        """See `Optimizer`."""
        return {parameter: part.state[parameter] for parameter, part in self._of.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """See `Optimizer`."""
        for part in self._parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """See `Optimizer`."""
        for part in self._parts:
            part.step()


def build_optimizer(supernet: Supernet, schedule: Schedule) -> Optimizer:
    """Return the optimizer of a schedule; weight decay on weights only, not on norms, biases or scales."""
    matrices: list[nn.Parameter] = []
    if schedule.optimizer == "muon":
        specs = take_inventory(supernet.space).specs
        matrices = [supernet.shared[name] for name, spec in specs.items() if spec.axes == MATRIX]
    taken = set(matrices)
    rest = [parameter for parameter in supernet.parameters() if parameter not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if matrices:
        return MuonWithAdam(matrices, groups, schedule)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(schedule.momentum, 0.999))


def kept_state(supernet: Supernet, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return what an optimizer keeps, by words of `STATES` and names of parameters."""
    kept: dict[str, Tensor] = {}
    states = optimizer.state
    for name, parameter in supernet.named_parameters():
        state = states[parameter]
        kept |= {f"{word}:{name}": state[key] for word, key in STATES.items() if state.get(key) is not None}
    return kept


def restore_state(supernet: Supernet, optimizer: Optimizer, kept: Mapping[str, Tensor]) -> None:
    """Give an optimizer what it kept; see `kept_state`."""
    states = optimizer.state
    for name, parameter in supernet.named_parameters():
        for word, key in STATES.items():
            if (tensor := kept.get(f"{word}:{name}")) is not None:
                states[parameter][key] = tensor.to("cpu" if word == "step" else parameter.device)
