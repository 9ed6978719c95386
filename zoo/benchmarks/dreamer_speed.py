"""What a gradient update of Dreamer costs, and acting, beside sheeprl and dreamerv3-torch at equal sizes.

    python -m zoo.benchmarks.dreamer_speed --dreamerv3-torch ../dreamerv3-torch   # everything (a quarter of an hour)
    python -m zoo.benchmarks.dreamer_speed --quick --threads 1 --cases "1M, vectors"
    python -m zoo.benchmarks.dreamer_speed --report                               # only the tables

An update is everything: world model, actor and critic, from 16 sequences of 64 records, dreaming 15 steps from each;
full precision, nothing compiled. Ours is ``train(gradient_steps=1)`` with the sampling from the replay, theirs their
own training function on a random batch. The architecture is changed so that the widths and depths of all networks are
those of the peer's recipe; the numbers of parameters, which are reported, tell what is left between them. The sides run
in turns, and the medians of the ratios within the rounds are reported: other work on the machine slows both (on one
thread; two threads need an idle machine).

sheeprl answers from a process in a virtual environment of its own (``peers/requirements-sheeprl.txt``), which is made
where it is missing; dreamerv3-torch, which is no package, from a checkout (https://github.com/NM512/dreamerv3-torch).

An update's floor is the time its matrix products and convolutions would take at the rates that this machine reaches
with large ones of them, if everything else were free.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from imagine_agents import Dreamer
from imagine_agents.dreamer.presets import BEHAVIOURS
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.dreamer_speed_report import report
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread
from zoo.benchmarks.peers.processes import Peer, installed
from zoo.benchmarks.peers.serving import Learner, operations, parameters

__all__ = ["CASES", "Case", "Ours", "main"]

RESULTS = Path(__file__).parent / "results" / "dreamer_speed.json"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements-sheeprl.txt"
PEER_VENV = Path("build/venv-sheeprl")

RECORDS = 300
"""Real steps in the replay that sequences are drawn from."""


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        peer: "sheeprl" or "dreamerv3-torch".
        recipe: What the peer calls it.
        image: Whether images of 64 × 64 are seen in place of three numbers.
        layers: Of actor and critic.
        architecture: What makes our world model the peer's size.
    """

    peer: str
    recipe: str
    image: bool
    layers: int = 3
    architecture: dict[str, Any] = field(default_factory=dict)

    @property
    def learner(self) -> dict[str, Any]:
        """What the peer makes its agent of."""
        return {"recipe": self.recipe, "image": self.image}


def _first_edition(width: int, layers: int, depth: int) -> dict[str, Any]:
    """DreamerV3's first edition: a plain GRU, 32 × 32 latents, all layers of one width."""
    return {
        **dict.fromkeys(("deter", "hidden", "units"), width),
        **dict.fromkeys(("codec_layers", "reward_layers", "termination_layers"), layers),
        **{"stoch": 32, "classes": 32, "blocks": 1, "prior_layers": 1},
        **{"depth": depth, "multipliers": (1, 2, 4, 8)},
    }


