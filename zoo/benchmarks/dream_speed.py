"""What dreaming costs: overhead of the environments, throughput beside mbrl-lib, stock PPO in the dream.

    python -m zoo.benchmarks.dream_speed                 # everything, on one thread and on two (ten minutes)
    python -m zoo.benchmarks.dream_speed --quick --threads 1 --parts overhead single
    python -m zoo.benchmarks.dream_speed --report        # only the tables of what was measured before

The worlds are ensembles of 7 networks with 4 × 200 units (5 elites; the rows "7 elites" use them all), fitted for a few
epochs: Pendulum-v1 never terminates, CartPole-v1 under a random policy restarts some fifty of 1,024 rows in every step.
What is compared runs in turns, in blocks of milliseconds, and the medians of the ratios within the rounds are reported:
other work on the machine slows both sides. mbrl-lib answers from a process in a virtual environment of its own
(``peers/requirements-mbrl.txt``), which is made where it is missing; the process sleeps while it is not asked.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from imagine_envs.dreams import DreamEnv, DreamVectorEnv
from imagine_envs.experience import Replay, collect
from imagine_envs.storage import load_json, save_json
from imagine_envs.world_models import Ensemble, World, fit
from wrappers import SB3VecEnv
from zoo.benchmarks.dream_speed_report import report
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread
from zoo.benchmarks.peers.processes import Peer, installed

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "dream_speed.json"
PEERS = Path(__file__).parent / "peers"
PEER_VENV = Path("build/venv-mbrl")

PARTS = ("overhead", "single", "throughput", "ppo", "batch-sizes")
NUM_ENVS = 1_024
BATCHES = {1: 7, 64: 63, 1_024: 1_022, 16_384: 16_387}
"""Ours → mbrl-lib's, which must be a multiple of its 7 members."""

