"""``imagine train`` and ``imagine enjoy``, and rl_zoo3 and SB3 scripts without ``imagine``."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import rl_zoo3
import yaml
from gymnasium.wrappers import TimeLimit
from rl_zoo3 import exp_manager
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize, VecTransposeImage

import zoo.demo
from imagine_agents import DynaQ
from imagine_envs.dreams import DreamVectorEnv
from imagine_envs.tasks import TaskVectorEnv
from imagine_envs.world_models import World
from wrappers import SB3VecEnv
from zoo.agents import algorithms
from zoo.callbacks import AtomicEvalCallback, best_evaluation
from zoo.cli import main
from zoo.experiment import HYPERPARAMETERS, DreamExperimentManager, Plan

SMALL = ("n_envs:16", "n_steps:8", "batch_size:64", "n_epochs:1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*argv: str) -> int:
    return main(["train", "--device", "cpu", "--verbose", "0", *argv])


def run_of(path: str) -> Path:
    return Path("logs") / path


def manager_of(algo: str, env_id: str, world: World | None, **kwargs: Any) -> DreamExperimentManager:
    algorithms()
    plan = Plan(world=world, world_path="world")
    return DreamExperimentManager(
        Namespace(algo=algo, env=env_id, env_kwargs=None), algo, env_id, "logs", verbose=0, plan=plan, device="cpu",
        **{"eval_freq": -1, "save_freq": -1, **kwargs},
    )  # fmt: skip


def test_training_in_the_dream_is_evaluated_in_reality(
    cartpole_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}
    learn = DreamExperimentManager.learn

    def spy(self: DreamExperimentManager, model: Any) -> None:
        seen["train"] = model.get_env()
        (seen["eval"],) = [callback for callback in self.callbacks if isinstance(callback, AtomicEvalCallback)]
        learn(self, model)

    monkeypatch.setattr(DreamExperimentManager, "learn", spy)
    assert train(
        "--algo", "ppo", "--env", "CartPole-v1", "--world-model", cartpole_path, "--seed", "3", "-n", "2048",
        "--eval-freq", "1024", "--eval-episodes", "2", "--dream-kwargs", "horizon:40", "-params", *SMALL,
    ) == 0  # fmt: skip

    monitor = seen["train"]
    assert isinstance(monitor, VecMonitor)
    assert isinstance(monitor.venv, SB3VecEnv)
    assert isinstance(monitor.venv.env, DreamVectorEnv)
    assert (monitor.num_envs, monitor.venv.env.dream.horizon) == (16, 40)
    (real,) = seen["eval"].eval_env.envs
    assert (real.spec.id, real.spec.max_episode_steps) == ("CartPole-v1", 500)

    run = run_of("ppo/CartPole-v1_1")
    with np.load(run / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [1024, 2048]
        best = best_evaluation(run / "best_model.zip")
        assert best is not None
        assert best["mean_reward"] == evaluations["results"].mean(axis=1).max()
    args = yaml.load((run / "CartPole-v1" / "args.yml").read_text(), Loader=yaml.UnsafeLoader)
    assert (args["world_model"], args["dream_kwargs"]) == (cartpole_path, {"horizon": 40})
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["flags"]["seed"]) == ("finished", 3)
    assert record["world"] == World.load(cartpole_path).digest
    assert PPO.load(run / "CartPole-v1.zip").num_timesteps == 2048
    # Without --save-freq there are ten checkpoints, of which the last two can be gone on from.
    assert len(list(run.glob("rl_model_*_steps.zip"))) >= 8
    assert len(list(run.glob("rl_model_*_steps"))) == 2
    assert set(load_results(str(run)).columns) >= {"r", "l", "t"}
    capsys.readouterr()

    for where in ([], ["--world-model", cartpole_path], ["--load-best"], ["--load-last-checkpoint"]):
        assert main(["enjoy", "--algo", "ppo", "--no-render", "-n", "80", *where]) == 0
        shown = capsys.readouterr().out
        assert "Mean reward" in shown


def test_training_on_a_task_takes_place_in_a_native_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    learn = DreamExperimentManager.learn

    def spy(self: DreamExperimentManager, model: Any) -> None:
        seen["train"] = model.get_env()
        (seen["eval"],) = [callback for callback in self.callbacks if isinstance(callback, AtomicEvalCallback)]
        learn(self, model)

    monkeypatch.setattr(DreamExperimentManager, "learn", spy)
    env_id = "Imagine/Sokoban-7x7-1-v0"
    assert main(["levels", "-n", "3", "--size", "7", "--boxes", "1", "-o", "levels/mine.npz", "--threads", "1"]) == 0
    assert train(
        "--algo", "ppo", "--env", env_id, "--seed", "3", "-n", "1024", "--eval-freq", "512", "--eval-episodes", "1",
        "--env-kwargs", "levels:levels/mine.npz", "observation:tiny", "max_steps:10+10", "-params", *SMALL,
    ) == 0  # fmt: skip
    turned = seen["train"]
    assert isinstance(turned, VecTransposeImage)
    batch = turned.venv.venv.env
    assert isinstance(batch, TaskVectorEnv)
    assert (batch.num_envs, batch.max_steps, batch.single_observation_space.shape) == (16, 20, (7, 7, 3))
    single = seen["eval"].eval_env.venv.envs[0].unwrapped
    for env in (batch, single):
        assert {int(np.ravel(env.reset()[1]["level"])[0]) for _ in range(40)} == {0, 1, 2}
    run = run_of("ppo/Imagine-Sokoban-7x7-1-v0_1")
    assert PPO.load(run / "Imagine-Sokoban-7x7-1-v0.zip").num_timesteps == 1024
    lengths = load_results(str(run))["l"]
    assert len(lengths) >= 40
    assert lengths.max() == 20
    assert main(["enjoy", "--algo", "ppo", "--env", env_id, "--no-render", "-n", "30"]) == 0


def test_a_task_behind_wrappers_is_made_of_single_environments() -> None:
    manager = manager_of("ppo", "Imagine/DynaMaze-v0", None)
    assert isinstance(manager.create_envs(2, no_log=True), VecMonitor)
    manager.env_wrapper = lambda env: TimeLimit(env, 3)
    wrapped = manager.create_envs(2, no_log=True)
    assert isinstance(wrapped, DummyVecEnv)
    wrapped.reset()
    assert [wrapped.step(np.zeros(2, int))[2].all() for _ in range(3)] == [False, False, True]


def test_the_dream_shows_the_agent_in_the_dream(
    cartpole_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("rl_zoo3.enjoy")
    made: list[Any] = []
    create = script.create_test_env
    monkeypatch.setattr(script, "create_test_env", lambda *a, **k: made.append(create(*a, **k)) or made[-1])
    command = ("--algo", "ppo", "--world-model", cartpole_path, "-n", "128", "--eval-freq", "-1", "-params", *SMALL)
    assert train(*command) == 0
    enjoy = ["enjoy", "--algo", "ppo", "--no-render", "-n", "5"]
    assert main(enjoy) == 0
    assert main([*enjoy, "--world-model", cartpole_path, "--dream-kwargs", "horizon:7"]) == 0
    real, dream = (env.envs[0].unwrapped for env in made)
    assert type(real).__name__ == "CartPoleEnv"
    assert (type(dream).__name__, dream.dream.horizon) == ("DreamEnv", 7)


def test_a_latent_dream_is_evaluated_on_features(cartpole_path: str) -> None:
    assert train(
        "--algo", "ppo", "--world-model", cartpole_path, "-n", "256", "--eval-freq", "128", "--eval-episodes", "1",
        "--dream-kwargs", "observation:latent", "-params", *SMALL,
    ) == 0  # fmt: skip
    assert run_of("ppo/CartPole-v1_1/best_model.zip").is_file()
    config = run_of("ppo/CartPole-v1_1/CartPole-v1/config.yml").read_text()
    assert "wrappers.latent_observation.LatentObservation" in config
    for where in ([], ["--world-model", cartpole_path]):
        assert main(["enjoy", "--algo", "ppo", "--no-render", "-n", "20", *where]) == 0


def test_normalised_dreams_share_their_statistics_with_reality(cartpole_path: str) -> None:
    assert train(
        "--algo", "ppo", "--world-model", cartpole_path, "-n", "512", "--eval-freq", "128", "--eval-episodes", "1",
        "--save-freq", "128", "-params", *SMALL, "normalize:True",
    ) == 0  # fmt: skip
    file = run_of("ppo/CartPole-v1_1/CartPole-v1/vecnormalize.pkl")
    normalize = VecNormalize.load(str(file), DummyVecEnv([lambda: rl_zoo3.utils.gym.make("CartPole-v1")]))
    assert normalize.obs_rms.count > 500
    assert main(["enjoy", "--algo", "ppo", "--no-render", "-n", "20"]) == 0


def test_the_real_environment_is_the_one_that_the_world_is_of(pendulum_replay: Any, folder: Path) -> None:
    assert main(["collect", "--env", "Pendulum-v1", "-n", "60", "-o", "data", "--env-kwargs", "g:3.0"]) == 0
    assert main(["fit", "--data", "data", "-o", "world", "-params", "hidden:(8,)", "max_epochs:1"]) == 0
    # Neither --env nor --env-kwargs: both follow from the world.
    assert train("--algo", "ppo", "--world-model", "world", "-n", "128", "--eval-freq", "-1", "-params", *SMALL) == 0
    args = yaml.load(run_of("ppo/Pendulum-v1_1/Pendulum-v1/args.yml").read_text(), Loader=yaml.UnsafeLoader)
    assert (args["env"], args["env_kwargs"]) == ("Pendulum-v1", {"g": 3.0})


def test_what_does_not_fit_together_is_said_in_one_line(cartpole_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    dream = ("--world-model", cartpole_path)
    for argv, said in (
        (("--algo", "ppo", "--env", "Pendulum-v1", *dream), "--env Pendulum-v1 has the observation_space"),
        (("--algo", "ppo", "--world-model", "worlds/none"), "worlds/none: no world is there"),
        (
            ("--algo", "ppo", "--env", "CartPole-v1", "--dream-kwargs", "horizon:5"),
            "--dream-kwargs needs --world-model",
        ),
        (("--algo", "ppo", *dream, "--dream-kwargs", "horizon:0"), "horizon=0 must be a whole number"),
        (("--algo", "sac", *dream), "action spaces"),
        (("--algo", "imagination", *dream), "learns a world by itself"),
        (("--algo", "imagination", "-optimize"), "no search space"),
        (("--algo", "ppo", "--env", "CartPole-v9"), "you maybe meant CartPole"),
    ):
        assert train(*argv) == 1
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("imagine train: error: ")
        assert said in line
    assert main(["train", "--algo", "pppo"]) == 2
    assert main(["enjoy", "--algo", "ppo", "-f", "nowhere"]) == 1
    assert "nowhere/ppo folder was not found" in capsys.readouterr().err


def test_help_shows_our_flags_and_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in ("--world-model", "--dream-kwargs", "--resume", "--n-timesteps", "--save-freq", "--conf-file"):
        assert flag in shown
    assert "imagination}" in shown


def test_rl_zoo3_is_left_as_it_was(cartpole_path: str) -> None:
    script = importlib.import_module("rl_zoo3.train")
    before, argv = dict(vars(script)), list(sys.argv)
    assert train("--algo", "ppo", "--world-model", "worlds/none") == 1
    assert dict(vars(script)) == before
    assert sys.argv == argv


@pytest.mark.parametrize("algo", sorted(set(rl_zoo3.ALGOS) - {"imagination"}))
def test_every_algorithm_has_settings_for_dreams(
    algo: str, cartpole_world: World, pendulum_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = HYPERPARAMETERS / "dream" / f"{algo}.yml"
    boxes = {"sac", "td3", "ddpg", "tqc", "crossq"}
    for env_id in {"default": None, **yaml.safe_load(file.read_text())}:
        real = env_id != "default"
        world = pendulum_world if env_id == "Pendulum-v1" or (not real and algo in boxes) else cartpole_world
        if real and env_id != world.spec.env_id:
            continue  # its settings are the default's besides numbers
        manager = manager_of(algo, world.spec.env_id or "", world)
        if not real:
            manager.custom_hyperparams = {}
            monkeypatch.setattr(
                manager, "read_hyperparameters", lambda file=file: (yaml.safe_load(file.read_text())["default"], {})
            )
        results = manager.setup_experiment()
        assert results is not None
        model = results[0]
        assert model.n_envs == manager.n_envs
        assert isinstance(model.get_env(), (VecMonitor, VecNormalize))
        manager.plan.held.close()


def test_without_a_world_the_settings_are_rl_zoo3s(cartpole_world: World) -> None:
    theirs = Path(exp_manager.__file__).parent / "hyperparams"
    assert manager_of("ppo", "CartPole-v1", None).config == str(theirs / "ppo.yml")
    assert manager_of("ppo", "CartPole-v1", cartpole_world).config == str(HYPERPARAMETERS / "dream" / "ppo.yml")
    assert manager_of("imagination", "CartPole-v1", None).config == str(HYPERPARAMETERS / "imagination.yml")
    assert manager_of("imagination", "Imagine/DynaMaze-v0", None).config == str(HYPERPARAMETERS / "imagination.yml")
    assert manager_of("ppo", "Imagine/DynaMaze-v0", None).config == str(HYPERPARAMETERS / "tasks" / "ppo.yml")
    assert manager_of("ppo", "CartPole-v1", cartpole_world, config="mine.yml").config == "mine.yml"


def test_an_environment_of_the_settings_is_trained_and_evaluated_in(folder: Path) -> None:
    manager = manager_of("ppo", "Imagine/CarRacing-v0", None)
    manager.custom_hyperparams = {"n_steps": 2, "n_envs": 4, "batch_size": 8}
    results = manager.setup_experiment()
    assert results is not None
    evaluated = manager.create_envs(1, eval_env=True)
    assert results[0].get_env().observation_space == evaluated.observation_space  # type: ignore[union-attr]
    assert evaluated.observation_space.shape == (2, 64, 64)
    assert manager.env_kwargs == manager.eval_env_kwargs == {"size": 64, "grayscale": True, "frame_skip": 8}
    manager.plan.held.close()


def test_settings_of_imagination_suit_the_trainer() -> None:
    settings = yaml.safe_load((HYPERPARAMETERS / "imagination.yml").read_text())
    assert {"default", "CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCarContinuous-v0"} <= set(settings)
    for env_id in settings:
        if env_id != "default":
            results = manager_of("imagination", env_id, None).setup_experiment()
            assert results is not None


def test_settings_of_dyna_suit_it() -> None:
    settings = yaml.safe_load((HYPERPARAMETERS / "dyna.yml").read_text())
    assert {"default", "Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0"} <= set(settings)
    for env_id in settings:
        if env_id not in ("default", "InvertedPendulum-v5"):  # which needs mujoco
            results = manager_of("dyna", env_id, None).setup_experiment()
            assert results is not None


def test_dyna_is_trained_and_shown(folder: Path) -> None:
    small = (
        "learning_starts:20", "gradient_steps:1", "rollouts_per_step:2",
        "fit_kwargs:dict(max_epochs=1)", "world_model_kwargs:dict(hidden=[8],members=2,elites=1)",
    )  # fmt: skip
    command = ("--algo", "dyna", "--env", "Pendulum-v1", "-n", "40", "--eval-episodes", "1", "--save-replay-buffer")
    assert train(*command, "-params", *small) == 0
    run = run_of("dyna/Pendulum-v1_1")
    assert (run / "Pendulum-v1.zip").is_file()
    assert (run / "replay_buffer.pkl" / "real" / "index.json").is_file()
    shown = ("enjoy", "--algo", "dyna", "--env", "Pendulum-v1", "-n", "5", "--no-render", "--device", "cpu")
    assert main([*shown, "--verbose", "0"]) == 0


def test_settings_of_dyna_q_suit_their_environments() -> None:
    settings = yaml.safe_load((HYPERPARAMETERS / "dyna_q.yml").read_text())
    for env_id, kwargs in settings.items():
        for name in ("n_timesteps", "policy"):
            assert kwargs.pop(name)
        model = DynaQ("TabularPolicy", "CliffWalking-v1" if env_id == "default" else env_id, **kwargs)
        assert model.learn(20).num_timesteps == 20


def test_dyna_q_is_trained_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--algo", "dyna_q", "--env", "Imagine/DynaMaze-v0", "-n", "3000", "--eval-freq", "-1") == 0
    run = run_of("dyna_q/Imagine-DynaMaze-v0_1")
    model = DynaQ.load(run / "Imagine-DynaMaze-v0.zip")
    assert (model.num_timesteps, model.n_backups) == (3_000, 3_000 * 51)
    assert len(list(run.glob("rl_model_*_steps.zip"))) >= 8
    assert main(["enjoy", "--algo", "dyna_q", "--env", "Imagine/DynaMaze-v0", "--no-render", "-n", "30"]) == 0
    assert "Mean reward: 1.00" in capsys.readouterr().out
    assert train("--algo", "dyna_q", "--env", "CartPole-v1") != 0
    assert "needs a discretizer" in capsys.readouterr().err


def test_two_processes_do_not_share_a_folder(cartpole_world: World) -> None:
    first, second = (manager_of("ppo", "CartPole-v1", cartpole_world) for _ in range(2))
    assert first.save_path == second.save_path  # rl_zoo3 chooses it when it starts
    for manager in (first, second):
        manager.setup_experiment()
    assert (first.save_path, second.save_path) == ("logs/ppo/CartPole-v1_1", "logs/ppo/CartPole-v1_2")


def test_a_final_save_that_fails_keeps_the_older_file(cartpole_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = manager_of("ppo", "CartPole-v1", cartpole_world)
    manager.custom_hyperparams = {"n_envs": 4, "n_steps": 8, "batch_size": 32}
    results = manager.setup_experiment()
    assert results is not None
    model = results[0]
    manager.save_trained_model(model)
    file = Path(manager.save_path) / "CartPole-v1.zip"
    before = file.read_bytes()

    def killed(path: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        manager.save_trained_model(model)
    assert file.read_bytes() == before
    assert zipfile.is_zipfile(file)


def test_rl_zoo3s_own_script_trains_in_a_dream(cartpole_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv",
        ["train", "--algo", "ppo", "--env", "Imagine/Dream-v0", "--gym-packages", "imagine_envs", "--env-kwargs",
         f"world_model:'{cartpole_path}'", "-n", "64", "--eval-freq", "64", "--eval-episodes", "1", "--device", "cpu",
         "-params", "n_steps:64", "batch_size:64", "n_epochs:1"],
    )  # fmt: skip
    monkeypatch.delitem(sys.modules, "rl_zoo3.train", raising=False)
    runpy.run_module("rl_zoo3.train", run_name="__main__")
    assert run_of("ppo/Imagine-Dream-v0_1/Imagine-Dream-v0.zip").is_file()
    assert run_of("ppo/Imagine-Dream-v0_1/best_model.zip").is_file()


def test_a_plain_sb3_script_trains_in_a_dream(cartpole_path: str) -> None:
    env = make_vec_env("Imagine/Dream-v0", n_envs=8, env_kwargs={"world_model": cartpole_path}, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, device="cpu").learn(128)
    assert model.num_timesteps == 128
    assert all(env.env_is_wrapped(Monitor))


def test_the_demo(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = {
        "learning_starts": 60, "train_freq": 30, "num_dreams": 16, "dream_timesteps": 256, "final_dream_timesteps": 512,
        "world_model_kwargs": {"hidden": (16,)}, "fit_kwargs": {"max_epochs": 3},
        "algorithm_kwargs": {"n_steps": 16, "batch_size": 256, "n_epochs": 1},
    }  # fmt: skip
    for name, value in {
        "REAL_STEPS": 90, "NUM_DREAMS": 16, "REAL_EPISODES": 3, "GIF_FRAMES": 10, "TRAINER_KWARGS": small,
    }.items():  # fmt: skip
        monkeypatch.setattr(zoo.demo, name, value)
    assert main(["demo", "-o", "demo", "--seed", "1"]) == 0
    assert sorted(os.listdir("demo")) == ["agent.zip", "dream.gif", "fidelity.json", "report.png", "world"]
    frames = imageio.imread("demo/dream.gif")
    assert frames.shape[1:] == (224, 600, 3)
    assert len(frames) > 3
    assert (frames[0][:, :300] == frames[0][:, 300:])[:200].mean() > 0.99  # the same observation on both sides
    assert World.load("demo/world").spec.fidelity is not None
    assert PPO.load("demo/agent.zip").num_timesteps == 256 + 512
    table = capsys.readouterr().out
    for row in ("Real steps used for learning", "Dream steps", "Return in the dream", "Return in reality", "Wall time"):
        assert row in table