CASES: dict[str, Case] = {
    "1M, vectors": Case("sheeprl", "dreamer_v3_5_1M", image=False),
    "1M, images": Case("sheeprl", "dreamer_v3_5_1M", image=True),
    "XS, vectors": Case("sheeprl", "dreamer_v3_XS", False, 1, _first_edition(256, 1, 24)),
    "XS, images": Case("sheeprl", "dreamer_v3_XS", True, 1, _first_edition(256, 1, 24)),
    "default, vectors": Case("dreamerv3-torch", "dmc_proprio", False, 2, _first_edition(512, 2, 32)),
    "default, images": Case("dreamerv3-torch", "dmc_vision", True, 2, _first_edition(512, 2, 32)),
}
ACTING = ("1M, vectors", "1M, images")


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Updates of each side, by peer.
        acting: Blocks of actions of each side.
        rates: Blocks of products and convolutions.
    """

    rounds: Mapping[str, int]
    acting: int
    rates: int


FULL = Effort({"sheeprl": 7, "dreamerv3-torch": 3}, acting=60, rates=20)
QUICK = Effort({"sheeprl": 1, "dreamerv3-torch": 1}, acting=3, rates=3)


# --- ours -------------------------------------------------------------------------------------------------------------


class Noise(gym.Env[Any, np.ndarray]):
    """Random observations and rewards of Pendulum's dimensions, without an end; or random images."""

    def __init__(self, image: bool) -> None:
        self.observation_space: gym.spaces.Box = (
            gym.spaces.Box(0, 255, (64, 64, 3), np.uint8) if image else gym.spaces.Box(-8, 8, (3,), np.float32)
        )
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first of them."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The next of them."""
        return self.observation_space.sample(), float(self.np_random.normal()), False, False, {}


class Ours(Learner):
    """Our Dreamer with a filled replay.

    Args:
        case: Its sizes, and what it sees.
        records: Real steps in its replay.
    """

    def __init__(self, case: Case, records: int = RECORDS) -> None:
        behaviour = dataclasses.replace(BEHAVIOURS["v3"], layers=(case.layers, case.layers))
        with mock.patch.dict(BEHAVIOURS, v3=behaviour):
            self.agent = Dreamer(
                "CnnPolicy" if case.image else "MlpPolicy",
                Noise(case.image),
                learning_starts=records - 1,
                train_ratio=1e-6,  # no update while the replay is being filled
                policy_kwargs={"architecture": case.architecture},
                seed=0,
                device="cpu",
            )
        self.agent.learn(records)
        assert isinstance(self.agent.observation_space, gym.spaces.Box)
        self._observation = self.agent.observation_space.sample()
        self._state: Any = None

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """See :class:`Learner`."""
        policy = self.agent.policy
        parts: dict[str, nn.Module] = {"world": policy.world, "actor": policy.actor, "critic": policy.critic}
        return {name: part.parameters() for name, part in parts.items()}

    def update(self) -> None:
        """One update from sequences of the replay."""
        self.agent.train(1, 16)

    def act(self) -> None:
        """``predict``, which goes on from the state it returned before; sampled, as while learning."""
        goes_on = np.zeros(1, dtype=bool)
        _, self._state = self.agent.predict(self._observation, self._state, goes_on, deterministic=False)


# --- the measurements -------------------------------------------------------------------------------------------------


def rates(effort: Effort) -> dict[str, dict[str, float]]:
    """GFLOP/s of this machine, in full precision: a large matrix product, and a convolution of many channels."""
    size, batch, channels, side, kernel = 2_048, 64, 64, 32, 4
    left, right, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    planes = torch.randn(batch, channels, 2 * side, 2 * side).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, kernel, kernel).to(memory_format=torch.channels_last)
    contestants = {
        "products": per_call(lambda: torch.mm(left, right, out=out)),
        "convolutions": per_call(lambda: torch.conv2d(planes, weight, stride=2, padding=1)),
    }
    floating = {"products": 2 * size**3, "convolutions": 2 * batch * side**2 * channels**2 * kernel**2}
    seconds = interleaved(contestants, rounds=effort.rates, block=0.05)
    return {name: spread(1e-9 * floating[name] / values) for name, values in seconds.items()}


def compared(ours: Contestant, theirs: Contestant | None, *, rounds: int, block: float) -> dict[str, Any]:
    """Seconds of each side, and how many times theirs ours takes."""
    sides = {"ours": ours} if theirs is None else {"ours": ours, "theirs": theirs}
    seconds = interleaved(sides, rounds=rounds, block=block)
    found: dict[str, Any] = {"seconds": {name: spread(values) for name, values in seconds.items()}}
    if theirs is not None:
        found["ratio"] = spread(seconds["ours"] / seconds["theirs"])
    return found


