"""The tabular tasks: their numbers, and each against an implementation of its own."""

from __future__ import annotations

import functools
import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from reference_random import ReferenceRandom

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.tasks import TaskEnv, TaskVectorEnv
from imagine_envs.tasks.mazes import (
    BlockingMaze,
    DynaMaze,
    GridMaze,
    RodManeuvering,
    ScaledMaze,
    ShortcutMaze,
    TableTask,
    TrajectorySampling,
)

UP, DOWN, LEFT, RIGHT = range(4)


def shortest(start: Hashable, is_goal: Callable[[Any], bool], successors: Callable[[Any], Iterable[Any]]) -> int:
    """Steps of a shortest way."""
    distance, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        if is_goal(state):
            return distance[state]
        for after in successors(state):
            if after not in distance:
                distance[after] = distance[state] + 1
                queue.append(after)
    raise AssertionError("the goal cannot be reached")


def optimum(task: TableTask, variant: int = 0) -> int:
    tables = task.successors[variant, :, :, 0]
    return shortest(task.start, lambda state: bool(task.terminal[state]), lambda state: tables[state].tolist())


# --- the mazes of the book ------------------------------------------------------------------------------------------


class ReferenceMaze:
    """A maze of the book, from the coordinates (row, column) of its walls."""

    def __init__(self, start: tuple[int, int], walls: list[set[tuple[int, int]]], moves_at: int) -> None:
        self.start, self.walls, self.moves_at = start, walls, moves_at
        self.place, self.clock = start, 0

    def step(self, action: int) -> tuple[int, float, bool]:
        walls = self.walls[self.clock >= self.moves_at]
        self.clock += 1
        y, x = self.place
        there = {UP: (y - 1, x), DOWN: (y + 1, x), LEFT: (y, x - 1), RIGHT: (y, x + 1)}[action]
        if 0 <= there[0] < 6 and 0 <= there[1] < 9 and there not in walls:
            self.place = there
        y, x = self.place
        done = self.place == (0, 8)
        if done:
            self.place = self.start
        return 9 * y + x, float(done), done


def row_three(columns: range) -> set[tuple[int, int]]:
    return {(3, column) for column in columns}


DYNA_WALLS = {(1, 2), (2, 2), (3, 2), (0, 7), (1, 7), (2, 7), (4, 5)}
BOOK: dict[str, Callable[[], ReferenceMaze]] = {
    "DynaMaze": lambda: ReferenceMaze((2, 0), [DYNA_WALLS] * 2, 0),
    "BlockingMaze": lambda: ReferenceMaze((5, 3), [row_three(range(8)), row_three(range(1, 9))], 1_000),
    "ShortcutMaze": lambda: ReferenceMaze((5, 3), [row_three(range(1, 9)), row_three(range(1, 8))], 3_000),
}


@pytest.mark.parametrize("name", BOOK)
def test_the_kernel_agrees_with_the_reference(name: str) -> None:
    rows, steps = 25, 4_000
    envs = gym.make_vec(f"Imagine/{name}-v0", num_envs=rows, max_steps=None)
    observations, _ = envs.reset(seed=0)
    mazes = [BOOK[name]() for _ in range(rows)]
    assert observations.tolist() == [9 * maze.place[0] + maze.place[1] for maze in mazes]
    actions = np.random.default_rng(0).integers(4, size=(steps, rows))
    ends = 0
    for action in actions:
        observations, rewards, terminations, truncations, infos = envs.step(action)
        assert not truncations.any()
        for row, maze in enumerate(mazes):
            place, reward, done = maze.step(int(action[row]))
            assert (rewards[row], terminations[row]) == (reward, done)
            assert (infos["final_obs"][row] if done else observations[row]) == place
            assert not done or observations[row] == 9 * maze.start[0] + maze.start[1]
            ends += done
    assert ends > 50


def test_the_shortest_ways_of_the_book() -> None:
    assert optimum(DynaMaze()) == 14
    assert [optimum(BlockingMaze(), variant) for variant in (0, 1)] == [10, 16]
    assert [optimum(ShortcutMaze(), variant) for variant in (0, 1)] == [16, 10]
    assert (~DynaMaze().walls).sum() == 47


