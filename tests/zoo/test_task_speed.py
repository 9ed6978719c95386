"""The benchmark of the tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_envs.storage import load_json, save_json
from zoo.benchmarks import env_speed, task_speed
from zoo.benchmarks.env_speed import Steps
from zoo.benchmarks.measure import Contestant


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


def half_a_second(contestants: Mapping[str, Contestant], rounds: int, block: float) -> dict[str, np.ndarray]:
    return {name: np.full(rounds, 0.5) for name in contestants}


def test_peers_are_compared_with_ours_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_speed, "interleaved", half_a_second)
    others = {name: Steps(rows, float) for name, rows in (("abacus, glass 64", 32), ("pebble single", 1))}
    ours, theirs = task_speed.measured(["Imagine/DynaMaze-v0", task_speed.SOKOBAN], 3, others)
    expected = {"single": 2, "1": 2, "64": 128, "1024": 2048}
    for found in ours.values():
        assert {kind: values["median"] for kind, values in found.items()} == expected
    assert list(ours) == ["Imagine/DynaMaze-v0", task_speed.SOKOBAN]
    assert theirs == {
        "abacus, glass": {"64": {"steps_per_second": rate(64), "ratio": rate(2)}},
        "pebble": {"single": {"steps_per_second": rate(2), "ratio": rate(1)}},
    }


def test_peers_have_the_kinds_of_ours() -> None:
    asked = {called: env for _, environments in task_speed.PEERS.values() for called, env in environments.items()}
    assert asked["envpool, no render cache 1024"] == {"interface": "dm", "num_envs": 1024}
    assert {called.rpartition(" ")[2] for called in asked} == {"single", "1", "64", "1024"}


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
    monkeypatch.setattr(env_speed, "interleaved", half_a_second)
    maze = ["--quick", "--results", str(path), "--env", "Imagine/DynaMaze-v0"]
    task_speed.main(maze)
    assert load_json(path)["peers"] == old
    task_speed.main([*maze, task_speed.SOKOBAN, "--no-peers"])
    results = load_json(path)
    assert (results["peers"], results["peer_versions"], results["left_out"]) == ({}, {}, {})
    assert f"| {task_speed.SOKOBAN} | 1,024 | 2,048 | none |  | **missed**: ≥ 8,000,000 |" in capsys.readouterr().out