PPO_KWARGS: dict[str, Any] = {"n_steps": 32, "batch_size": 4_096, "n_epochs": 10, "device": "cpu", "seed": 0}
BATCH_SIZES = (64, 1_024, 4_096, 8_192)


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Blocks of each contestant.
        block: Seconds of a block.
        iterations: Iterations of each PPO.
        large_iterations: The same for the table of batch sizes.
    """

    rounds: int = 60
    block: float = 0.02
    iterations: int = 12
    large_iterations: int = 4


QUICK = Effort(rounds=3, block=0.005, iterations=2, large_iterations=1)


# --- worlds -----------------------------------------------------------------------------------------------------------


def pendulum(elites: int = 5) -> World:
    """A world with Box actions that never terminates; all numbers of elites share the weights."""
    return _with_elites(_fitted(collect("Pendulum-v1", steps=600, seed=0), max_epochs=20), elites)


def cartpole() -> World:
    """A world in which a random policy soon falls."""
    return _fitted(collect("CartPole-v1", steps=1_000, seed=0), max_epochs=60)


def _fitted(replay: Replay, *, max_epochs: int) -> World:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "none of the .* transitions terminates")
        return fit(Ensemble.for_replay(replay), replay, max_epochs=max_epochs, seed=0)


def _with_elites(world: World, elites: int) -> World:
    model = world.model
    assert isinstance(model, Ensemble)
    other = Ensemble(model.observation_space, model.action_space, **{**model.hyperparameters(), "elites": elites})
    other.load_state_dict(model.state_dict())
    return World(other, world.contexts, world.spec, world.uncertainty_quantiles)


def multiplications(world: World) -> int:
    """Of one row in the network of one member: 2 · Σ inputs · outputs, counting an addition with each."""
    assert isinstance(world.model, Ensemble)
    return sum(2 * weight.shape[1] * weight.shape[2] for weight in world.model.dynamics.weights)


# --- what is stepped --------------------------------------------------------------------------------------------------


def some_actions(space: spaces.Space[Any], num_envs: int, batches: int = 64) -> Iterator[np.ndarray]:
    """The same random batches of actions over and over, drawn before anything is timed."""
    space = gym.vector.utils.batch_space(space, num_envs)
    space.seed(0)
    drawn = [space.sample() for _ in range(batches)]
    while True:
        yield from drawn


def bare(envs: DreamVectorEnv) -> Contestant:
    """``imagine`` on the tensors that the dreams are at."""
    model = envs.dream.world.model
    action = torch.from_numpy(next(some_actions(envs.single_action_space, envs.num_envs)))
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def imagine() -> None:
        model.imagine(envs.snapshot().model, action, generator=generator)

    return per_call(imagine)


def stepping(envs: DreamVectorEnv | SB3VecEnv, ended: list[int] | None = None) -> Contestant:
    """``step`` with random actions; counts the rows that end into ``ended``."""
    single = envs.single_action_space if isinstance(envs, DreamVectorEnv) else envs.action_space
    actions = some_actions(single, envs.num_envs)

    def step() -> None:
        result = envs.step(next(actions))
        if ended is not None:
            ended.append(int((result[2] | result[3]).sum()))

    return per_call(step)


def dreams_of(world: World, num_envs: int) -> DreamVectorEnv:
    """A batch that was reset."""
    envs = DreamVectorEnv(world, num_envs)
    envs.reset(seed=0)
    return envs


class DoNothing(VecEnv):
    """A batch of environments that cost nothing: the same observations in every step, and no episode ends."""

    def __init__(self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.render_mode = None
        super().__init__(num_envs, observation_space, action_space)
        observation_space.seed(0)
        batch = np.stack([observation_space.sample() for _ in range(num_envs)])
        self._observations = np.clip(batch, -1, 1).astype(observation_space.dtype)
        self._infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(num_envs)]

    def reset(self) -> np.ndarray:
        return self._observations

    def step_async(self, actions: np.ndarray) -> None:
        pass

    def step_wait(self) -> VecEnvStepReturn:
        rewards, dones = np.ones(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        return self._observations, rewards, dones, self._infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


# --- the measurements -------------------------------------------------------------------------------------------------


def overhead(world: World, effort: Effort) -> dict[str, Any]:
    """Steps of a batch against ``imagine`` on the same tensors."""
    envs, sb3 = dreams_of(world, NUM_ENVS), SB3VecEnv(dreams_of(world, NUM_ENVS))
    sb3.reset()
    ended: list[int] = []
    step = stepping(envs, ended)
    step(100)  # rows that began together no longer end together
    stepping(sb3)(100)
    ended.clear()
    seconds = interleaved(
        {"imagine": bare(envs), "DreamVectorEnv": step, "SB3VecEnv": stepping(sb3)},
        rounds=effort.rounds,
        block=effort.block,
    )
    return {
        "microseconds": {name: spread(1e6 * values) for name, values in seconds.items()},
        "ratio": {name: spread(seconds[name] / seconds["imagine"]) for name in ("DreamVectorEnv", "SB3VecEnv")},
        "rows_ended_per_step": float(np.mean(ended)),
    }


def single(world: World, effort: Effort) -> dict[str, Any]:
    """One ``DreamEnv``, its resets included, against ``imagine`` on a batch of one."""
    env, envs = DreamEnv(world), dreams_of(world, 1)
    env.reset(seed=0)
    actions = (batch[0] for batch in some_actions(env.action_space, 1))

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(next(actions))
        if terminated or truncated:
            env.reset()

    seconds = interleaved({"imagine": bare(envs), "DreamEnv": per_call(step)}, rounds=effort.rounds, block=effort.block)
    return {
        "microseconds": {name: spread(1e6 * values) for name, values in seconds.items()},
        "difference": spread(1e6 * (seconds["DreamEnv"] - seconds["imagine"])),
        "steps_per_second": spread(1 / seconds["DreamEnv"]),
    }


def sgemm(size: int = 2_048) -> tuple[Contestant, int]:
    """The machine's own product of two float32 matrices, and its floating-point operations."""
    left, right, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    return per_call(lambda: torch.mm(left, right, out=out)), 2 * size**3


