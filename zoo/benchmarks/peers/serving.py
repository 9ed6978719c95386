"""How another library answers what its agent costs. Needs torch and nothing of what is measured of ours."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.benchmarks.peers.answering import answer_all

__all__ = ["Learner", "operations", "parameters", "serve"]


class Learner(ABC):
    """An agent that is measured."""

    @abstractmethod
    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """What learns by gradients: "world", "actor" and "critic"."""

    @abstractmethod
    def update(self) -> None:
        """One gradient update of everything."""

    def act(self) -> None:
        """One action in one environment, from its observation in numpy to an action in numpy."""
        raise NotImplementedError


def parameters(learner: Learner) -> dict[str, int]:
    """How many numbers each part learns."""
    return {name: sum(parameter.numel() for parameter in part) for name, part in learner.parts().items()}


def operations(function: Callable[[], object]) -> dict[str, float]:
    """The floating-point operations of one call, its gradients included: of matrix products and of convolutions."""
    with FlopCounterMode(display=False) as counter:
        function()
    found = {"products": 0.0, "convolutions": 0.0}
    for operator, count in counter.get_flop_counts()["Global"].items():
        found["convolutions" if "convolution" in str(operator) else "products"] += count
    return found


def serve(make: Callable[..., Learner], versions: dict[str, str]) -> None:
    """Answers until the input ends.

    The first line written is ``versions``. A request names a learner, ``{"learner": {…}}``, which ``make`` makes of
    these arguments where it was not asked for before (one at a time is kept), and what to ``"do"``: "parameters",
    "operations", or so many ``"calls"`` of "update" or "act", whose time is answered as ``{"seconds": 1.5}``.
    """
    kept: dict[str, Learner] = {}

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        name = json.dumps(asked["learner"], sort_keys=True)
        if name not in kept:
            kept.clear()
            kept[name] = make(**asked["learner"])
        return _answer(kept[name], asked["do"], asked.get("calls", 1))

    answer_all(versions, answer)


def _answer(learner: Learner, what: str, calls: int) -> dict[str, Any]:
    if what == "parameters":
        return parameters(learner)
    if what == "operations":
        return operations(learner.update)
    function = {"update": learner.update, "act": learner.act}[what]
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return {"seconds": time.perf_counter() - start}
