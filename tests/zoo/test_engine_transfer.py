"""``zoo.benchmarks.engine_transfer``, with our own Doom in the place of the engine's."""

from __future__ import annotations

import functools
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from imagine_envs.storage import load_json
from zoo.benchmarks import engine_transfer
from zoo.commands import train

TASK = "Imagine/DoomTakeCover-v0"
SMALL = ["-n", "200", "-params", "n_envs:2", "n_steps:50", "batch_size:50", "n_epochs:1"]


def test_a_run_is_trained_once_and_judged_in_both_backends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings, judged, original, episodes = [], [], train.main, engine_transfer.episodes

    def small(argv: list[str]) -> None:
        trainings.append(argv)
        original([*argv, *SMALL])

    def watched(model: PPO, make: functools.partial[gym.Env], count: int, seed: int) -> list[float]:
        judged.append((make.keywords["backend"], model.num_timesteps))
        return episodes(model, functools.partial(make, backend="native"), count, seed)

    monkeypatch.setattr(train, "main", small)
    monkeypatch.setattr(engine_transfer, "episodes", watched)
    monkeypatch.setattr(engine_transfer, "EPISODES", 10)
    results = tmp_path / "results.json"
    asked = ["--tasks", TASK, "--seeds", "3", "--results", str(results), "--work", str(tmp_path / "work")]
    engine_transfer.main(asked)
    (run,) = load_json(results)["runs"]
    assert judged == [("native", 200), ("vizdoom", 200), ("native", 0)]
    assert run["native"] == run["engine"]  # the same policy, seeds and backend
    assert len(run["engine"]) == 10
    assert run["mean_return"] == np.mean(run["native"])
    assert run["decisions"] == 200
    assert run["seconds"] > 0
    assert run["curve"][-1][0] <= 200
    assert f"| {TASK} | 1,000,000 |" in capsys.readouterr().out
    assert results.with_suffix(".png").stat().st_size > 0
    results.unlink()  # killed after the training: it is not trained again
    engine_transfer.main(asked)
    assert len(trainings) == 1
    (again,) = load_json(results)["runs"]
    assert again == run


def test_a_point_of_the_curve_is_the_mean_of_the_episodes_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_transfer, "POINTS", 4)
    lengths, returns = np.array([10, 10, 40, 20]), np.array([1.0, 3.0, 5.0, 7.0])  # they end at 10, 20, 60 and 80
    assert engine_transfer._curve(lengths, returns) == [(20, 2.0), (60, 5.0), (80, 7.0)]


def test_the_clocks_of_all_parts_of_a_run_are_added(tmp_path: Path) -> None:
    for name, last in {"task.part1": 3.5, "task": 2.0}.items():
        (tmp_path / f"{name}.monitor.csv").write_text(f"#{{}}\nr,l,t\n1.0,5,0.5\n1.0,5,{last}\n")
    assert engine_transfer._seconds(tmp_path) == 5.5
