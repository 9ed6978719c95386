"""The benchmark of planning."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_envs.storage import load_json
from imagine_envs.tasks.mazes import DynaMaze
from zoo.benchmarks import planning_speed
from zoo.benchmarks.peers import neuro_nav, processes, rl_introduction


def test_a_maze_is_known_from_where_one_can_get_to() -> None:
    known = planning_speed.transitions(DynaMaze())
    assert len(known) == 46 * 4  # 47 cells, of which nothing is done in the goal
    assert len({step[:2] for step in known}) == len(known)
    assert (17, 0, 1.0, 8, True) in known
    assert sum(end for *_, end in known) == 1  # the goal's other neighbours are walls


@pytest.mark.parametrize("search", planning_speed.TARGETS)
def test_a_call_is_a_thousand_backups(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def timed(function: Any) -> float:
        agent = function.__closure__[0].cell_contents
        before = agent.n_backups
        function()
        made.append(agent.n_backups - before)
        return 0.25

    monkeypatch.setattr(planning_speed, "timed", timed)
    plan = planning_speed.planner(DynaMaze(), search)
    made.clear()
    assert plan(25) == 0.25 * len(made)
    assert made == ([10_000, 10_000, 5_000] if search == "prioritized" else [25_000])


def test_peers_are_compared_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"47 states|uniform": [1e-5, 2e-5, 4e-5], "abacus uniform": [1e-2, 1e-2, 8e-3]}

    def interleaved(contestants: Any, rounds: int, block: float) -> dict[str, np.ndarray]:
        return {name: np.array(seconds.get(name, [1e-3] * rounds)) for name in contestants}

    monkeypatch.setattr(planning_speed, "interleaved", interleaved)
    monkeypatch.setattr(planning_speed, "planner", lambda maze, search: None)
    results = planning_speed.measured(3, {"abacus uniform": lambda times: 0.0})
    assert results["ours"]["47 states"]["uniform"]["median"] == 1_000 / 2e-5
    assert results["peers"]["uniform"]["abacus"]["rate"]["median"] == 1_000 / 1e-2
    assert results["peers"]["uniform"]["abacus"]["ratio"]["median"] == pytest.approx(500)
    assert results["learn"]["median"] == 1_000
    facts = {"load": [1.0, 2.0], "machine": {"processor": "P", "cores": 2, "date": "today"}}
    table = planning_speed.comparison({**results, **facts, "versions": {}, "left_out": {"pebble": "it is lost"}})
    assert "| uniform | 47 states | 50,000,000 | ≥ 20,000,000 | abacus: 100,000 | 500 × |" in table
    assert "Without pebble: it is lost" in table
    results["peers"]["uniform"]["abacus"]["ratio"]["median"] = 99.0
    results["ours"]["47 states"]["uniform"]["median"] = 1.9e7
    table = planning_speed.comparison({**results, **facts, "versions": {}, "left_out": {}})
    assert "**missed**: ≥ 20,000,000 | abacus: 100,000 | **missed** (≥ 100): 99 ×" in table


def test_it_measures_and_shows_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interleaved = planning_speed.interleaved
    monkeypatch.setattr(planning_speed, "interleaved", lambda them, rounds, block: interleaved(them, rounds=1, block=0))
    path = tmp_path / "speed.json"
    planning_speed.main(["--quick", "--no-peers", "--results", str(path)])
    shown = capsys.readouterr().out
    results = load_json(path)
    assert list(results["ours"]) == ["47 states", "6,016 states"]
    assert "numba" in results["machine"]["versions"]
    assert "| prioritized | 6,016 states | " in shown
    planning_speed.main(["--report", "--results", str(path)])
    assert capsys.readouterr().out == shown


def test_a_peer_that_is_not_there_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(directory: Path, *installs: Any) -> Path:
        raise OSError("no network")

    monkeypatch.setattr(processes, "installed", installed)
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps({{'numpy': '2'}}), flush=True)\n"
        "for line in sys.stdin:\n    print(json.dumps({'seconds': json.loads(line)['backups'] / 1e6}), flush=True)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    checkouts = {"rl-introduction": tmp_path, "neuro-nav": None}
    with planning_speed.started_peers(tmp_path, checkouts) as (found, versions, out):
        assert sorted(found) == ["rl-introduction prioritized", "rl-introduction uniform"]
        assert found["rl-introduction uniform"](5) == pytest.approx(5e-3)
    assert versions == {"rl-introduction": {"numpy": "2"}}
    assert out["rl-blox"] == "no network"
    assert "--neuro-nav does not say where it is" in out["neuro-nav"]


# --- the scripts of peers that are no packages, with stand-ins for their code -----------------------------------------


class _Book:
    """Just so much of chapter08/maze.py as is used, which notes what is asked of it."""

    def __init__(self) -> None:
        self.fed: list[Any] = []
        self.planned: list[int] = []
        self.inserted: list[Any] = []
        book = self

        class Maze:
            WORLD_WIDTH, q_size, GOAL_STATES = 9, (6, 9, 4), [[0, 8]]

        class Model:
            def feed(self, *step: Any) -> None:
                book.fed.append(step)

            def insert(self, *entry: Any) -> None:
                book.inserted.append(entry)

        class DynaParams:
            planning_steps = 5

        self.Maze, self.TrivialModel, self.PriorityModel, self.DynaParams = Maze, Model, Model, DynaParams

    def dyna_q(self, values: Any, model: Any, maze: Any, parameters: Any) -> int:
        assert maze.step([2, 0], 1) == ([0, 8], 0.0)  # the episode is over
        self.planned.append(parameters.planning_steps)
        return 1

    def prioritized_sweeping(self, values: Any, model: Any, maze: Any, parameters: Any) -> int:
        assert not values.any()
        self.planned.append(parameters.planning_steps)
        return 1 + parameters.planning_steps


def test_the_books_code_is_asked_for_as_many_backups() -> None:
    known, book = planning_speed.transitions(DynaMaze()), _Book()
    plan = rl_introduction.uniform(book, known)
    assert len(book.fed) == len(known)
    assert book.fed[0] == ([2, 0], 0, [1, 0], 0.0)
    plan(3_000)
    assert book.planned == [3_000]
    rl_introduction.prioritized(book, known)(25_000)
    assert book.planned[1:] == [10_000, 10_000, 5_000]
    assert book.inserted == [(1.0, [1, 8], 0)] * 3


def test_neuro_nav_is_asked_for_as_many_backups() -> None:
    class DynaQ:
        def __init__(self, states: int, actions: int, lr: float, gamma: float) -> None:
            self.shape, self.dyna = (states, actions), self
            self.num_recall, self.recency = 1, "exponential"
            self.noted: list[Any] = []

        def update(self, agent: Any, step: Any) -> None:
            self.noted.append((self.num_recall, step))

    made: list[DynaQ] = []

    class Code:
        @staticmethod
        def DynaQ(*args: Any, **kwargs: Any) -> DynaQ:
            made.append(DynaQ(*args, **kwargs))
            return made[-1]

    known = planning_speed.transitions(DynaMaze())
    plan = neuro_nav.uniform(Code, known)
    assert (made[0].shape, made[0].recency) == ((54, 4), "last")
    assert {recalls for recalls, _ in made[0].noted} == {0}
    assert made[0].noted[0][1] == (18, 0, 9, 0.0, False)
    plan(2_000)
    assert made[0].noted[-1][0] == 2_000
    json.dumps(known)  # the way to another process
