from __future__ import annotations

import numpy as np
import pytest
from plain_sokoban import PlainSokoban

from imagine_envs.tasks.sokoban import Level
from imagine_envs.tasks.sokoban.kernel import ACTION_SETS, Boards, paint, put, step
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL

UP, DOWN, LEFT, RIGHT = 1, 2, 3, 4
COLOURS = np.random.default_rng(1).integers(256, size=(16, 3), dtype=np.uint8)


class Games:
    """A batch of games and everything a step fills."""

    def __init__(self, levels: list[Level], max_steps: int = 120, painted: bool = True) -> None:
        grids = np.stack([level.grid.reshape(-1) for level in levels])
        self.width, self.max_steps, every = levels[0].shape[1], max_steps, np.arange(len(levels))
        self.boards = Boards.empty(len(levels), grids.shape[1])
        put(self.boards, every, grids, every)
        self.pixels = np.zeros((len(levels) if painted else 0, grids.shape[1], 3), dtype=np.uint8)
        if painted:
            paint(self.boards.cells, every, COLOURS, self.pixels)
        self.rewards = np.full(len(levels), np.nan)
        self.terminated, self.truncated = np.ones((2, len(levels)), dtype=bool)

    def step(self, actions: list[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        out = (self.rewards, self.terminated, self.truncated)
        step(self.boards, np.asarray(actions), self.width, self.max_steps, COLOURS, self.pixels, *out)
        return out

    def show(self, game: int = 0) -> tuple[str, ...]:
        symbols = dict(
            zip([WALL, 0, BOX, TARGET, BOX | TARGET, PLAYER, PLAYER | TARGET], "# $.*@+", strict=True)
        )  # not those of levels.py, which are under test too
        cells = self.boards.cells[game].reshape(-1, self.width)
        return tuple("".join(symbols[bits] for bits in row) for row in cells.tolist())


def crowded(rng: np.random.Generator, count: int, shape: tuple[int, int] = (7, 8)) -> list[Level]:
    """Random levels full of boxes, so that random play pushes and pulls them often."""
    levels = []
    while len(levels) < count:
        inside = rng.choice(list("      #.$*"), size=(shape[0] - 2, shape[1] - 2))
        inside.flat[rng.integers(inside.size)] = rng.choice(["@", "+"])
        text = "".join(inside.flat)
        boxes, targets = text.count("$") + text.count("*"), text.count(".") + text.count("*") + text.count("+")
        if boxes == targets and "$" in text:
            levels.append(Level(("#" * shape[1], *(f"#{''.join(row)}#" for row in inside), "#" * shape[1])))
    return levels


def played(rows: tuple[str, ...], actions: list[int], **kwargs: int) -> tuple[Games, list[float], list[tuple]]:
    games = Games([Level(rows)], **kwargs)
    rewards, ends = [], []
    for action in actions:
        reward, terminated, truncated = games.step([action])
        rewards.append(float(reward[0]))
        ends.append((bool(terminated[0]), bool(truncated[0])))
    return games, rewards, ends


def test_the_sets_of_actions() -> None:
    assert {number: len(names) for number, names in ACTION_SETS.items()} == {5: 5, 9: 9, 13: 13}
    assert ACTION_SETS[5] == ("noop", "up", "down", "left", "right")
    assert ACTION_SETS[13][:9] == ACTION_SETS[9]
    assert ACTION_SETS[13] == ("noop", *(f"{k} {w}" for k in ("push", "move", "pull") for w in ACTION_SETS[5][1:]))


def test_rewards_of_boxes_on_and_off_their_targets() -> None:
    rows = ("########", "#@$. $.#", "########")
    games, rewards, ends = played(rows, [0, LEFT, RIGHT, RIGHT, RIGHT, RIGHT])
    assert rewards == pytest.approx([-0.1, -0.1, 0.9, -1.1, -0.1, -0.1])
    assert ends == [(False, False)] * 6
    assert games.show() == ("########", "#  +$$.#", "########")


def test_the_last_box_gives_ten_more_and_ends_the_episode() -> None:
    games, rewards, ends = played(("#####", "#@$.#", "#####"), [RIGHT])
    assert rewards == pytest.approx([10.9])
    assert ends == [(True, False)]
    assert games.show()[1] == "# @*#"


def test_solved_in_the_last_step_is_terminated_not_truncated() -> None:
    rows = ("#####", "#@$.#", "#####")
    assert played(rows, [0, 0, RIGHT], max_steps=3)[2] == [(False, False), (False, False), (True, False)]
    assert played(rows, [0, 0, LEFT], max_steps=3)[2] == [(False, False), (False, False), (False, True)]


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("push", "# $@  #", "# $ @ #"),  # nothing in the way: it walks
        ("push", "#  @$ #", "#   @$#"),
        ("push", "# @$$ #", "# @$$ #"),  # two boxes are too many
        ("push", "#   @$#", "#   @$#"),
        ("move", "#  @$ #", "#  @$ #"),  # never pushes
        ("move", "# $@  #", "# $ @ #"),
        ("pull", "# $@  #", "#  $@ #"),
        ("pull", "#$ @  #", "#$  @ #"),  # no box behind: it walks
        ("pull", "# $@$ #", "# $@$ #"),  # a box in the way stops it
        ("pull", "#   $@#", "#   $@#"),
        ("pull", "#.*@. #", "#..$+ #"),
    ],
)
def test_push_move_and_pull(action: str, before: str, after: str) -> None:
    extra = before.count("$") - before.count(".")
    below = "#" + "." * max(extra, 0) + "$" * max(-extra, 0) + "#" * (6 - abs(extra))
    for way, turned in (("right", False), ("left", True)):
        rows = tuple(row[::-1] if turned else row for row in ("#######", before, below, "#######"))
        games, _, _ = played(rows, [ACTION_SETS[13].index(f"{action} {way}")])
        assert games.show()[1] == (after[::-1] if turned else after)
    for way, turned in (("down", False), ("up", True)):
        across = [row[::-1] if turned else row for row in ("#######", before, below, "#######")]
        games, _, _ = played(tuple("".join(column) for column in zip(*across, strict=True)), [
            ACTION_SETS[13].index(f"{action} {way}")
        ])  # fmt: skip
        assert "".join(row[1] for row in games.show()) == (after[::-1] if turned else after)