def test_a_random_walk_takes_868_7_steps_through_the_dyna_maze() -> None:
    task = DynaMaze()
    # Expected steps h = 1 + P h of the absorbing chain, over the cells that are neither wall nor goal.
    inner = np.flatnonzero(~task.walls[0].reshape(-1) & ~task.terminal)
    moves = np.zeros((54, 54))
    for action in range(4):
        np.add.at(moves, (np.arange(54), task.successors[0, :, action, 0]), 0.25)
    steps = np.linalg.solve(np.eye(len(inner)) - moves[np.ix_(inner, inner)], np.ones(len(inner)))
    exact = steps[inner.tolist().index(task.start)]
    assert exact == pytest.approx(868.7, abs=0.05)

    envs = TaskVectorEnv(DynaMaze(max_steps=None), 3_000)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    first = np.zeros(3_000)
    for step in range(1, 20_000):
        _, _, terminations, _, _ = envs.step(rng.integers(4, size=3_000))
        first[terminations & (first == 0)] = step
        if first.all():
            break
    assert first.all()
    assert abs(first.mean() - exact) < 4 * first.std() / math.sqrt(len(first))


@pytest.mark.parametrize(("task", "moves_at"), [(BlockingMaze, 1_000), (ShortcutMaze, 3_000), (BlockingMaze, 7)])
def test_the_wall_moves_once_in_a_life_whatever_episode_it_is_in(task: type[Any], moves_at: int) -> None:
    env = TaskEnv(task(switch=moves_at))
    hole = 3 * 9 + (8 if task is BlockingMaze else 0)

    def crosses(at: int) -> bool:
        """Whether the step of that number (from 0) gets from below into the hole of the first maze."""
        env.reset(seed=0)
        for step in range(at):
            if step % 100 == 99:
                env.reset()
            env.step(DOWN)
        snapshot = env.snapshot()
        snapshot["state"][:] = hole + 9
        env.restore(snapshot)
        return env.step(UP)[0] == hole

    assert crosses(moves_at - 1)
    assert crosses(moves_at) == (task is ShortcutMaze)
    assert "walls have moved" in env.status()
    env.reset()
    assert "walls have moved" in env.status(), "a reset without a seed goes on with the same life"
    env.reset(seed=0)
    assert f"walls move at {moves_at:,}" in env.status()


def test_one_who_is_under_the_wall_as_it_comes_down_can_leave() -> None:
    env = TaskEnv(BlockingMaze(switch=4))
    env.reset(seed=0)
    snapshot = env.snapshot()
    snapshot["state"][:], snapshot["life"][:] = 3 * 9 + 8, 4
    env.restore(snapshot)
    assert env.step(RIGHT)[0] == 3 * 9 + 8
    assert env.step(DOWN)[0] == 4 * 9 + 8
    assert env.step(UP)[0] == 4 * 9 + 8


def test_scaled_mazes() -> None:
    assert list(ScaledMaze.SIZES) == [47, 94, 188, 376, 752, 1504, 3008, 6016]
    lengths = []
    for size, (rows, columns) in ScaledMaze.SIZES.items():
        task = ScaledMaze(size=size)
        assert (~task.walls).sum() == size
        assert (task.height, task.width) == (6 * rows, 9 * columns)
        assert task.max_steps == 10_000 * rows * columns
        lengths.append(optimum(task))
    assert lengths == [14, 22, 27, 43, 53, 85, 105, 169]
    assert np.array_equal(ScaledMaze(size=186).walls, ScaledMaze(size=188).walls)
    assert np.array_equal(ScaledMaze(size=47).successors, DynaMaze().successors)
    with pytest.raises(ValueError, match=r"size=100 must be one of 47, 94, 188"):
        ScaledMaze(size=100)


