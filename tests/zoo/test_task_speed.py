"""The benchmark of the tasks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_envs.storage import load_json, save_json
from zoo.benchmarks import task_speed
from zoo.benchmarks.measure import Contestant
from zoo.benchmarks.peers import stepping


def test_it_measures_and_shows_a_table(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, env_id = tmp_path / "speed.json", "Imagine/DynaMaze-v0"
    task_speed.main(["--env", env_id, "--quick", "--results", str(path)])
    shown = capsys.readouterr().out
    results = json.loads(path.read_text())
    assert list(results["steps_per_second"][env_id]) == ["single", "1", "64", "1024"]
    assert "numba" in results["machine"]["versions"]
    assert f"| {env_id} | " in shown
    assert "batch of 1,024" in shown
    found = task_speed.table({**results, "steps_per_second": {env_id: {"1024": {"median": 1_234_567.8}}}})
    assert f"| {env_id} | 1,234,568 |" in found
    task_speed.main(["--report", "--results", str(path)])
    assert capsys.readouterr().out == shown


def test_a_batch_counts_as_many_steps_as_it_has_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        task_speed, "interleaved", lambda contestants, rounds: {name: np.full(rounds, 0.5) for name in contestants}
    )
    ours, theirs = task_speed.measured(["Imagine/DynaMaze-v0"], (1, 64), rounds=3)
    found = ours["Imagine/DynaMaze-v0"]
    assert {kind: values["median"] for kind, values in found.items()} == {"single": 2, "1": 2, "64": 128}
    assert theirs == {}


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


LIBRARIES = {
    "abacus": task_speed.Library("abacus_steps", {"abacus": {"beads": "wood"}, "abacus, glass": {"beads": "glass"}}),
    "pebble": task_speed.Library("pebble_steps", {"pebble": {}}, single=True),
}


def test_peers_are_compared_with_ours_of_the_same_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = python_of(tmp_path)
    asked: list[tuple[Path, tuple[str, ...]]] = []

    def installed(directory: Path, *installs: tuple[str, ...]) -> Path:
        asked.append((directory, *installs))
        return python

    def turns(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, np.ndarray]:
        """A step of ours takes half a second; the peers say themselves what theirs takes."""
        ours = np.full(rounds, 0.5)
        return {
            name: ours if name.startswith("Imagine/") else np.full(rounds, run(2) / 2)
            for name, run in contestants.items()
        }

    monkeypatch.setattr(task_speed, "PEERS", LIBRARIES)
    monkeypatch.setattr(task_speed, "installed", installed)
    monkeypatch.setattr(task_speed, "interleaved", turns)
    with task_speed.started(tmp_path, (1, 8)) as (rivals, versions, left_out):
        names = ["abacus 1", "abacus 8", "abacus, glass 1", "abacus, glass 8", "pebble single"]
        assert [f"{rival.name} {rival.kind}" for rival in rivals] == names
        ours, theirs = task_speed.measured([task_speed.SOKOBAN], (1, 8), 3, rivals)
    assert (versions, left_out) == ({"abacus": {"abacus": "1.0"}, "pebble": {"abacus": "1.0"}}, {})
    where = Path(task_speed.__file__).parent / "peers"
    assert asked == [
        (tmp_path / f"venv-{name}", ("-r", str(where / f"requirements-{name}.txt"))) for name in ("abacus", "pebble")
    ]
    assert ours[task_speed.SOKOBAN]["8"]["median"] == 16
    assert theirs["abacus"]["8"]["steps_per_second"]["median"] == 32
    assert theirs["abacus, glass"]["8"]["ratio"] == {"low": 0.5, "median": 0.5, "high": 0.5}
    assert theirs["pebble"]["single"]["steps_per_second"]["median"] == 4
    assert list(theirs["pebble"]) == ["single"]


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

    libraries = {name: task_speed.Library(name, {name: {}}) for name in ("lost", "dead", "small", "whole")}
    monkeypatch.setattr(task_speed, "PEERS", libraries)
    monkeypatch.setattr(task_speed, "installed", installed)
    with task_speed.started(tmp_path, (1, 8)) as (rivals, versions, left_out):
        assert [(rival.name, rival.kind) for rival in rivals] == [("whole", "1"), ("whole", "8")]
    assert list(versions) == ["whole"]
    assert list(left_out) == ["lost", "dead", "small"]
    assert "pip" in left_out["lost"]
    assert "ended with status 4" in left_out["dead"]
    assert "ended with status 5" in left_out["small"]
    assert f"Going on without dead: {left_out['dead']}" in capsys.readouterr().err


def test_every_peer_has_a_script_and_requirements() -> None:
    for name, library in task_speed.PEERS.items():
        assert (task_speed.REQUIREMENTS / f"requirements-{name}.txt").is_file()
        assert (task_speed.REQUIREMENTS / f"{library.module}.py").is_file()


def rate(median: float) -> dict[str, float]:
    return {"low": median, "median": median, "high": median}


def test_the_comparison_names_peers_and_targets() -> None:
    hunt = "Imagine/MiniPacman-Hunt-v0"
    results = {
        "steps_per_second": {
            task_speed.SOKOBAN: {"single": rate(50_000), "64": rate(3_000_000), "1024": rate(7_999_999)},
            "Imagine/Sokoban-7x7-1-v0": {"1024": rate(9_000_000)},
            hunt: {"1": rate(20_000), "1024": rate(2_000_000)},
        },
        "peers": {
            "abacus": {"1024": {"steps_per_second": rate(400_000), "ratio": rate(20)}},
            "pebble": {"single": {"steps_per_second": rate(2_500), "ratio": rate(19.96)}},
        },
        "peer_versions": {"abacus": {"abacus": "1.0", "numpy": "2.0"}, "pebble": {"pebble": "0.1"}},
        "left_out": {"beans": "no wheel"},
    }
    found = task_speed.comparison(results)
    assert found.splitlines()[2:] == [
        f"| {task_speed.SOKOBAN} | one | 50,000 | pebble: 2,500 | 20.0 × |  |",
        f"| {task_speed.SOKOBAN} | 1,024 | 7,999,999 | abacus: 400,000 | 20.0 × | **missed**: ≥ 8,000,000 |",
        f"| {hunt} | 1,024 | 2,000,000 | none |  | ≥ 2,000,000 |",
        "",
        "Ours on one thread. Peers: abacus 1.0, numpy 2.0; pebble 0.1.",
        "",
        "Without beans: no wheel",
    ]
    assert task_speed.comparison({"steps_per_second": {"Imagine/DynaMaze-v0": {"1024": rate(1)}}}) == ""


def test_sokoban_without_peers_forgets_what_they_were_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speed.json"
    old = {"abacus": {"1024": {"steps_per_second": rate(1), "ratio": rate(1)}}}
    save_json(path, {"steps_per_second": {}, "peers": old, "peer_versions": {"abacus": {}}, "left_out": {}})
    monkeypatch.setattr(
        task_speed, "interleaved", lambda contestants, rounds: {name: np.full(rounds, 0.5) for name in contestants}
    )
    maze = ["--quick", "--results", str(path), "--env", "Imagine/DynaMaze-v0"]
    task_speed.main(maze)
    assert load_json(path)["peers"] == old
    task_speed.main([*maze, task_speed.SOKOBAN, "--no-peers"])
    results = load_json(path)
    assert (results["peers"], results["peer_versions"], results["left_out"]) == ({}, {}, {})
    assert f"| {task_speed.SOKOBAN} | 1,024 | 2,048 | none |  | **missed**: ≥ 8,000,000 |" in capsys.readouterr().out


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