def throughput(worlds: dict[str, World], peer: Peer | None, effort: Effort) -> dict[str, Any]:
    """Transitions per second at four sizes of a batch, mbrl-lib and the roofline beside them."""
    found: dict[str, Any] = {}
    product, operations = sgemm()
    for ours, theirs in BATCHES.items():
        contestants: dict[str, Contestant] = {"sgemm": product}
        rows = {}
        for name, world in worlds.items():
            envs = dreams_of(world, ours)
            contestants[f"imagine, {name}"], contestants[f"DreamVectorEnv, {name}"] = bare(envs), stepping(envs)
            rows[f"imagine, {name}"] = rows[f"DreamVectorEnv, {name}"] = ours
        if peer is not None:
            contestants["ModelEnv, tensors"] = peer_steps(peer, theirs, arrays=False)
            contestants["ModelEnv, arrays"] = peer_steps(peer, theirs, arrays=True)
            rows["ModelEnv, tensors"] = rows["ModelEnv, arrays"] = theirs
        seconds = interleaved(contestants, rounds=effort.rounds // 2 + 1, block=effort.block)
        rate = {name: count / seconds[name] for name, count in rows.items()}
        useful = multiplications(next(iter(worlds.values())))
        found[str(ours)] = {
            "transitions_per_second": {name: spread(values) for name, values in rate.items()},
            "gflops_of_sgemm": spread(operations / seconds["sgemm"] / 1e9),
            "share_of_sgemm": {
                name: spread(values * useful * seconds["sgemm"] / operations) for name, values in rate.items()
            },
        }
        if peer is not None:
            found[str(ours)]["peer_batch"] = theirs
            # Like with like: tensors against tensors, and arrays against arrays.
            found[str(ours)]["times_mbrl"] = {
                name: spread(rate[name] / rate["ModelEnv, " + ("tensors" if "imagine" in name else "arrays")])
                for name in rate
                if not name.startswith("ModelEnv")
            }
    return found


def ppo(world: World, effort: Effort) -> dict[str, Any]:
    """Stock PPO in the dream against the same on environments that cost nothing, and the bare model."""
    envs = dreams_of(world, NUM_ENVS)
    frames = PPO_KWARGS["n_steps"] * NUM_ENVS
    nothing = DoNothing(NUM_ENVS, world.observation_space, world.action_space)
    imagine = bare(envs)
    seconds = interleaved(
        {
            "dream": learning(PPO("MlpPolicy", SB3VecEnv(DreamVectorEnv(world, NUM_ENVS)), **PPO_KWARGS)),
            "nothing": learning(PPO("MlpPolicy", nothing, **PPO_KWARGS)),
            "model": lambda times: imagine(times * PPO_KWARGS["n_steps"]),
        },
        rounds=effort.iterations,
        block=0.0,
    )
    reference = seconds["nothing"] + seconds["model"]
    return {
        "frames_per_second": {
            "dream": spread(frames / seconds["dream"]),
            "nothing": spread(frames / seconds["nothing"]),
            "model": spread(frames / seconds["model"]),
            "nothing + model": spread(frames / reference),
        },
        "lost": spread(1 - reference / seconds["dream"]),
    }


def batch_sizes(effort: Effort) -> dict[str, Any]:
    """Frames per second of PPO on environments that cost nothing, for several sizes of its batches."""
    space, actions = gym.make("CartPole-v1").observation_space, spaces.Discrete(2)
    nothing = DoNothing(NUM_ENVS, space, actions)
    seconds = interleaved(
        {str(size): learning(PPO("MlpPolicy", nothing, **{**PPO_KWARGS, "batch_size": size})) for size in BATCH_SIZES},
        rounds=effort.large_iterations,
        block=0.0,
    )
    frames = PPO_KWARGS["n_steps"] * NUM_ENVS
    return {size: spread(frames / values) for size, values in seconds.items()}


def learning(agent: PPO) -> Contestant:
    """Iterations of ``learn``: a rollout and its updates."""
    frames = agent.n_steps * agent.n_envs
    return per_call(lambda: agent.learn(frames, reset_num_timesteps=False))


# --- mbrl-lib ---------------------------------------------------------------------------------------------------------


def peer_python(directory: Path) -> Path:
    """The interpreter of mbrl-lib's virtual environment, which is made where it is missing."""
    return installed(directory, ("-r", str(PEERS / "requirements-mbrl.txt")), ("--no-deps", "mbrl==0.2.0"))


def peer_steps(peer: Peer, batch: int, *, arrays: bool) -> Contestant:
    """Steps of a batch of mbrl-lib's, handed out as arrays or as tensors."""
    return lambda times: float(peer.ask(batch=batch, numpy=arrays, calls=times)["seconds"])


# --- the command ------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Measures and writes ``results/dream_speed.json``, adding to what is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--no-peers", action="store_true", help="without mbrl-lib")
    parser.add_argument("--peer-venv", type=Path, default=PEER_VENV, help="where mbrl-lib is, or is to be installed")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print the tables of what was measured before")
    args = parser.parse_args(argv)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"threads": {}}
    if not args.report:
        python = None if args.no_peers or "throughput" not in args.parts else peer_python(args.peer_venv)
        effort = QUICK if args.quick else Effort()
        world = pendulum()
        worlds = {"5 elites": world, "7 elites": _with_elites(world, 7)}
        falling = cartpole()
        for threads in args.threads:
            torch.set_num_threads(threads)
            found = results["threads"].setdefault(str(threads), {})
            results["machine"] = machine()
            if "overhead" in args.parts:
                cases = {f"Pendulum, {name}": world for name, world in worlds.items()} | {"CartPole, 5 elites": falling}
                found["overhead"] = {name: overhead(world, effort) for name, world in cases.items()}
            if "single" in args.parts:
                found["single"] = single(world, effort)
            if "throughput" in args.parts:
                with contextlib.ExitStack() as stack:
                    peer = None
                    if python is not None:
                        command = (str(python), "-m", "zoo.benchmarks.peers.mbrl_lib", "--threads", str(threads))
                        peer = stack.enter_context(contextlib.closing(Peer(*command)))
                        results["peers"] = peer.versions
                    found["throughput"] = throughput(worlds, peer, effort)
            if "ppo" in args.parts:
                found["ppo"] = ppo(falling, effort)
            if "batch-sizes" in args.parts:
                found["batch-sizes"] = batch_sizes(effort)
            save_json(args.results, results)
    print(report(results))


if __name__ == "__main__":
    main()
