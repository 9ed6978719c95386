"""Checkpoints of SB3 algorithms."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from imagine_agents.common.checkpoint import (
    AtomicCheckpointCallback,
    checkpoints,
    load_checkpoint,
    read_progress,
    save_checkpoint,
)
from imagine_envs.storage import StorageError


def small() -> dict[str, Any]:
    return {"policy_kwargs": {"net_arch": [8]}, "seed": 0, "device": "cpu"}  # SB3 changes the inner dict


def ppo(env: Any = "CartPole-v1", **kwargs: Any) -> PPO:
    return PPO("MlpPolicy", env, **{"n_steps": 16, "batch_size": 16, "n_epochs": 1, **small(), **kwargs})


def sac(**kwargs: Any) -> SAC:
    return SAC(
        "MlpPolicy", "Pendulum-v1", **{"learning_starts": 10, "batch_size": 8, "buffer_size": 500, **small(), **kwargs}
    )


def draws(model: Any) -> tuple[Any, ...]:
    return (
        random.random(),
        np.random.random(),  # noqa: NPY002 - the generator that SB3 uses
        torch.rand(2).tolist(),
        np.asarray(model.action_space.sample()).tolist(),
    )


def parameters(model: Any) -> dict[str, Any]:
    flat: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{name}/{key}", item)
        elif isinstance(value, list):
            for key, item in enumerate(value):
                visit(f"{name}/{key}", item)
        else:
            flat[name] = value.tolist() if isinstance(value, torch.Tensor) else value

    visit("", model.get_parameters())
    return flat


def test_policy_optimizer_counters_and_random_generators_come_back(tmp_path: Path) -> None:
    model = ppo().learn(64)
    save_checkpoint(model, tmp_path / "c", progress={"n_calls": 64})
    expected = draws(model)
    loaded = load_checkpoint(PPO, tmp_path / "c", gym.make("CartPole-v1"))
    assert draws(loaded) == expected
    assert parameters(loaded) == parameters(model)
    assert any("exp_avg" in name for name in parameters(loaded))  # Adam's moments among them
    assert (loaded.num_timesteps, loaded._n_updates) == (64, model._n_updates)
    assert read_progress(tmp_path / "c")["n_calls"] == 64


def test_two_resumed_runs_are_the_same(tmp_path: Path) -> None:
    save_checkpoint(sac().learn(40), tmp_path / "c")
    results = []
    for _ in range(2):
        torch.rand(3)  # whatever happens in the process before
        model = load_checkpoint(SAC, tmp_path / "c", gym.make("Pendulum-v1"))
        model.learn(20, reset_num_timesteps=False)
        assert model.num_timesteps == 60
        results.append(parameters(model))
    assert results[0] == results[1]


def test_the_replay_buffer_comes_back_with_its_open_episode_truncated(tmp_path: Path) -> None:
    model = sac().learn(40)
    save_checkpoint(model, tmp_path / "c")
    loaded = load_checkpoint(SAC, tmp_path / "c", gym.make("Pendulum-v1"))
    ours, theirs = loaded.replay_buffer, model.replay_buffer
    assert ours is not None
    assert theirs is not None
    assert ours.size() == theirs.size() == 40
    for name in ("observations", "next_observations", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(ours, name)[:40], getattr(theirs, name)[:40])
    assert theirs.dones[39] == 0
    assert (ours.dones[39], ours.timeouts[39]) == (1, 1)
    assert ours.dones[:39].sum() == 0


def test_a_termination_stays_a_termination_in_the_last_row(tmp_path: Path) -> None:
    model = sac().learn(40)
    assert model.replay_buffer is not None
    model.replay_buffer.dones[39] = 1
    save_checkpoint(model, tmp_path / "c")
    buffer = load_checkpoint(SAC, tmp_path / "c", gym.make("Pendulum-v1")).replay_buffer
    assert buffer is not None
    assert (buffer.dones[39], buffer.timeouts[39]) == (1, 0)


def test_a_resumed_run_does_not_meet_its_first_episode_again(tmp_path: Path) -> None:
    model = ppo()
    assert model.env is not None
    first = model.env.reset()
    model.learn(32)
    save_checkpoint(model, tmp_path / "c")
    loaded = load_checkpoint(PPO, tmp_path / "c", gym.make("CartPole-v1"))
    again = load_checkpoint(PPO, tmp_path / "c", gym.make("CartPole-v1"))
    assert loaded.env is not None
    assert again.env is not None
    resumed = loaded.env.reset()
    assert not np.array_equal(resumed, first)
    np.testing.assert_array_equal(resumed, again.env.reset())


def test_vecnormalize_statistics_come_back(tmp_path: Path) -> None:
    def normalized() -> VecNormalize:
        return VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))

    model = ppo(normalized()).learn(32)
    save_checkpoint(model, tmp_path / "c")
    env = normalized()
    loaded = load_checkpoint(PPO, tmp_path / "c", env)
    assert loaded.get_vec_normalize_env() is env
    before = model.get_vec_normalize_env()
    assert before is not None
    for name in ("obs_rms", "ret_rms"):
        np.testing.assert_array_equal(getattr(env, name).mean, getattr(before, name).mean)
        assert getattr(env, name).count == getattr(before, name).count > 30


def test_vecnormalize_without_saved_statistics_is_an_error(tmp_path: Path) -> None:
    save_checkpoint(ppo("Pendulum-v1").learn(16), tmp_path / "c")
    with pytest.raises(StorageError, match=r"no vecnormalize\.pkl"):
        load_checkpoint(PPO, tmp_path / "c", VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")])))


def test_ars_goes_on_from_its_own_weights(tmp_path: Path) -> None:
    model = ARS("MlpPolicy", "CartPole-v1", n_delta=2, zero_policy=False, **small()).learn(100)
    save_checkpoint(model, tmp_path / "c")
    loaded = load_checkpoint(ARS, tmp_path / "c", gym.make("CartPole-v1"))
    torch.testing.assert_close(loaded.weights, model.weights)


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(ppo(), path)
    with pytest.raises(StorageError, match="nothing: no checkpoint is there"):
        load_checkpoint(PPO, tmp_path / "nothing")
    with pytest.raises(StorageError, match="checkpoint of PPO; one of DQN was expected"):
        load_checkpoint(DQN, path)
    with pytest.raises(StorageError, match="exists already"):
        save_checkpoint(ppo(), path)
    whole = (path / "model.zip").read_bytes()
    (path / "model.zip").write_bytes(whole[:-1])
    with pytest.raises(StorageError, match=r"model\.zip is truncated or was changed"):
        load_checkpoint(PPO, path)
    (path / "model.zip").unlink()
    with pytest.raises(StorageError, match=r"model\.zip is missing"):
        read_progress(path)
    progress = json.loads((path / "progress.json").read_text())
    (path / "progress.json").write_text(json.dumps({**progress, "version": 99}))
    with pytest.raises(StorageError, match="version 99"):
        read_progress(path)


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sac().learn(20)
    save_checkpoint(model, tmp_path / "c", progress={"which": "old"})

    def disk_full(path: Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(model, "save_replay_buffer", disk_full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(model, tmp_path / "c", progress={"which": "new"}, overwrite=True)
    assert read_progress(tmp_path / "c")["which"] == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]
    assert load_checkpoint(SAC, tmp_path / "c").num_timesteps == 20


def test_the_callback_saves_between_rollouts_and_keeps_the_last(tmp_path: Path) -> None:
    leftover = tmp_path / ".rl_model_5_steps.0123abcd"
    leftover.mkdir()
    # Rollouts of 16 steps: what is due after 20, 40, … steps is saved when the rollout has been learned from.
    ppo().learn(128, callback=AtomicCheckpointCallback(20, tmp_path, keep=2))
    assert not leftover.exists()
    zips = sorted(int(file.name.split("_")[2]) for file in tmp_path.glob("rl_model_*_steps.zip"))
    assert zips == [32, 48, 64, 80, 112]  # of 120 the run ended before
    assert [path.name for path in checkpoints(tmp_path)] == ["rl_model_112_steps", "rl_model_80_steps"]
    assert PPO.load(tmp_path / "rl_model_48_steps.zip").num_timesteps == 48
    newest = load_checkpoint(PPO, checkpoints(tmp_path)[0], gym.make("CartPole-v1"))
    assert newest._n_updates == 7  # one epoch after each of seven rollouts: nothing was collected in vain


def test_checkpoints_of_other_names_and_removed_ones_are_not_seen(tmp_path: Path) -> None:
    for name in ("rl_model_10_steps", ".rl_model_20_steps.previous", ".rl_model_30_steps.removed", "other_40_steps"):
        (tmp_path / name).mkdir()
    (tmp_path / "rl_model_50_steps.zip").write_bytes(b"")
    # An exchange that was killed between its two renames is undone.
    assert [path.name for path in checkpoints(tmp_path)] == ["rl_model_20_steps", "rl_model_10_steps"]


@pytest.mark.parametrize("argument", ["save_freq", "keep"])
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}=0 must be a whole number of at least 1"):
        AtomicCheckpointCallback(**{"save_freq": 1, "save_path": tmp_path, argument: 0})