# --- the peers --------------------------------------------------------------------------------------------------------


def asked(peer: Peer, case: Case, what: str, calls: int = 1) -> dict[str, Any]:
    """What a peer answers; see :func:`~zoo.benchmarks.peers.serving.serve`."""
    return peer.ask(learner=case.learner, do=what, calls=calls)


def doing(peer: Peer, case: Case, what: str) -> Contestant:
    """A peer as a contestant: "update" or "act"."""
    return lambda times: float(asked(peer, case, what, times)["seconds"])


def peer_python(directory: Path) -> Path:
    """The interpreter of the peers' virtual environment, which is made where it is missing."""
    return installed(directory, ("-r", str(REQUIREMENTS)))


def commands(python: Path, threads: int, checkout: Path | None) -> dict[str, list[str]]:
    """How the peers that are at hand are started."""
    found = {"sheeprl": [str(python), "-m", "zoo.benchmarks.peers.sheeprl", "--threads", str(threads)]}
    if checkout is not None:
        arguments = ["--checkout", str(checkout.resolve()), "--threads", str(threads)]
        found["dreamerv3-torch"] = [str(python), "-m", "zoo.benchmarks.peers.dreamerv3_torch", *arguments]
    return found


# --- the command ------------------------------------------------------------------------------------------------------


def measure(case: Case, peer: Peer | None, effort: Effort, *, acts: bool, counts: bool) -> dict[str, Any]:
    """Everything of one case: "update", where they are wanted "act" and "size"."""
    ours = Ours(case)
    found: dict[str, Any] = {}
    if counts:
        found["size"] = {
            what: {"ours": our, **({} if peer is None else {"theirs": asked(peer, case, what)})}
            for what, our in (("parameters", parameters(ours)), ("operations", operations(ours.update)))
        }
    tasks = [("update", effort.rounds[case.peer], 0.0), *([("act", effort.acting, 0.05)] if acts else [])]
    for task, rounds, block in tasks:
        theirs = None if peer is None else doing(peer, case, task)
        found[task] = compared(per_call(getattr(ours, task)), theirs, rounds=rounds, block=block)
    return found


def main(argv: list[str] | None = None) -> None:
    """Measures and writes ``results/dreamer_speed.json``, adding to what is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--quick", action="store_true", help="one repetition, to see that it runs")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--peer-venv", type=Path, default=PEER_VENV, help="where sheeprl is, or is to be installed")
    parser.add_argument("--dreamerv3-torch", type=Path, help="a checkout of it; without one it is left out")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print the tables of what was measured before")
    args = parser.parse_args(argv)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"sizes": {}, "threads": {}}
    if not args.report:
        effort = QUICK if args.quick else FULL
        python = None if args.no_peers else peer_python(args.peer_venv)
        for i, threads in enumerate(args.threads):
            torch.set_num_threads(threads)
            found = results["threads"].setdefault(str(threads), {"update": {}, "act": {}})
            found["rates"] = rates(effort)
            results["machine"] = machine()
            with contextlib.ExitStack() as stack:
                peers: dict[str, Peer] = {}
                if python is not None:
                    for name, command in commands(python, threads, args.dreamerv3_torch).items():
                        peers[name] = stack.enter_context(contextlib.closing(Peer(*command)))
                        results.setdefault("peers", {})[name] = peers[name].versions
                for name in args.cases:
                    case = CASES[name]
                    if python is not None and case.peer not in peers:
                        continue
                    print(f"{name}, {threads} threads", file=sys.stderr)
                    measured = measure(case, peers.get(case.peer), effort, acts=name in ACTING, counts=i == 0)
                    if "size" in measured:
                        results["sizes"][name] = {"peer": case.peer, **measured.pop("size")}
                    for task, value in measured.items():
                        found[task][name] = value
                    save_json(args.results, results)
    print(report(results))


if __name__ == "__main__":
    main()
