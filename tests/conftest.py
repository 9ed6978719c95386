"""What every test may count on: one thread, no display, and small fitted worlds that nobody changes."""

from __future__ import annotations

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"

import warnings
from pathlib import Path

import pytest
import torch

from imagine_envs.experience import Replay, collect
from imagine_envs.world_models import RSSM, Ensemble, PerfectModel, World, fit

torch.set_num_threads(1)


def fitted(replay: Replay, *, epochs: int = 60, **kwargs: object) -> World:
    """A small ensemble world, fitted for a second."""
    torch.manual_seed(0)
    options = {"members": 4, "elites": 3, "hidden": (32, 32), **kwargs}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "none of the .* transitions terminates")
        return fit(Ensemble.for_replay(replay, **options), replay, max_epochs=epochs, seed=0)


@pytest.fixture(scope="session")
def cartpole_replay() -> Replay:
    """300 random steps of CartPole-v1, with terminations."""
    return collect("CartPole-v1", steps=300, seed=0)


@pytest.fixture(scope="session")
def cartpole_world(cartpole_replay: Replay) -> World:
    """An ensemble of four members (three elites) that has learned something of CartPole."""
    return fitted(cartpole_replay)


@pytest.fixture(scope="session")
def cartpole_path(cartpole_world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where that world is saved."""
    path = Path(tmp_path_factory.mktemp("worlds")) / "cartpole"
    cartpole_world.save(path)
    return str(path)


@pytest.fixture(scope="session")
def pendulum_replay() -> Replay:
    """450 random steps of Pendulum-v1, which never terminates."""
    return collect("Pendulum-v1", steps=450, seed=0)


@pytest.fixture(scope="session")
def pendulum_world(pendulum_replay: Replay) -> World:
    """An ensemble world with Box actions that never terminates."""
    return fitted(pendulum_replay, epochs=40)


@pytest.fixture(scope="session")
def rssm_world(cartpole_replay: Replay) -> World:
    """A tiny recurrent world of CartPole, whose state is stochastic and remembers."""
    torch.manual_seed(0)
    tiny = {"deter": 16, "hidden": 8, "stoch": 4, "classes": 4, "units": 8, "blocks": 2}
    model = RSSM.for_replay(cartpole_replay, sequence_length=8, architecture=tiny)
    return fit(model, cartpole_replay, max_epochs=10, learning_rate=3e-3, batch_size=8, seed=0)


@pytest.fixture(scope="session")
def rssm_path(rssm_world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where that world is saved."""
    path = Path(tmp_path_factory.mktemp("worlds")) / "rssm"
    rssm_world.save(path)
    return str(path)


@pytest.fixture(scope="session")
def perfect_cartpole(cartpole_replay: Replay) -> World:
    """CartPole's own physics as a world."""
    return fit(PerfectModel.for_replay(cartpole_replay), cartpole_replay, seed=0)


@pytest.fixture(scope="session")
def perfect_pendulum(pendulum_replay: Replay) -> World:
    """Pendulum's own physics as a world."""
    return fit(PerfectModel.for_replay(pendulum_replay), pendulum_replay, seed=0)
