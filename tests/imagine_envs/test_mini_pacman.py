"""MiniPacman against an implementation of its own, and its rules one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from reference_random import ReferenceRandom
from stable_baselines3.common.vec_env import DummyVecEnv

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.experience import Replay, collect
from imagine_envs.tasks import State, TaskEnv, TaskVectorEnv
from imagine_envs.tasks.mini_pacman import EVENTS, MODES, MiniPacman
from imagine_envs.tasks.mini_pacman.mini_pacman import MAP

ROWS, STEPS = 100, 1_000  # for each of the five tasks
every_mode = pytest.mark.parametrize("mode", MODES)

Cell = tuple[int, int]
MOVES = {1: (0, 1), 2: (-1, 0), 3: (0, -1), 4: (1, 0)}
FLOOR = [(y, x) for y, line in enumerate(MAP) for x, sign in enumerate(line) if sign != "#"]
TABLE = {
    "regular": (0, 1, 2, 5, 0),
    "avoid": (0.1, -0.1, -5, -10, -20),
    "hunt": (0, 0, 1, 10, -20),
    "ambush": (0, -0.1, 0, 10, -20),
    "rush": (0, -0.1, 9.9, 0, 0),
}


def ways_to(target: Cell) -> dict[Cell, int]:
    """The first action of a shortest way from every cell."""
    ways, queue = {target: 0}, deque([target])
    while queue:
        y, x = queue.popleft()
        for direction, (dy, dx) in MOVES.items():
            before = (y - dy, x - dx)
            if before in FLOOR and before not in ways:
                ways[before] = direction
                queue.append(before)
    return ways


TOWARDS = {target: ways_to(target) for target in FLOOR}


class ReferencePacman:
    """One game, with sets and tuples."""

    def __init__(self, mode: str, seed: int) -> None:
        self.mode, self.random, self.level = mode, ReferenceRandom(seed), 1
        self.begin()

    def begin(self) -> None:
        draw = self.random.below
        self.food = set(FLOOR)
        self.pacman = FLOOR[draw(len(FLOOR))]
        self.pills: set[Cell] = set()
        while len(self.pills) < 2:
            cell = FLOOR[draw(len(FLOOR))]
            if cell != self.pacman:
                self.pills.add(cell)
        self.ghosts: list[list[Any]] = []
        for _ in range(min(20, 1 + (self.level - 1) // 2)):
            while True:
                y, x = FLOOR[draw(len(FLOOR))]
                if abs(y - self.pacman[0]) >= 5 or abs(x - self.pacman[1]) >= 5:
                    break
            self.ghosts.append([(y, x), 1 + draw(4)])
        self.power = self.clock = 0

    def step(self, action: int) -> tuple[list[int], float, bool]:
        events = dict.fromkeys(EVENTS, 0)
        events["step"] = 1
        self.clock += 1
        self.power = max(0, self.power - 1)
        if action:
            self.pacman = self.beside(self.pacman, action)
        if self.pacman in self.food:
            self.food.remove(self.pacman)
            events["food"] = 1
        if self.pacman in self.pills:
            self.pills.remove(self.pacman)
            events["pill"] = 1
            self.power = 20
        survivors = []
        for index, ghost in enumerate(self.ghosts):
            speed = (0.5 + 0.1 * (self.level - 1)) * (0.5 if self.power else 1)
            if ghost[0] != self.pacman and self.random.uniform() < speed:
                self.move(ghost)
            if ghost[0] != self.pacman:
                survivors.append(ghost)
            elif self.power:
                events["ghost"] += 1
            else:
                events["death"] = 1
                survivors += self.ghosts[index:]
                break
        self.ghosts = survivors
        reward = sum(weight * count for weight, count in zip(TABLE[self.mode], events.values(), strict=True))
        if not events["death"] and self.cleared():
            self.level += 1
            self.begin()
        return list(events.values()), reward, bool(events["death"])

    def cleared(self) -> bool:
        return {
            "regular": not self.food,
            "avoid": self.clock == 128,
            "hunt": not self.ghosts or self.clock == 80,
            "ambush": not self.ghosts or self.clock == 80,
            "rush": not self.pills,
        }[self.mode]

    def beside(self, cell: Cell, direction: int) -> Cell:
        there = (cell[0] + MOVES[direction][0], cell[1] + MOVES[direction][1])
        return cell if MAP[there[0]][there[1]] == "#" else there

    def move(self, ghost: list[Any]) -> None:
        cell, ahead = ghost
        opposite = {1: 3, 3: 1, 2: 4, 4: 2}[ahead]
        ways = [direction for direction in MOVES if self.beside(cell, direction) != cell]
        onward = [direction for direction in ways if direction != opposite]
        if len(ways) > 2:
            if self.random.uniform() < 0.05:
                ghost[1] = onward[self.random.below(len(onward))]
            else:
                sign = -1 if self.power else 1

                def gain(direction: int) -> int:
                    y, x = MOVES[direction]
                    return sign * (y * (self.pacman[0] - cell[0]) + x * (self.pacman[1] - cell[1]))

                ghost[1] = max(onward, key=gain)
        elif ahead not in ways:
            ghost[1] = onward[0]
        ghost[0] = self.beside(cell, ghost[1])

    def frame(self) -> np.ndarray:
        image = np.zeros((15, 19, 3), np.uint8)
        for y, line in enumerate(MAP):
            for x, sign in enumerate(line):
                image[y, x] = (255, 255, 255) if sign == "#" else (0, 0, 255 if (y, x) in self.food else 0)
        for cell in self.pills:
            image[cell] = (0, 255, 255)
        image[self.pacman] = (0, 255, 0)
        for cell, _ in self.ghosts:
            image[cell] = (255, round(255 * self.power / 20), 0)
        return image


@every_mode
def test_the_kernel_agrees_with_the_reference(mode: str) -> None:
    envs = TaskVectorEnv(MiniPacman(mode=mode, max_steps=None), ROWS)
    observations, _ = envs.reset(seed=11)
    games = [ReferencePacman(mode, 11 + row) for row in range(ROWS)]
    rng = np.random.default_rng(3)
    levels = deaths = eaten = pills = 0
    action = rng.integers(5, size=ROWS)
    for step in range(STEPS):
        # Half of them hunt, for pills or with power; the others go on in one direction for a while.
        action = np.where(rng.random(ROWS) < 0.4, rng.integers(5, size=ROWS), action)
        for row in range(0, ROWS, 2):
            targets = [cell for cell, _ in games[row].ghosts] if games[row].power else games[row].pills
            if targets and rng.random() < 0.9:
                action[row] = TOWARDS[min(targets)][games[row].pacman]
        observations, rewards, terminations, truncations, infos = envs.step(action)
        assert not truncations.any()
        for row, game in enumerate(games):
            events, reward, dead = game.step(int(action[row]))
            assert (rewards[row], terminations[row]) == (pytest.approx(reward, abs=1e-12), dead)
            columns = infos["final_info"] if dead else infos
            assert columns["_events"][row]
            assert columns["events"][row].tolist() == events
            assert columns["level"][row] == game.level
            if dead:
                if step % 7 == 0:
                    assert np.array_equal(infos["final_obs"][row], game.frame())
                random = game.random
                games[row] = game = ReferencePacman(mode, 0)
                game.random = random
                game.begin()
            if (step + row) % 7 == 0:
                assert np.array_equal(observations[row], game.frame())
            levels += game.level > 1 and game.clock == 0
            deaths, eaten, pills = deaths + dead, eaten + events[3], pills + events[2]
    assert min(deaths, eaten, pills) > 20
    assert levels > 10 or mode == "regular"


@every_mode
def test_high_levels_agree_with_the_reference(mode: str) -> None:
    task = MiniPacman(mode=mode)
    envs = TaskVectorEnv(task, 40)
    envs.reset(seed=0)
    snapshot, games = envs.snapshot(), []
    for row in range(40):
        game = ReferencePacman(mode, row)
        game.level = 3 + row
        game.begin()
        game.food = {game.pacman, FLOOR[7]}
        write(task, snapshot, row, game)
        games.append(game)
    assert np.array_equal(envs.restore(snapshot), np.stack([game.frame() for game in games]))
    rng = np.random.default_rng(5)
    alive = np.ones(40, bool)
    for _ in range(60):
        action = rng.integers(5, size=40)
        observations, rewards, terminations, _, _ = envs.step(action)
        for row in np.flatnonzero(alive):
            _, reward, dead = games[row].step(int(action[row]))
            assert (rewards[row], terminations[row]) == (pytest.approx(reward, abs=1e-12), dead)
            assert dead or np.array_equal(observations[row], games[row].frame())
            alive[row] = not dead
    assert max(game.level for game in games) > 40 or not alive.all()


def write(task: MiniPacman, state: State, row: int, game: ReferencePacman) -> None:
    """Puts a row into the state of a reference game."""
    cell = lambda place: place[0] * 19 + place[1]  # noqa: E731
    state["board"][row] = 0
    for place in FLOOR:
        state["board"][row, cell(place)] = (place in game.food) + 2 * (place in game.pills)
    state["pacman"][row] = cell(game.pacman), 0
    state["ghosts"][row] = -1
    for index, (place, heading) in enumerate(game.ghosts):
        state["ghosts"][row, index], state["heading"][row, index] = cell(place), heading - 1
    state["counters"][row] = (
        game.power,
        game.level,
        game.clock,
        len(game.food),
        len(game.pills),
        len(game.ghosts),
        len(game.ghosts),
    )
    state["random"].view(np.uint64)[row] = game.random.state


# --- collected experience -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hunt", "rush"])
@pytest.mark.parametrize("kind", ["env", "same step", "next step", "singles", "sb3"])
def test_collected_records_hold_the_events_that_their_rewards_are_made_of(mode: str, kind: str, tmp_path: Path) -> None:
    task = MiniPacman(mode=mode)
    makers: dict[str, Callable[[], Any]] = {
        "env": lambda: TaskEnv(task),
        "same step": lambda: TaskVectorEnv(task, 4),
        "next step": lambda: TaskVectorEnv(task, 4, autoreset_mode=AutoresetMode.NEXT_STEP),
        "singles": lambda: SyncVectorEnv([lambda: TaskEnv(task)] * 4, autoreset_mode=AutoresetMode.SAME_STEP),
        "sb3": lambda: DummyVecEnv([lambda: TaskEnv(task)] * 4),
    }
    collect(makers[kind](), steps=800, seed=0).save(tmp_path / "replay")
    replay = Replay.load(tmp_path / "replay")
    steps = replay.transitions()
    events, reward = steps.columns["events"][:, 1].numpy(), steps.reward[:, 1].numpy()
    np.testing.assert_allclose(reward, events @ task.weights, atol=1e-5)
    assert (events[:, 0] == 1).all()
    np.testing.assert_array_equal(events[:, 4] == 1, steps.terminated[:, 1])
    assert events[:, 4].sum() > 1
    records = replay.windows([0], replay.longest if replay.num_envs == 1 else 50)
    assert not records.columns["events"][records.first].any()


# --- the rules, one by one ------------------------------------------------------------------------------------------


def game_at(mode: str = "regular", **changes: Any) -> tuple[TaskEnv, ReferencePacman]:
    """A game with everything as it is told, and the environment in the same state."""
    env, game = TaskEnv(MiniPacman(mode=mode)), ReferencePacman(mode, 0)
    env.reset(seed=0)
    game.__dict__.update(changes)
    snapshot = env.snapshot()
    write(env.task, snapshot, 0, game)  # type: ignore[arg-type]
    env.restore(snapshot)
    return env, game


def test_the_map_is_connected_and_without_dead_ends() -> None:
    assert (len(MAP), {len(line) for line in MAP}) == (15, {19})
    assert MAP == tuple(line[::-1] for line in MAP) == MAP[::-1]
    seen, queue = {FLOOR[0]}, deque([FLOOR[0]])
    while queue:
        y, x = queue.popleft()
        ways = [(y + dy, x + dx) for dy, dx in MOVES.values() if MAP[y + dy][x + dx] != "#"]
        assert len(ways) >= 2
        queue.extend(set(ways) - seen)
        seen |= set(ways)
    assert seen == set(FLOOR)


def test_the_table_of_rewards() -> None:
    assert {name: mode.weights for name, mode in MODES.items()} == TABLE
    assert EVENTS == ("step", "food", "pill", "ghost", "death")


@pytest.mark.parametrize(
    ("mode", "reward"), [("regular", 3), ("avoid", -5), ("hunt", 1), ("ambush", -0.1), ("rush", 9.8)]
)
def test_food_and_pill_on_one_cell(mode: str, reward: float) -> None:
    env, _ = game_at(mode, pacman=(1, 1), pills={(1, 2), (13, 1)}, ghosts=[[(13, 17), 1]], food=set(FLOOR))
    _, found, terminated, _, info = env.step(1)
    assert info["events"].tolist() == [1, 1, 1, 0, 0]
    assert found == pytest.approx(reward)
    assert found == pytest.approx(info["events"] @ env.task.weights)  # type: ignore[attr-defined]
    assert not terminated
    assert "power 20" in env.status()


def test_power_lasts_for_twenty_steps() -> None:
    env, _ = game_at("rush", pacman=(1, 1), pills={(1, 2), (13, 1)}, ghosts=[])
    env.step(1)
    for left in range(19, 0, -1):
        env.step(0)
        assert f"power {left}" in env.status()
    env.step(0)
    assert "power" not in env.status()


@pytest.mark.parametrize(("power", "events"), [(2, [1, 0, 0, 1, 0]), (1, [1, 0, 0, 0, 1]), (0, [1, 0, 0, 0, 1])])
def test_who_is_met_is_eaten(power: int, events: list[int]) -> None:
    env, _ = game_at(
        pacman=(1, 1), pills={(13, 1), (13, 2)}, ghosts=[[(1, 2), 1], [(13, 17), 1]], power=power, food={(13, 17)}
    )
    observation, reward, terminated, _, info = env.step(1)
    assert info["events"].tolist() == events
    assert terminated == bool(events[4])
    assert reward == 5 * events[3]
    assert observation[1, 2].tolist() == ([255, 0, 0] if terminated else [0, 255, 0])


def test_several_ghosts_may_be_eaten_in_one_step() -> None:
    env, _ = game_at("hunt", pacman=(1, 1), ghosts=[[(1, 2), 1], [(1, 2), 2], [(9, 9), 2]], power=9)
    _, reward, _, _, info = env.step(1)
    assert info["events"][3] == 2
    assert reward == 20


@pytest.mark.parametrize(("level", "count"), [(1, 1), (2, 1), (3, 2), (4, 2), (9, 5), (60, 20)])
def test_a_new_level_has_more_ghosts_away_from_pacman(level: int, count: int) -> None:
    for seed in range(30):
        env, game = game_at("rush", level=level - 1, pills={(1, 2)}, pacman=(1, 1), random=ReferenceRandom(seed))
        game.ghosts = []
        snapshot = env.snapshot()
        write(env.task, snapshot, 0, game)  # type: ignore[arg-type]
        env.restore(snapshot)
        env.step(1)
        state = env.snapshot()
        ghosts = state["ghosts"][0][state["ghosts"][0] >= 0]
        assert len(ghosts) == count
        place, here = np.stack(np.divmod(ghosts, 19)), np.array(divmod(int(state["pacman"][0, 0]), 19))[:, None]
        assert (np.abs(place - here).max(0) >= 5).all()
        assert state["counters"][0].tolist() == [0, level, 0, len(FLOOR), 2, count, count]


def test_the_time_of_avoid_and_of_hunting() -> None:
    for mode, limit in (("avoid", 128), ("hunt", 80), ("ambush", 80)):
        env, _ = game_at(mode, ghosts=[[(1, 1), 1]], pacman=(13, 17), power=10**6)
        levels = [env.step(0)[4]["level"] for _ in range(limit)]
        assert levels == [1] * (limit - 1) + [2]


def test_a_model_can_be_told_what_is_seen() -> None:
    for observation in ("tiny", "rgb"):
        task = MiniPacman(observation=observation)
        envs = TaskVectorEnv(task, 20)
        envs.reset(seed=0)
        envs.action_space.seed(0)
        for _ in range(30):
            seen = envs.step(envs.action_space.sample())[0]
        blank = task.allocate(20)
        task.reset(blank, np.arange(20), {})
        task.recall(blank, seen)
        again = np.zeros_like(seen)
        task.observe(blank, np.arange(20), again)
        assert np.array_equal(again, seen)
        state = envs.snapshot()
        before = {name: array.copy() for name, array in state.items()}
        task.recall(state, seen)
        for name in ("board", "pacman", "ghosts", "heading"):
            assert np.array_equal(state[name], before[name])
        assert np.array_equal(state["counters"], before["counters"])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="mode='chase' must be one of 'regular'"):
        MiniPacman(mode="chase")
    with pytest.raises(ValueError, match="observation='planes' must be one of 'tiny', 'rgb'"):
        gym.make("Imagine/MiniPacman-Rush-v0", observation="planes")
    with pytest.raises(ValueError, match="max_steps=-1"):
        MiniPacman(max_steps=-1)
