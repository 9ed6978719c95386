"""What the measurements of steps a second share."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from zoo.benchmarks import car_racing_speed, doom_speed, env_speed, task_speed
from zoo.benchmarks.env_speed import Peers, Steps
from zoo.benchmarks.peers import processes, stepping


class Short(gym.Env[int, int]):
    """Episodes of three steps, which notes its actions, and a reset as -1."""

    observation_space, action_space = gym.spaces.Discrete(1), gym.spaces.Discrete(100)

    def __init__(self) -> None:
        self.noted: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self.noted.append(-1)
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.noted.append(int(action))
        return 0, 0.0, len(self.noted) % 4 == 0, False, {}


def test_one_environment_goes_round_its_actions_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Short()
    monkeypatch.setattr(gym, "make", lambda env_id: env)
    steps = env_speed.single("Short-v0")
    assert steps.rows == 1
    steps(300)
    steps(5)
    assert env.noted[::4] == [-1] * 102
    actions = [action for action in env.noted if action != -1]
    space = gym.spaces.Discrete(100, seed=0)
    assert actions[:256] == [space.sample() for _ in range(256)]
    assert actions[256:] == actions[:49]


def test_rows_count_as_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleaved(contestants: Mapping[str, Steps], rounds: int, block: float) -> dict[str, np.ndarray]:
        return {name: np.full(rounds, block * run(2)) for name, run in contestants.items()}

    monkeypatch.setattr(env_speed, "interleaved", interleaved)
    contestants = {"batch": Steps(64, lambda times: 0.5 * times), "single": Steps(1, lambda times: 2.0 * times)}
    found = env_speed.rates(contestants, rounds=3, block=0.25)
    assert {name: values.tolist() for name, values in found.items()} == {"batch": [256.0] * 3, "single": [1.0] * 3}


# --- peers ------------------------------------------------------------------------------------------------------------

PEER = """
import json, sys
sizes = {size}
if {broken}:
    sys.exit(4)
print(json.dumps({{"abacus": "1.0"}}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["env"].get("num_envs", 1) not in sizes:
        sys.exit(5)
    print(json.dumps({{"seconds": 0.25 * asked["calls"]}}), flush=True)
"""


def python_of(tmp_path: Path, sizes: tuple[int, ...] = (1, 8), broken: bool = False) -> Path:
    """Something that is run like an interpreter, and answers as a peer whose step takes a quarter of a second."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n" + PEER.format(size=sizes, broken=broken))
    program.chmod(0o755)
    return program


def test_peers_are_asked_for_their_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, tuple[str, ...]]] = []

    def installed(directory: Path, *installs: tuple[str, ...]) -> Path:
        asked.append((directory, *installs))
        return python_of(tmp_path)

    peers: Peers = {
        "abacus": ("abacus_steps", {"abacus 8": {"beads": "wood", "num_envs": 8}, "abacus": {"beads": "glass"}}),
        "pebble": ("pebble_steps", {"pebble": {}}),
    }
    monkeypatch.setattr(processes, "installed", installed)
    with env_speed.rivals(peers, tmp_path) as (found, versions, left_out):
        assert {name: (steps.rows, steps(2)) for name, steps in found.items()} == {
            "abacus 8": (8, 0.5), "abacus": (1, 0.5), "pebble": (1, 0.5)
        }  # fmt: skip
    assert (versions, left_out) == ({"abacus": {"abacus": "1.0"}, "pebble": {"abacus": "1.0"}}, {})
    where = Path(processes.__file__).parent
    assert asked == [
        (tmp_path / f"venv-{name}", ("-r", str(where / f"requirements-{name}.txt"))) for name in ("abacus", "pebble")
    ]


def test_a_peer_that_does_not_run_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pythons: dict[str, Path] = {}
    for name, sizes, broken in (("dead", (1, 8), True), ("small", (1,), False), ("whole", (1, 8), False)):
        (tmp_path / name).mkdir()
        pythons[name] = python_of(tmp_path / name, sizes, broken)

    def installed(directory: Path, *installs: tuple[str, ...]) -> Path:
        name = directory.name.removeprefix("venv-")
        if name == "lost":
            raise subprocess.CalledProcessError(1, ["pip", "install"])
        return pythons[name]

    environments = {"1": {"num_envs": 1}, "8": {"num_envs": 8}}
    peers = {
        name: (name, {f"{name} {size}": env for size, env in environments.items()})
        for name in ("lost", "dead", "small", "whole")
    }
    monkeypatch.setattr(processes, "installed", installed)
    with env_speed.rivals(peers, tmp_path) as (found, versions, left_out):
        assert list(found) == ["whole 1", "whole 8"]
    assert list(versions) == ["whole"]
    assert list(left_out) == ["lost", "dead", "small"]
    assert "pip" in left_out["lost"]
    assert "ended with status 4" in left_out["dead"]
    assert "ended with status 5" in left_out["small"]
    assert f"Going on without dead: {left_out['dead']}" in capsys.readouterr().err


@pytest.mark.parametrize("peers", [car_racing_speed.SPEED.peers, doom_speed.SPEED.peers, task_speed.PEERS])
def test_every_peer_has_a_script_and_requirements(peers: Peers) -> None:
    where = Path(processes.__file__).parent
    for name, (module, environments) in peers.items():
        assert (where / f"requirements-{name}.txt").is_file()
        assert (where / f"{module}.py").is_file()
        assert environments


def test_a_batch_of_a_peer_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    taken: list[tuple[int, int]] = []

    def make(num_envs: int) -> Callable[[int], object]:
        made.append(num_envs)
        print("Building")
        return lambda clock: taken.append((num_envs, clock))

    asked = [{"env": {"num_envs": size}, "calls": calls} for size, calls in ((1, 2), (8, 1), (1, 2))]
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in asked)))
    monkeypatch.setattr(sys, "stdout", out)
    stepping.serve(make, {"abacus": "1.0"})
    answers = [json.loads(line) for line in out.getvalue().splitlines()]  # "Building" is not among them
    assert answers[0] == {"abacus": "1.0"}
    assert [set(answer) for answer in answers[1:]] == [{"seconds"}] * 3
    assert made == [1, 8]
    assert taken == [(1, 0), (1, 1), (8, 0), (1, 2), (1, 3)]


def test_actions_of_peers_are_drawn_beforehand() -> None:
    actions = stepping.drawn_actions(4, 8, steps=50)
    assert (len(actions), actions[0].shape, actions[0].dtype) == (50, (8,), np.int32)
    assert set(np.concatenate(actions).tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(stepping.drawn_actions(4, 8, steps=50), actions)