@pytest.mark.parametrize("size", [94, 376])
def test_scaled_mazes_agree_with_the_reference(size: int) -> None:
    down, across = {94: (1, 2), 376: (2, 4)}[size]
    rows, steps = 50, 1_000
    envs = gym.make_vec("Imagine/ScaledMaze-v0", num_envs=rows, size=size)
    index, _ = envs.reset(seed=0)
    assert index.tolist() == [2 * down * 9 * across] * rows
    # A random walk seldom comes far: rows begin anywhere.
    anywhere = envs.snapshot()
    floor = [
        y * 9 * across + x
        for y in range(6 * down)
        for x in range(9 * across)
        if (y // down, x // across) not in DYNA_WALLS | {(0, 8)}
    ]
    anywhere["state"][:] = np.random.default_rng(1).choice(floor, rows)
    index = envs.restore(anywhere)
    ends = 0
    for action in np.random.default_rng(0).integers(4, size=(steps, rows)):
        after, rewards, terminations, _, infos = envs.step(action)
        for row in range(rows):
            y, x = divmod(int(index[row]), 9 * across)
            there = {UP: (y - 1, x), DOWN: (y + 1, x), LEFT: (y, x - 1), RIGHT: (y, x + 1)}[int(action[row])]
            cell = (there[0] // down, there[1] // across)  # of the Dyna maze; −1 where it is beyond the edge
            if 0 <= cell[0] < 6 and 0 <= cell[1] < 9 and cell not in DYNA_WALLS:
                y, x = there
            done = (y // down, x // across) == (0, 8)
            assert (rewards[row], terminations[row]) == (done, done)
            assert (infos["final_obs"][row] if done else after[row]) == y * 9 * across + x
            ends += done
        index = after
    assert ends > 5


def test_coordinates() -> None:
    env = gym.make("Imagine/DynaMaze-v0", observation="coordinates")
    observation, _ = env.reset(seed=0)
    assert env.observation_space.shape == (2,)
    assert observation.tolist() == pytest.approx([2 * 2 / 5 - 1, -1])
    assert env.step(RIGHT)[0].tolist() == pytest.approx([2 * 2 / 5 - 1, -0.75])


@pytest.mark.parametrize(
    ("layouts", "kwargs", "message"),
    [
        ([["S.", "G"]], {}, "equally long"),
        ([[]], {}, "equally long"),
        ([["SxG"]], {}, "got 'x'"),
        ([["S.."]], {}, "at least one goal"),
        ([["SSG"]], {}, "one start"),
        ([["S.G"], ["S#G"]], {}, "2 layouts came with 0 switches"),
        ([["S.G"], [".SG"]], {"switches": (3,)}, "start and goals in the same places"),
        ([["S.G"]], {"max_steps": 2.5}, "max_steps=2.5"),
    ],
)
def test_what_is_no_maze(layouts: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridMaze(layouts, **kwargs)


def test_a_switch_is_a_step() -> None:
    with pytest.raises(ValueError, match="switch=-1"):
        BlockingMaze(switch=-1)


# --- the rod --------------------------------------------------------------------------------------------------------


OBSTACLES = RodManeuvering().obstacles


@functools.cache
def touches(x: float, y: float, tens: float) -> bool:
    """Whether a rod with its middle at (x, y) touches an obstacle or leaves the work space."""
    angle = math.radians(10 * tens)
    half = (2.9 * math.cos(angle), 2.9 * math.sin(angle))
    tail, head = (x - half[0], y - half[1]), (x + half[0], y + half[1])
    if not all(0 <= value <= 20 for value in (*tail, *head)):
        return True
    return any(crosses_polygon(tail, head, corners) for corners in OBSTACLES)


def crosses_polygon(tail: Any, head: Any, corners: Any) -> bool:
    """Clips the rod by the half planes of a convex polygon; something is left of it where they meet."""
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
    low, high = 0.0, 1.0
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        normal = (-(b[1] - a[1]), b[0] - a[0]) if area > 0 else (b[1] - a[1], -(b[0] - a[0]))
        at_tail = (tail[0] - a[0]) * normal[0] + (tail[1] - a[1]) * normal[1]
        at_head = (head[0] - a[0]) * normal[0] + (head[1] - a[1]) * normal[1]
        if at_tail < 0 and at_head < 0:
            return False
        if (at_tail < 0) != (at_head < 0):
            share = at_tail / (at_tail - at_head)
            low, high = (max(low, share), high) if at_tail < 0 else (low, min(high, share))
    return low <= high


@functools.cache
def rod_step(x: int, y: int, tens: int, action: int) -> tuple[int, int, int]:
    angle = math.radians(10 * tens + {0: 0, 1: 180, 2: -90, 3: 90}.get(action, 0))
    # The nearest of the eight neighbours: an eighth of the circle is 45° wide, and ±0.5 is reached at 60° and 30°.
    right, down = (0 if abs(v) < 0.4999 else int(math.copysign(1, v)) for v in (math.cos(angle), math.sin(angle)))
    turn = {4: -1, 5: 1}.get(action, 0)
    if turn:
        right = down = 0
    after = (x + right, y + down, (tens + turn) % 36)
    if not (0 <= after[0] < 20 and 0 <= after[1] < 20) or touches(after[0] + 0.5, after[1] + 0.5, after[2]):
        return x, y, tens
    if touches(x + 0.5 + right / 2, y + 0.5 + down / 2, tens + turn / 2):
        return x, y, tens
    return after


def test_the_rod_agrees_with_the_reference() -> None:
    rows, steps = 500, 200
    envs = gym.make_vec("Imagine/RodManeuvering-v0", num_envs=rows)
    envs.reset(seed=0)
    free = np.flatnonzero(RodManeuvering().free)
    snapshot = envs.snapshot()
    snapshot["state"][:] = np.random.default_rng(0).choice(free, rows)
    index = envs.restore(snapshot)
    moved = 0
    for action in np.random.default_rng(1).integers(6, size=(steps, rows)):
        after, rewards, terminations, _, infos = envs.step(action)
        for row in range(rows):
            place, tens = divmod(int(index[row]), 36)
            x, y, tens = rod_step(place % 20, place // 20, tens, int(action[row]))
            expected = (y * 20 + x) * 36 + tens
            done = (x, y, tens) == (16, 17, 0)
            assert (rewards[row], terminations[row]) == (done, done)
            assert (infos["final_obs"][row] if done else after[row]) == expected
            moved += expected != index[row]
        index = after
    assert 0.3 * rows * steps < moved < 0.9 * rows * steps


def test_the_rod_touches_what_the_reference_says_it_touches() -> None:
    free = RodManeuvering().free.reshape(20, 20, 36)
    expected = [[[not touches(x + 0.5, y + 0.5, tens) for tens in range(36)] for x in range(20)] for y in range(20)]
    assert np.array_equal(free, expected)
    assert 3_000 < free.sum() < 5_000


def test_the_rod_can_be_brought_to_its_goal() -> None:
    task = RodManeuvering()
    assert (len(task.terminal), task.action_space.n) == (14_400, 6)
    assert task.free[task.start]
    assert task.free[task.terminal].all()
    assert optimum(task) == 26
    x, y, tens = 2, 4, 9
    by_reference = shortest((x, y, tens), lambda s: s == (16, 17, 0), lambda s: [rod_step(*s, a) for a in range(6)])
    assert by_reference == 26
    # Without turning it cannot be done: the obstacles do stand in the way.
    straight = task.successors[0, :, :4, 0]
    with pytest.raises(AssertionError, match="cannot be reached"):
        shortest(task.start, lambda s: s // 36 == (17 * 20 + 16), lambda s: straight[s].tolist())


def test_every_move_of_the_rod_can_be_undone() -> None:
    task = RodManeuvering()
    tables = task.successors[0, :, :, 0]
    for action, undo in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)):
        states = np.flatnonzero(task.free & (tables[:, action] != np.arange(14_400)))
        assert len(states) > 1_000
        assert np.array_equal(tables[tables[states, action], undo], states)


# --- random tasks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branching", [1, 3, 10])
def test_random_tasks_agree_with_the_reference(branching: int) -> None:
    task = TrajectorySampling(states=50, branching=branching, instance=4)
    rows, steps = 50, 700
    envs = TaskVectorEnv(task, rows)
    envs.reset(seed=9)
    randoms, states = [ReferenceRandom(9 + row) for row in range(rows)], [0] * rows
    ends = 0
    for action in np.random.default_rng(0).integers(2, size=(steps, rows)):
        observations, rewards, terminations, _, infos = envs.step(action)
        for row, random in enumerate(randoms):
            branch = random.below(branching) if branching > 1 else 0
            expected = int(task.successors[0, states[row], action[row], branch])
            reward = task.rewards[0, states[row], action[row], branch]
            done = random.uniform() < 0.1
            assert terminations[row] == done
            if done:
                assert (infos["final_obs"][row], rewards[row], observations[row]) == (50, 0, 0)
            else:
                assert (observations[row], rewards[row]) == (expected, reward)
            states[row] = 0 if done else expected
            ends += done
    assert abs(ends / (rows * steps) - 0.1) < 0.01


def test_random_tasks_are_what_the_book_says() -> None:
    task = TrajectorySampling(states=2_000, branching=3)
    rewards = task.rewards[0, :-1]
    assert abs(rewards.mean()) < 0.05
    assert abs(rewards.std() - 1) < 0.05
    assert task.successors[0, :-1].max() == 1_999
    counts = Counter(task.successors[0, :-1].reshape(-1).tolist())
    assert abs(np.mean(list(counts.values())) - 6) < 0.2
    assert (task.start, int(task.observation_space.n)) == (0, 2_001)  # type: ignore[attr-defined]
    same, other = (
        TrajectorySampling(states=2_000, branching=3),
        TrajectorySampling(states=2_000, branching=3, instance=1),
    )
    assert np.array_equal(task.successors, same.successors)
    assert not np.array_equal(task.successors, other.successors)


@pytest.mark.parametrize("kwargs", [{"states": 0}, {"branching": 0}, {"instance": -1}, {"termination": 1.5}], ids=str)
def test_what_is_no_random_task(kwargs: dict[str, Any]) -> None:
    (name,) = kwargs
    with pytest.raises(ValueError, match=f"{name}="):
        TrajectorySampling(**kwargs)
