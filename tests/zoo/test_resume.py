"""Runs that are killed, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC

from imagine_agents.common.checkpoint import checkpoints, load_checkpoint, read_progress
from imagine_envs.world_models import World
from zoo.callbacks import best_evaluation
from zoo.cli import main
from zoo.runs import Run, interrupted_runs

KILL = "callback:'killing.KillAt'"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return tmp_path


def killed(*argv: str, at: int, inside: str = "step") -> None:
    """Runs a command in a process of its own, which is killed after ``at`` steps."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "IMAGINE_TEST_KILL_AT": str(at),
        "IMAGINE_TEST_KILL_IN": inside,
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.run([sys.executable, "-m", "zoo", *argv], env=environment, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


def loaded(algorithm: Any, run: Path) -> Any:
    return load_checkpoint(algorithm, checkpoints(run)[0])


def episodes(run: Path) -> int:
    return sum(len(file.read_text().splitlines()) - 2 for file in run.glob("*.monitor.csv"))


def test_sac_goes_on_with_its_replay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = (
        "train", "--algo", "sac", "--env", "Pendulum-v1", "-n", "700", "--save-freq", "100", "--eval-freq", "150",
        "--eval-episodes", "1", "--device", "cpu", "--num-threads", "1", "--verbose", "0", "-params", KILL,
        "learning_starts:50", "batch_size:8", "buffer_size:1000", "policy_kwargs:dict(net_arch=[8])",
    )  # fmt: skip
    # Killed while it writes the checkpoint of 400 steps.
    killed(*command, at=400, inside="save")
    run = Path("logs/sac/Pendulum-v1_1")
    assert [path.name for path in checkpoints(run)] == ["rl_model_300_steps", "rl_model_200_steps"]
    before = loaded(SAC, run)
    assert before.replay_buffer.size() == 300
    seed = json.loads((run / "run.json").read_text())["flags"]["seed"]
    best = best_evaluation(run / "best_model.zip")
    assert best is not None
    old_log = (run / "0.monitor.csv").read_text()

    resumed: list[Any] = []
    from zoo.experiment import DreamExperimentManager

    learn = DreamExperimentManager.learn

    def spy(self: Any, model: Any) -> None:
        resumed.append((model.num_timesteps, model._n_updates, model.replay_buffer.size(), model.seed, self.callbacks))
        learn(self, model)

    monkeypatch.setattr(DreamExperimentManager, "learn", spy)
    assert main([*command, "--resume"]) == 0
    shown = capsys.readouterr().out
    assert f"Resuming {run} at 300 of 700 steps" in shown
    assert f"Seed: {seed}\n" in shown  # drawn for the run, not drawn again
    assert resumed[0][:4] == (300, before._n_updates, 300, seed)
    assert {callback.n_calls for callback in resumed[0][4]} == {700}  # counted on from 300

    final = SAC.load(run / "Pendulum-v1.zip")
    assert (final.num_timesteps, final._n_updates) == (700, 650)
    assert [path.name for path in checkpoints(run)] == ["rl_model_600_steps", "rl_model_500_steps"]
    with np.load(run / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [150, 300, 450, 600]
        assert evaluations["results"].shape == (4, 1)
        now = best_evaluation(run / "best_model.zip")
        assert now is not None
        assert now["mean_reward"] == max(best["mean_reward"], evaluations["results"][2:].max())
    assert (run / "0.part1.monitor.csv").read_text() == old_log
    assert episodes(run) == 2 + 2  # 200 steps each: of 400 steps, and of 400 more
    assert not list(Path("logs/sac").glob("Pendulum-v1_2*"))

    assert interrupted_runs("logs", "sac", "Pendulum-v1") == []  # it is finished now


def test_a_dream_goes_on_and_its_flags_must_be_the_same(
    cartpole_world: World, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cartpole_world.save("world")
    command = [
        "train", "--algo", "ppo", "--world-model", "world", "-n", "4096", "--save-freq", "512", "--eval-freq", "1024",
        "--eval-episodes", "1", "--seed", "5", "--device", "cpu", "--verbose", "0", "--num-threads", "1",
        "-params", KILL, "n_envs:32", "n_steps:16", "batch_size:256", "n_epochs:1", "normalize:True",
    ]  # fmt: skip
    killed(*command, at=2100)
    run = Path("logs/ppo/CartPole-v1_1")
    assert [read_progress(path)["num_timesteps"] for path in checkpoints(run)] == [2048, 1536]
    before = loaded(PPO, run)

    # What is not the same is named, and nothing happens to the run.
    for change, said in (
        (["-n", "5000"], "n_timesteps is 5000 now, was 4096"),
        (["--seed", "6"], "seed is 6 now, was 5"),
        (["--dream-kwargs", "horizon:9"], "dream_kwargs is {'horizon': 9} now, was {}"),
        (["-params", "n_steps:8"], "hyperparams is {'n_steps': 8} now, was"),
    ):
        assert main([*command, "--resume", *change]) == 1
        assert said in capsys.readouterr().err
    cartpole_world.save("world", overwrite=True)  # the same world: it is told by its digest
    other = World.load("world")
    next(other.model.parameters()).data.add_(1.0)
    World(other.model, other.contexts, other.spec).save("other")
    assert main([*command, "--resume", "--world-model", "other"]) == 1
    assert f"other is not the world that {run} was trained in" in capsys.readouterr().err

    # Another process that trains it holds it.
    with Run.load(run).locked() as free:
        assert free
        with Run.load(run).locked() as free_again:
            assert not free_again
    # A newest checkpoint that was damaged on the disk is passed over.
    (checkpoints(run)[0] / "model.zip").write_bytes(b"")
    assert main([*command, "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "Checkpoint rl_model_2048_steps cannot be used" in shown
    assert f"Resuming {run} at 1,536 of 4,096 steps" in shown
    assert before.num_timesteps == 2048
    final = PPO.load(run / "CartPole-v1.zip")
    assert final.num_timesteps == 4096
    assert final._n_updates == 8  # rollouts of 512 steps, one epoch each
    with np.load(run / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [1024, 2048, 3072, 4096]
    assert {file.name for file in run.glob("*.monitor.csv")} == {"dream.monitor.csv", "dream.part1.monitor.csv"}
    assert interrupted_runs("logs", "ppo", "CartPole-v1") == []


def test_imagination_goes_on_with_replay_world_and_agent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagine_agents import ImaginationTrainer
    from zoo.experiment import DreamExperimentManager

    command = (
        "train", "--algo", "imagination", "--env", "CartPole-v1", "-n", "90", "--save-freq", "1", "--eval-freq", "-1",
        "--seed", "0", "--device", "cpu", "--verbose", "0", "--num-threads", "1", "-params", KILL, "learning_starts:30",
        "train_freq:30", "num_dreams:16", "dream_timesteps:256", "final_dream_timesteps:256", "refit:'warm'",
        "world_model_kwargs:dict(members=2,elites=1,hidden=[8])", "fit_kwargs:dict(max_epochs=2)",
        "algorithm_kwargs:dict(n_steps=8,batch_size=64,n_epochs=1)",
    )  # fmt: skip
    killed(*command, at=75)
    run = Path("logs/imagination/CartPole-v1_1")
    before = load_checkpoint(ImaginationTrainer, checkpoints(run)[0], _cartpole())
    assert before.num_timesteps == 60
    assert before.replay_buffer is not None
    assert before.replay_buffer.num_steps == 60
    assert before.world is not None
    digest = before.world.digest

    seen: list[Any] = []
    learn = DreamExperimentManager.learn

    def spy(self: Any, model: Any) -> None:
        seen.append((model.replay_buffer.num_steps, model.world.digest, model.dream_steps))
        learn(self, model)

    monkeypatch.setattr(DreamExperimentManager, "learn", spy)
    assert main([*command, "--resume"]) == 0
    assert "at 60 of 90 steps" in capsys.readouterr().out
    assert seen == [(60, digest, 512)]
    final = ImaginationTrainer.load(run / "CartPole-v1.zip")
    assert final.num_timesteps == 90
    assert final.dream_steps == 3 * 256
    assert interrupted_runs("logs", "imagination", "CartPole-v1") == []


def _cartpole() -> Any:
    import gymnasium as gym

    return gym.make("CartPole-v1")


def interrupted(*argv: str) -> Path:
    """A run that Ctrl-C ended, in this process: the newest of its environment."""
    os.environ["IMAGINE_TEST_INTERRUPT"] = "1"
    try:
        assert main(["train", *argv]) == 0
    finally:
        del os.environ["IMAGINE_TEST_INTERRUPT"]
    return max(Path("logs").glob("*/*_*"), key=lambda path: int(path.name.split("_")[-1]))


def test_ctrl_c_leaves_a_run_that_goes_on_and_ars_keeps_its_schedule(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        "--algo", "ars", "--env", "CartPole-v1", "-n", "3000", "--save-freq", "200", "--eval-freq", "-1", "--device",
        "cpu", "--verbose", "0", "-params", "callback:'killing.InterruptAt'", "learning_rate:'lin_0.5'",
    )  # fmt: skip
    run = interrupted(*command)
    assert "the same command with --resume goes on" in capsys.readouterr().out
    assert (run / "CartPole-v1.zip").is_file()  # rl_zoo3 saves what there is
    (found,) = interrupted_runs("logs", "ars", "CartPole-v1")
    assert found.folder == run
    begun = loaded(ARS, run).num_timesteps
    assert 200 <= begun < 3000

    progress: list[float] = []
    update = ARS._update_current_progress_remaining

    def spy(self: ARS, num_timesteps: int, total_timesteps: int) -> None:
        update(self, num_timesteps, total_timesteps)
        progress.append(self._current_progress_remaining)

    monkeypatch.setattr(ARS, "_update_current_progress_remaining", spy)
    assert main(["train", *command, "--resume"]) == 0
    assert progress[0] == pytest.approx(1 - begun / 3000)
    assert min(progress) > 0  # below it, the linear schedule would climb down the hill
    assert ARS.load(run / "CartPole-v1.zip").num_timesteps >= 3000


def test_runs_without_a_checkpoint_are_not_gone_on_from(capsys: pytest.CaptureFixture[str]) -> None:
    command = (
        "train", "--algo", "ppo", "--env", "CartPole-v1", "-n", "64", "--eval-freq", "-1", "--device", "cpu",
        "--verbose", "0", "-params", "n_envs:1", "n_steps:32", "batch_size:32", "n_epochs:1",
    )  # fmt: skip
    assert main([*command, "--save-freq", "-1"]) == 0
    run = Run.load("logs/ppo/CartPole-v1_1")
    run.record["status"] = "running"
    (run.folder / "run.json").write_text(json.dumps(run.record))
    assert main([*command, "--resume"]) == 0
    assert (
        "Nothing to resume: no interrupted run of ppo on CartPole-v1 in logs; starting afresh"
        in capsys.readouterr().out
    )
    assert Run.load("logs/ppo/CartPole-v1_2").record["status"] == "finished"
    assert not checkpoints("logs/ppo/CartPole-v1_1")  # --save-freq -1: none were asked for
    assert checkpoints("logs/ppo/CartPole-v1_2")
