"""The reproduced figures: their inner loops against plain ones, and the command that makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from imagine_envs.tasks.mazes import BlockingMaze, DynaMaze, GridMaze, ScaledMaze, ShortcutMaze, TrajectorySampling
from tests.imagine_envs.reference_random import ReferenceRandom
from zoo.cli import main
from zoo.commands.reproduce import FIGURES
from zoo.reproductions import example_8_4, figure_8_2, figure_8_4, figure_8_5, figure_8_8
from zoo.reproductions.figure import Job, Reproduction, beside, differences, lead, publish
from zoo.reproductions.inner_loop import agent_for, play

# --- the loop around Dyna-Q -----------------------------------------------------------------------------------------


class Recorder(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[float] = []
        self.dones: list[bool] = []

    def _on_step(self) -> bool:
        self.rewards.append(float(self.locals["rewards"][0]))
        self.dones.append(bool(self.locals["dones"][0]))
        return True


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (DynaMaze(max_steps=300), {"planning_steps": 5}),
        (BlockingMaze(switch=400), {"planning_steps": 10, "exploration_bonus": 1e-3, "learning_rate": 1.0}),
        (ScaledMaze(size=94), {"planning_steps": 5, "search_control": "prioritized", "learning_rate": 0.5}),
    ],
    ids=["truncated", "bonus and moving wall", "prioritized"],
)
def test_figures_are_those_of_the_agent(task: GridMaze, settings: dict[str, Any]) -> None:
    """Step by step what ``DynaQ.learn`` does in the environment itself."""
    agent = agent_for(task, 3, epsilon=0.1, **settings)
    played = play(agent, task, 1_500)
    other, recorder = agent_for(task, 3, epsilon=0.1, **settings), Recorder()
    other.learn(1_500, callback=recorder)
    assert played.reward.tolist() == recorder.rewards
    assert played.done.tolist() == recorder.dones
    assert played.reward.sum() > 1
    assert played.backups == other.n_backups
    np.testing.assert_array_equal(agent.policy.q_table.detach(), other.policy.q_table.detach())


def test_the_loop_stops_when_it_should() -> None:
    task = DynaMaze(max_steps=None)
    played = play(agent_for(task, 0, epsilon=0.1), task, 50_000, episodes=3)
    assert played.done.sum() == 3
    assert played.done[-1]
    assert not played.solved
    agent = agent_for(task, 0, epsilon=0.5, planning_steps=20, learning_rate=1.0)
    played = play(agent, task, 50_000, shortest=14)
    assert played.solved
    state, values = task.start, agent.policy.q_table.detach().numpy()
    for _ in range(14):
        assert not task.terminal[state]
        state = int(task.successors[0, state, values[state].argmax(), 0])
    assert task.terminal[state]


def test_chance_has_no_part_in_the_loop() -> None:
    task = TrajectorySampling(states=5)
    with pytest.raises(ValueError, match="TrajectorySampling is not deterministic"):
        play(agent_for(task, 0, epsilon=0.1), task, 10)


# --- Figure 8.2 -----------------------------------------------------------------------------------------------------


def test_the_first_episode_of_the_dyna_maze_takes_868_7_steps() -> None:
    assert figure_8_2.expected_first_episode() == pytest.approx(868.7, abs=0.05)


def test_the_first_episodes_come_near_that_and_are_the_same_for_every_n() -> None:
    seeds = tuple(range(1_000, 1_200))
    first = figure_8_2.measure(0, seeds)[:, 0]
    error = first.std() / np.sqrt(len(first))
    assert 40 < error < 80
    assert abs(first.mean() - figure_8_2.expected_first_episode()) < 3 * error
    np.testing.assert_array_equal(figure_8_2.measure(5, seeds[:3])[:, 0], first[:3])


# --- Figures 8.4 and 8.5 --------------------------------------------------------------------------------------------


def test_walls_move_when_the_book_says() -> None:
    for figure, maze in ((figure_8_4, BlockingMaze()), (figure_8_5, ShortcutMaze())):
        job = figure.FIGURE.jobs(2, 0)[0]
        settings = figure.FIGURE.result([job.function(*other.arguments) for other in figure.FIGURE.jobs(2, 0)])
        assert settings["settings"]["wall_moves_at"] == maze.switches[0]
        assert settings["settings"]["steps"] == job.arguments[2]


# --- Example 8.4 ----------------------------------------------------------------------------------------------------


def test_shortest_ways() -> None:
    assert example_8_4.shortest_way(DynaMaze()) == example_8_4.shortest_way(ScaledMaze(size=47)) == 14
    assert example_8_4.shortest_way(GridMaze([["S..", ".#.", "..G"]])) == 4
    with pytest.raises(ValueError, match="no way leads to a goal"):
        example_8_4.shortest_way(GridMaze([["S#G"]]))


def test_prioritized_sweeping_solves_the_smallest_maze_with_fewer_updates() -> None:
    (uniform, solved), (swept, also) = (
        example_8_4.measure(47, control, tuple(range(1_000, 1_010))).T for control in ("uniform", "prioritized")
    )
    assert solved.all()
    assert also.all()
    assert 100 < swept.mean() < 300
    assert uniform.mean() > 10 * swept.mean()


# --- Figure 8.8 -----------------------------------------------------------------------------------------------------


def plainly(states: int, branching: int, instance: int, on_policy: bool, after: list[int]) -> list[float]:
    """The two ways of distributing updates, written down plainly; values from systems of linear equations."""
    task = TrajectorySampling(states=states, branching=branching, instance=instance)
    successors, rewards = task.successors[0], task.rewards[0]
    random, q, found = ReferenceRandom(instance), np.zeros((states + 1, 2)), []
    state = pair = 0
    for updates in range(after[-1] + 1):
        if updates in after:
            greedy = (q[:, 1] > q[:, 0]).astype(int)
            step, reward = np.zeros((states, states)), np.zeros(states)
            for place in range(states):
                for branch in range(branching):
                    step[place, successors[place, greedy[place], branch]] += 0.9 / branching
                    reward[place] += 0.9 / branching * rewards[place, greedy[place], branch]
            found.append(float(np.linalg.solve(np.eye(states) - step, reward)[0]))
        if on_policy:
            # The second operand draws no number where the first one holds.
            if random.uniform() < 0.1 or q[state, 0] == q[state, 1]:
                action = random.below(2)
            else:
                action = int(q[state].argmax())
        else:
            state, action = divmod(pair % (2 * states), 2)
            pair += 1
        best = q[successors[state, action]].max(1)
        q[state, action] = 0.9 * np.mean(rewards[state, action] + best)
        if on_policy:
            ends = random.uniform() < 0.1
            state = 0 if ends else int(successors[state, action, random.below(branching)])
    return found


@pytest.mark.parametrize("branching", [1, 3])
def test_updates_and_values_are_the_plain_ones(branching: int, monkeypatch: pytest.MonkeyPatch) -> None:
    after = [0, 7, 30, 90, 300, 2_000]
    monkeypatch.setattr(figure_8_8, "points", lambda states: np.array(after))
    found = figure_8_8.measure(20, branching, (4, 5))
    for row, instance in enumerate((4, 5)):
        for column, on_policy in enumerate((False, True)):
            wanted = plainly(20, branching, instance, on_policy, after)
            np.testing.assert_allclose(found[row, column, :-1], wanted, rtol=0, atol=1e-7)
        assert len(set(found[row, 0, :-1])) > 1
        optimum = found[row, 0, -1]
        assert optimum == found[row, 1, -1]
        assert optimum == pytest.approx(found[row, 0, -2], abs=1e-7)  # 50 sweeps over 40 pairs find the best policy
        assert (found[row, :, :-1] <= optimum + 1e-7).all()


def test_curves_begin_and_end_where_the_book_s_do() -> None:
    for states, last in figure_8_8.UPDATES.items():
        after = figure_8_8.points(states)
        assert (after[0], after[-1]) == (0, last)
        assert (np.diff(after) > 0).all()
        assert {states // 2, last} <= set(after.tolist())


def test_the_end_of_a_lead() -> None:
    after = np.array([0, 10, 20, 30])
    for mean, wanted in (([0, 1, 2, -1], 30), ([0, 1, -2, -1], 20), ([0, -1, -2, -1], 0), ([0, -1, 1, 1], np.inf)):
        assert figure_8_8._end_of_lead(after, np.array(mean)) == wanted


# --- what figures share, and the command ----------------------------------------------------------------------------


def test_a_book_s_value_lies_inside_two_standard_deviations() -> None:
    runs = [1.0, 2.0, 3.0]
    assert beside("x", runs, 4.0) == {
        "name": "x",
        "ours": 2.0,
        "spread": 1.0,
        "standard_error": pytest.approx(3**-0.5),
        "runs": 3,
        "book": 4.0,
        "inside": True,
        "z": pytest.approx(-2.0 / (1 / 3 + 1 / 30) ** 0.5),
    }
    assert beside("x", runs, 4.1)["inside"] is beside("x", runs, -0.1)["inside"] is False
    assert beside("x", runs, None)["inside"] is beside("x", runs, None)["z"] is None
    assert beside("x", [2.0, 2.0], 1.0)["z"] is None


def test_means_differ_by_two_standard_errors_long_before_runs_do() -> None:
    runs = [1.0, 2.0, 3.0] * 100
    far, near = beside("far", runs, 2.5), beside("near", runs, 2.2)
    assert far["inside"]
    assert far["z"] == pytest.approx(-0.5 / np.std(runs, ddof=1) / (1 / 300 + 1 / 30) ** 0.5)
    exact = beside("exact", runs, 2.2, np.inf)
    assert exact["z"] == pytest.approx(-0.2 / exact["standard_error"])
    (told,) = differences([far, near, exact, beside("none", runs, None)])
    assert "far: ours 2 ± 0.0, book 2.5 (z = -3.2); exact: ours" in told
    assert "near" not in told
    (large,) = differences([beside("large", [1_234.4, 1_235.4], 98_765.0)])
    assert "large: ours 1,235 ± 0.5, book 98,765 (z = " in large
    assert differences([near]) == []


def test_a_lead_is_that_of_the_same_runs() -> None:
    found = lead([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    assert found == (2.0, pytest.approx(3**-0.5))
    assert found.clear
    assert not lead([1.0, -1.0], [0.0, 0.0]).clear
    assert str(found) == "2 ± 0.58"


def double(number: int) -> int:
    return 2 * number


def test_outcomes_come_in_the_order_of_the_jobs_however_many_processes(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    def jobs(runs: int, seed: int) -> list[Job]:
        return [Job(double, (number,), weight=9 - number) for number in range(seed, seed + runs)]

    def found(outcomes: Any) -> dict[str, Any]:
        return {"runs": outcomes, "values": [beside("x", [1.0, 2.0], 9.0)], "notes": ["first"]}

    figure = Reproduction("figure-0.0", "Nothing", 4, jobs, found, lambda _: Figure())
    (result,) = publish([figure], tmp_path, seed=3)
    (same,) = publish([figure], tmp_path, seed=3, processes=2)
    assert result["runs"] == same["runs"] == [6, 8, 10, 12]
    assert result["notes"] == ["first", *differences(result["values"])]
    assert len(result["notes"]) == 2
    assert "30 runs" in result["explanation"]["z"]
    (fewer,) = publish([figure], tmp_path, runs=2)
    assert fewer["runs"] == json.loads((tmp_path / "figure-0.0.json").read_text())["runs"] == [0, 2]


def test_the_command_makes_pictures_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["reproduce", "figure-8.5", "figure-8.4", "--runs", "3", "--processes", "1", "-o", str(tmp_path)]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert shown.index("figure-8.4:") < shown.index("figure-8.5:")
    assert "book 151 (z = " in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"figure-{number}.{kind}" for number in ("8.4", "8.5") for kind in ("json", "png")
    ]
    result = json.loads((tmp_path / "figure-8.4.json").read_text())
    assert result["runs"] == 3
    assert result["seed"] == 0
    assert [value["book"] for value in result["values"]] == [45.0, 77.0, 97.0, 151.0]
    assert all(value["ours"] > 10 for value in result["values"])
    assert set(result["curves"]) == {"steps", "Dyna-Q", "Dyna-Q+"}


def test_wrong_figures_and_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "figure-9.9"]) == 2
    assert "invalid choice: 'figure-9.9'" in capsys.readouterr().err
    for flag in (["--runs", "1"], ["--seed", "-1"], ["--processes", "0"]):
        assert main(["reproduce", "dyna", *flag]) == 2
        assert "was expected" in capsys.readouterr().err


# --- what is published ----------------------------------------------------------------------------------------------

RESULTS = Path(example_8_4.__file__).parent / "results"
MODULES = (figure_8_2, figure_8_4, figure_8_5, example_8_4, figure_8_8)


@pytest.mark.parametrize("module", MODULES, ids=FIGURES)
def test_published_results_are_those_of_the_present_settings(module: Any) -> None:
    figure: Reproduction = module.FIGURE
    published = json.loads((RESULTS / f"{figure.name}.json").read_text())
    assert (RESULTS / f"{figure.name}.png").is_file()
    assert (published["figure"], published["title"], published["runs"]) == (figure.name, figure.title, figure.runs)
    assert all(one["holds"] for one in published["claims"]), published["claims"]
    # What differs is told in the notes, after what was found about it.
    told = differences(published["values"])
    assert published["notes"][len(published["notes"]) - len(told) :] == told
    assert not told or len(published["notes"]) > 2
    assert all(value["inside"] or value["name"] in told[0] for value in published["values"])


def test_every_figure_has_its_module() -> None:
    assert tuple(module.FIGURE.name for module in MODULES) == FIGURES
