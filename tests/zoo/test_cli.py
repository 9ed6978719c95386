"""``imagine``, ``imagine collect`` and ``imagine fit``."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from imagine_envs.experience import Replay
from imagine_envs.world_models import Ensemble, World
from zoo.arguments import KeyValues
from zoo.cli import COMMANDS, main
from zoo.commands.fit import split_hyperparameters


def error_of(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 1) -> str:
    """Runs a command that fails, and gives the one line that it says."""
    assert main(argv) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    return line


def test_help_shows_the_whole_path_without_heavy_imports() -> None:
    code = (
        "import sys; from zoo.cli import main; main(['--help']); assert not {'torch', 'gymnasium'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert f"\n  {name} " in shown
    for step in ("collect --env", "fit --data", "train --algo ppo --env CartPole-v1 --world-model", "enjoy --algo"):
        assert f"imagine {step}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(importlib.import_module(f"zoo.commands.{name}").main)
    assert main([name, "--help"]) == 0
    assert f"usage: imagine {name}" in capsys.readouterr().out


def test_unknown_commands_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "unknown command 'trian'; did you mean 'train'?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "expected one of demo, collect" in capsys.readouterr().err
    assert main([]) == 2


def test_wrong_flags_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--dat", "x", "--colour", "red", "-o", "w"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "imagine fit: error: unrecognized arguments: --colour red (`imagine fit --help` lists the flags)"
    ]


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["fit", "--data", "nowhere", "-o", "world"]
    with pytest.raises(ValueError, match="nowhere is missing"):
        main(["--debug", *argv])
    monkeypatch.setenv("IMAGINE_DEBUG", "1")
    with pytest.raises(ValueError, match="nowhere is missing"):
        main(argv)


def test_key_values() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", nargs="+", action=KeyValues, default={})
    args = parser.parse_args(["-k", "horizon:200", "starts:initial", "hidden:(8,8)", "-k", "path:a:b"])
    assert args.k == {"horizon": 200, "starts": "initial", "hidden": (8, 8), "path": "a:b"}
    assert parser.parse_args([]).k == {}
    with pytest.raises(SystemExit):
        parser.parse_args(["-k", "horizon"])


def test_collect_then_append(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path / "data")
    command = ["collect", "--env", "CartPole-v1", "-n", "60", "-o", data, "--seed", "0"]
    assert main(command) == 0
    assert "60 real steps added, 60 in all" in capsys.readouterr().out
    assert "exists already; choose another name, or add to it with --append" in error_of(capsys, *command)
    assert main([*command, "--append"]) == 0
    assert Replay.load(data).num_steps == 120
    assert "no such environment; did you mean CartPole-v1?" in error_of(
        capsys, "collect", "--env", "CartPole-v9x", "-n", "5", "-o", str(tmp_path / "other")
    )
    assert not (tmp_path / "other").exists()


def test_collect_with_arguments_of_the_environment(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    assert main(["collect", "--env", "Pendulum-v1", "-n", "30", "-o", data, "--env-kwargs", "g:9.0"]) == 0
    replay = Replay.load(data)
    assert (replay.env_id, replay.env_kwargs, replay.max_episode_steps) == ("Pendulum-v1", {"g": 9.0}, 200)


def test_collect_with_an_agent_and_its_normalisation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    run = tmp_path / "logs" / "ppo" / "CartPole-v1_1"
    (run / "CartPole-v1").mkdir(parents=True)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(32)
    model.save(run / "CartPole-v1.zip")
    env.obs_rms.mean[:] = 1e6  # so far off that the agent sees -10 everywhere, and always does the same
    env.save(str(run / "CartPole-v1" / "vecnormalize.pkl"))
    data, agent = str(tmp_path / "data"), str(run / "CartPole-v1.zip")
    command = ["collect", "--env", "CartPole-v1", "-n", "40", "-o", data, "--seed", "0", "--deterministic"]
    assert main([*command, "--agent", agent]) == 0  # the algorithm is read from the path
    batch = Replay.load(data).transitions()
    assert len(set(batch.action[:, 1].tolist())) == 1

    (tmp_path / "agent.zip").write_bytes(Path(agent).read_bytes())
    command = [*command[:6], str(tmp_path / "more"), "--agent"]
    assert "--algo is needed" in error_of(capsys, *command, str(tmp_path / "agent.zip"))
    assert "there is no such file" in error_of(capsys, *command, str(tmp_path / "none.zip"))
    assert "cannot be read as an agent of dqn" in error_of(capsys, *command, agent, "--algo", "dqn")


def test_fit_makes_a_world_and_asks_before_it_replaces_one(
    tmp_path: Path, cartpole_replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = str(tmp_path / "data"), str(tmp_path / "world")
    cartpole_replay.save(data)
    command = ["fit", "--data", data, "-o", path, "--device", "cpu", "-params", "members:2", "elites:1", "hidden:(8,)"]
    assert main([*command, "max_epochs:2"]) == 0
    first = World.load(path)
    assert isinstance(first.model, Ensemble)
    assert (first.model.members, first.model.hidden, first.spec.env_id) == (2, (8,), "CartPole-v1")

    assert "exists already; choose another name, or replace it with --overwrite" in error_of(capsys, *command)
    assert "too little data" in error_of(capsys, *command, "holdout:0.0001", "--overwrite")
    assert World.load(path).digest == first.digest  # the old one stays until the new one is whole
    assert main([*command, "max_epochs:3", "--overwrite", "--seed", "1"]) == 0
    assert World.load(path).digest != first.digest

    assert "unknown world model family 'ensmble'" in error_of(
        capsys, *command[:-4], "--overwrite", "--family", "ensmble"
    )
    assert "-params hiden: unknown; the family has" in error_of(capsys, *command, "hiden:3", "--overwrite")


def test_hyperparameters_are_parted() -> None:
    model, fit = split_hyperparameters({"members": 3, "patience": 2, "starts": 50}, Ensemble)
    assert (model, fit) == ({"members": 3}, {"patience": 2, "starts": 50})


def test_fidelity_writes_a_report_and_the_worlds_card(
    tmp_path: Path, cartpole_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cartpole"
    cartpole_world.save(path)
    assert main(["fidelity", "--world-model", str(path), "-n", "100", "--episodes", "3", "--horizon", "5"]) == 0
    assert (tmp_path / "cartpole-fidelity" / "fidelity.json").is_file()
    assert (tmp_path / "cartpole-fidelity" / "report.png").is_file()
    assert "Fidelity of ensemble / CartPole-v1" in capsys.readouterr().out
    world = World.load(path)
    assert world.spec.fidelity is not None
    assert world.spec.fidelity["real_return"] > 5
    assert world.digest == cartpole_world.digest