@pytest.mark.parametrize("actions", [5, 9, 13])
def test_a_hundred_thousand_transitions_are_those_of_the_plain_rules(actions: int) -> None:
    rng = np.random.default_rng(actions)
    levels = crowded(rng, 350)
    games, plain = Games(levels, max_steps=90), [PlainSokoban(level.rows, max_steps=90) for level in levels]
    pushed = 0
    for _ in range(100):  # 3 · 350 · 100 = 105,000 transitions
        taken = rng.integers(actions, size=len(levels))
        before = games.boards.cells & BOX
        rewards, terminated, truncated = games.step(taken)
        pushed += int(((games.boards.cells & BOX) != before).any(1).sum())
        expected = [game.step(action) for game, action in zip(plain, taken.tolist(), strict=True)]
        np.testing.assert_allclose(rewards, [reward for reward, _, _ in expected], atol=1e-12)
        np.testing.assert_array_equal(terminated, [solved for _, solved, _ in expected])
        np.testing.assert_array_equal(truncated, [late for _, _, late in expected])
        np.testing.assert_array_equal(games.pixels, COLOURS[games.boards.cells])
    assert [games.show(number) for number in range(len(levels))] == [game.show() for game in plain]
    assert pushed > 500


def test_play_from_a_restored_state_is_bit_identical() -> None:
    rng = np.random.default_rng(3)
    games = Games(crowded(rng, 64))
    for action in rng.integers(13, size=(30, 64)):
        games.step(action)
    saved, pixels = Boards(*(array.copy() for array in games.boards)), games.pixels.copy()
    actions = rng.integers(13, size=(60, 64))
    runs = []
    for _ in range(2):
        for array, kept in zip(games.boards, saved, strict=True):
            array[:] = kept
        games.pixels[:] = pixels
        results = [tuple(array.tobytes() for array in games.step(action)) for action in actions]
        runs.append((results, [array.tobytes() for array in games.boards], games.pixels.tobytes()))
    assert runs[0] == runs[1]


def test_unpainted_games_are_the_same_games() -> None:
    rng = np.random.default_rng(4)
    levels = crowded(rng, 32)
    painted, unpainted = Games(levels), Games(levels, painted=False)
    for action in rng.integers(13, size=(100, 32)):
        for one, other in zip(painted.step(action), unpainted.step(action), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(painted.boards.cells, unpainted.boards.cells)


def test_a_level_put_into_some_games_leaves_the_others() -> None:
    levels = crowded(np.random.default_rng(5), 6)
    games = Games(levels[:4])
    for _ in range(3):
        games.step([RIGHT, LEFT, UP, DOWN])
    before = [array.copy() for array in games.boards]
    put(games.boards, np.array([3, 1]), np.stack([level.grid.reshape(-1) for level in levels]), np.array([4, 5]))
    assert (games.show(3), games.show(1)) == (levels[4].rows, levels[5].rows)
    assert games.boards.elapsed.tolist() == [3, 0, 3, 0]
    assert games.boards.missing.tolist()[1] == "".join(levels[5].rows).count("$")
    for array, kept in zip(games.boards, before, strict=True):
        np.testing.assert_array_equal(array[[0, 2]], kept[[0, 2]])
