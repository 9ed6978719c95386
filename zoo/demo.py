"""From 500 real steps of CartPole-v1 to an agent that was trained in the dream alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO

import imagine_envs  # noqa: F401 - registers the ids
from imagine_agents import ImaginationTrainer
from imagine_envs.dreams import Dream, DreamState
from imagine_envs.dreams.fidelity import fidelity
from imagine_envs.dreams.rendering import FrameRenderer, caption
from imagine_envs.spaces import to_numpy, to_tensor
from imagine_envs.storage import atomic_file
from imagine_envs.world_models import World

__all__ = ["demo"]

ENV_ID = "CartPole-v1"
REAL_STEPS = 400
NUM_DREAMS = 1024
TRAINER_KWARGS: dict[str, Any] = {
    "learning_starts": 200,
    "train_freq": 100,
    "num_dreams": NUM_DREAMS,
    "dream_timesteps": 150_000,
    "final_dream_timesteps": 500_000,
    "world_model_kwargs": {"hidden": (128, 128)},
    "fit_kwargs": {"max_updates": 1_000},
}
REAL_EPISODES = 20
GIF_FRAMES = 200
GIF_FPS = 25


def demo(output: str | Path, seed: int = 0) -> dict[str, Any]:
    """Runs the demonstration.

    Args:
        output: Where to leave ``world/``, ``agent.zip``, ``fidelity.json``, ``report.png`` and ``dream.gif``.
        seed: Of everything.

    Returns:
        The numbers of the closing table.
    """
    began = time.perf_counter()
    output, console = Path(output), Console()
    env = gym.make(ENV_ID)

    first, more = TRAINER_KWARGS["learning_starts"], TRAINER_KWARGS["train_freq"]
    console.print(
        f"[bold]1/3[/] {first} real steps of {ENV_ID} at random, then {more} at a time with the agent, until there are "
        f"{REAL_STEPS}. After each part a world is fitted and PPO is trained in {NUM_DREAMS:,} dreams of it alone."
    )
    trainer = ImaginationTrainer("MlpPolicy", env, algorithm=PPO, seed=seed, device="cpu", **TRAINER_KWARGS)
    trainer.learn(REAL_STEPS, progress_bar=True)
    world, agent = trainer.world, trainer.agent
    assert world is not None
    assert isinstance(agent, PPO)
    with atomic_file(output / "agent.zip") as file:
        agent.save(file)

    console.print(
        f"[bold]2/3[/] The agent in reality: {REAL_EPISODES} episodes of {ENV_ID}, and how faithful the dream is"
    )
    report = fidelity(world, env=env, policy=agent, episodes=REAL_EPISODES, seed=seed, progress=True)
    report.save(output)
    world.with_fidelity(report.summary).save(output / "world", overwrite=True)

    console.print("[bold]3/3[/] A film of both, from the same first observation")
    _film(output / "dream.gif", env, world, agent, seed)
    env.close()

    assert report.returns is not None
    returns = {kind: (report.returns[kind]["mean"], report.returns[kind]["std"]) for kind in ("dream", "real")}
    seconds = time.perf_counter() - began
    table = Table(title=f"{ENV_ID}, learned from {trainer.num_timesteps} real steps", show_header=False)
    table.add_row("Real steps used for learning", f"{trainer.num_timesteps:,}")
    table.add_row("Dream steps", f"{trainer.dream_steps:,}")
    table.add_row("Return in the dream", "{:.1f} ± {:.1f}".format(*returns["dream"]))
    table.add_row("Return in reality", "{:.1f} ± {:.1f}".format(*returns["real"]))
    table.add_row("Wall time", f"{seconds:.0f} s")
    console.print(table)
    console.print(f"See {output / 'report.png'} and {output / 'dream.gif'}; the agent is {output / 'agent.zip'}.")
    return {
        "real_steps": trainer.num_timesteps,
        "dream_steps": trainer.dream_steps,
        "dream_return": returns["dream"][0],
        "real_return": returns["real"][0],
        "seconds": seconds,
    }


def _film(path: Path, env: gym.Env, world: World, agent: PPO, seed: int) -> None:
    """Writes reality and the dream side by side; both begin at the same observation, and neither sees the other."""
    first, _ = env.reset(seed=seed)
    renderer = FrameRenderer(world.spec.env_id, world.spec.env_kwargs, world.observation_space)
    strips = [_real(env, first, agent), _dreamt(world, first, agent)]
    frames = []
    # A frame for every second step; the episode that ended first stands still.
    for step in range(0, min(2 * GIF_FRAMES, max(map(len, strips))), 2):
        pictures = []
        for name, strip in zip(("real", "dream"), strips, strict=True):
            now = min(step, len(strip) - 1)
            small = np.ascontiguousarray(renderer.render(strip[now])[::2, ::2])
            pictures.append(caption(small, f"{name}   step {now}" + ("   ended" if now < step else "")))
        frames.append(np.concatenate(pictures, axis=1))
    renderer.close()
    with atomic_file(path) as file:
        imageio.imwrite(file, np.stack(frames), duration=1000 // GIF_FPS, loop=0)


def _real(env: gym.Env, first: Any, agent: PPO) -> list[Any]:
    """Observations of one real episode."""
    observations, over = [first], False
    while not over:
        action, _ = agent.predict(observations[-1], deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        over = terminated or truncated
    return observations


@torch.no_grad()
def _dreamt(world: World, first: Any, agent: PPO) -> list[Any]:
    """Observations of one dreamed episode that begins at a real observation."""
    dream, model, space = Dream(world), world.model, world.action_space
    start = to_tensor(np.asarray(first)[None], world.observation_space, dream.device)
    nothing = to_tensor(np.asarray(space.sample())[None], space, dream.device)
    state = model.observe(model.initial(1), nothing, start, torch.ones(1, dtype=torch.bool, device=dream.device))
    now = DreamState(state, torch.zeros(1, dtype=torch.int64, device=dream.device))
    observations, over = [first], False
    while not over:
        action, _ = agent.predict(observations[-1], deterministic=True)
        now, step = dream.step(now, to_tensor(action[None], space, dream.device))
        observations.append(to_numpy(dream.observation(now), world.observation_space)[0])
        over = bool(step.terminated[0] | step.truncated[0])
    return observations
