"""Planning of neuro-nav's DynaQ, from a checkout.

    python -m zoo.benchmarks.peers.neuro_nav --checkout ../neuro-nav

For requests and answers see :func:`~zoo.benchmarks.peers.planning.serve`; there is "uniform". What is timed is the
``update`` of its ``DynaModule`` with as many recalls as there are backups to make. It remembers the last outcome of
each pair here, which is its faster way.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.benchmarks.peers.planning import Transition, serve


def uniform(code: Any, transitions: list[Transition]) -> Callable[[int], object]:
    """Its recalls."""
    states = 1 + max(max(before, after) for before, _, _, after, _ in transitions)
    agent = code.DynaQ(states, 1 + max(action for _, action, *_ in transitions), lr=0.1, gamma=0.95)
    agent.dyna.recency = "last"
    steps = [(before, action, after, reward, end) for before, action, reward, after, end in transitions]

    def plan(backups: int) -> None:
        agent.dyna.num_recall = backups
        agent.dyna.update(agent, steps[0])

    agent.dyna.num_recall = 0
    for step in steps:
        agent.dyna.update(agent, step)
    return plan


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.checkout))
    code = import_module("neuronav.agents.dyna_agents")
    files = [args.checkout / "neuronav" / "agents" / f"{name}_agents.py" for name in ("dyna", "td")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    versions = {"neuro-nav": f"sha256 {digest}", "numpy": version("numpy")}
    serve({"uniform": lambda transitions: uniform(code, transitions)}, versions)


if __name__ == "__main__":
    main()
