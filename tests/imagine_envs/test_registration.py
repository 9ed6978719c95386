from __future__ import annotations

import importlib

import gymnasium as gym
import pytest

from imagine_envs.registration import ENVIRONMENTS, register_environments, registered_task
from imagine_envs.tasks import BatchedTask, task_of
from imagine_envs.tasks.backends import make_env, make_vector_env


def test_the_table_of_ids() -> None:
    assert "Imagine/Dream-v0" in ENVIRONMENTS
    registered = {env_id for env_id in gym.registry if env_id.startswith("Imagine/")}
    assert registered == set(ENVIRONMENTS)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_entry_points_are_strings_that_name_classes_or_functions(env_id: str) -> None:
    bases = {"entry_point": gym.Env, "vector_entry_point": gym.vector.VectorEnv}
    entry = ENVIRONMENTS[env_id]
    assert entry.keys() - {"kwargs"} == bases.keys()
    for kind, base in bases.items():
        module, name = entry[kind].split(":")
        found = getattr(importlib.import_module(module), name)
        assert issubclass(found, base) if isinstance(found, type) else found in (make_env, make_vector_env)
        assert getattr(gym.spec(env_id), kind) == entry[kind]
    assert gym.spec(env_id).kwargs == entry.get("kwargs", {})


@pytest.mark.parametrize("env_id", [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry])
def test_tasks_are_strings_that_name_tasks(env_id: str) -> None:
    entry = ENVIRONMENTS[env_id]
    assert entry["entry_point"] in ("imagine_envs.tasks.env:TaskEnv", "imagine_envs.tasks.backends:make_env")
    assert isinstance(entry["kwargs"]["task"], str)
    assert isinstance(task_of(**entry["kwargs"]), BatchedTask)


def test_the_rules_behind_a_registered_task() -> None:
    found = registered_task("Imagine/ScaledMaze-v0", {"size": 94})
    expected = gym.make("Imagine/ScaledMaze-v0", size=94).unwrapped.task  # type: ignore[attr-defined]
    assert type(found) is type(expected)
    assert found.observation_space == expected.observation_space
    for other in (None, "", "CartPole-v1", "Imagine/Dream-v0", "Imagine/Nowhere-v0", "a_module:Imagine/DynaMaze-v0"):
        assert registered_task(other, {}) is None


def test_registering_again_changes_nothing_and_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    before = dict(gym.registry)
    register_environments()
    gym.register_envs(importlib.import_module("imagine_envs"))
    assert gym.registry == before
    assert not recwarn


def test_the_module_prefix_of_an_id_imports_the_package(cartpole_path: str) -> None:
    env = gym.make("imagine_envs:Imagine/Dream-v0", world_model=cartpole_path)
    assert env.spec is not None
    assert env.spec.id == "Imagine/Dream-v0"


def test_an_unknown_id_of_the_namespace_is_gymnasiums_own_error() -> None:
    with pytest.raises(gym.error.NameNotFound, match="Drem"):
        gym.make("Imagine/Drem-v0")
