from __future__ import annotations

import numpy as np
import pytest
from plain_sokoban import PlainSokoban

from imagine_envs.tasks.sokoban import Level
from imagine_envs.tasks.sokoban.kernel import ACTION_SETS, observe, place, refresh, step
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL

UP, DOWN, LEFT, RIGHT = 1, 2, 3, 4
LOOKS = np.random.default_rng(1).integers(256, size=(16, 1, 3), dtype=np.uint8)


class Games:
    """A batch of games, a picture of each, and the clock that the faces keep."""

    def __init__(self, levels: list[Level]) -> None:
        grids = np.stack([level.grid.reshape(-1) for level in levels])
        self.width, count, every = levels[0].shape[1], len(levels), np.arange(len(levels))
        self.cells = np.zeros_like(grids)
        self.player, self.before, self.missing = np.zeros((3, count), dtype=np.int32)
        self.boards = (self.cells, self.player, self.before, self.missing)
        place(*self.boards, every, grids, every)
        self.pixels = np.zeros((count, grids.shape[1] * 3), dtype=np.uint8)
        self.drawing = (LOOKS, np.arange(grids.shape[1]) * 3, self.width * 3)
        observe(self.cells, every, *self.drawing, self.pixels)

    def step(self, actions: list[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        reward, terminated = np.full(len(self.cells), np.nan), np.ones(len(self.cells), dtype=bool)
        step(*self.boards, np.asarray(actions), self.width, reward, terminated)
        refresh(self.cells, self.player, self.before, self.width, *self.drawing, self.pixels)
        return reward, terminated

    def show(self, game: int = 0) -> tuple[str, ...]:
        symbols = dict(
            zip([WALL, 0, BOX, TARGET, BOX | TARGET, PLAYER, PLAYER | TARGET], "# $.*@+", strict=True)
        )  # not those of levels.py, which are under test too
        cells = self.cells[game].reshape(-1, self.width)
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


def played(rows: tuple[str, ...], actions: list[int]) -> tuple[Games, list[float], list[bool]]:
    games = Games([Level(rows)])
    results = [games.step([action]) for action in actions]
    return games, [float(reward[0]) for reward, _ in results], [bool(terminated[0]) for _, terminated in results]


def test_the_sets_of_actions() -> None:
    assert {number: len(names) for number, names in ACTION_SETS.items()} == {5: 5, 9: 9, 13: 13}
    assert ACTION_SETS[5] == ("noop", "up", "down", "left", "right")
    assert ACTION_SETS[13][:9] == ACTION_SETS[9]
    assert ACTION_SETS[13] == ("noop", *(f"{k} {w}" for k in ("push", "move", "pull") for w in ACTION_SETS[5][1:]))


def test_rewards_of_boxes_on_and_off_their_targets() -> None:
    rows = ("########", "#@$. $.#", "########")
    games, rewards, ends = played(rows, [0, LEFT, RIGHT, RIGHT, RIGHT, RIGHT])
    assert rewards == pytest.approx([-0.1, -0.1, 0.9, -1.1, -0.1, -0.1])
    assert ends == [False] * 6
    assert games.show() == ("########", "#  +$$.#", "########")


def test_the_last_box_gives_ten_more_and_ends_the_episode() -> None:
    games, rewards, ends = played(("#####", "#@$.#", "#####"), [RIGHT])
    assert rewards == pytest.approx([10.9])
    assert ends == [True]
    assert games.show()[1] == "# @*#"


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
    games, plain = Games(levels), [PlainSokoban(level.rows) for level in levels]
    pushed = 0
    for _ in range(100):  # 3 · 350 · 100 = 105,000 transitions
        taken = rng.integers(actions, size=len(levels))
        boxes = games.cells & BOX
        rewards, terminated = games.step(taken)
        pushed += int(((games.cells & BOX) != boxes).any(1).sum())
        expected = [game.step(action) for game, action in zip(plain, taken.tolist(), strict=True)]
        np.testing.assert_allclose(rewards, [reward for reward, _ in expected], atol=1e-12)
        np.testing.assert_array_equal(terminated, [solved for _, solved in expected])
        np.testing.assert_array_equal(games.pixels, LOOKS[games.cells].reshape(len(levels), -1))
    assert [games.show(number) for number in range(len(levels))] == [game.show() for game in plain]
    assert pushed > 500


def test_a_board_without_walls_around_it_is_left_by_nobody() -> None:
    cells = np.zeros((13, 12), dtype=np.uint8)  # 3 rows of 4; what an observation may claim, and no level may
    cells[:, 5], cells[:, 1], cells[:, 9], cells[:, 4], cells[:, 6] = PLAYER, BOX, BOX, BOX, BOX
    around = np.zeros((13, 60), dtype=np.uint8)
    around[:, 24:36] = cells
    inner = around[:, 24:36]
    player, before, missing = np.full(13, 5, np.int32), np.zeros(13, np.int32), np.full(13, 4, np.int32)
    rng = np.random.default_rng(0)
    for _ in range(300):
        step(inner, player, before, missing, rng.permutation(13), 4, np.zeros(13), np.zeros(13, dtype=bool))
        assert ((player >= 0) & (player < 12)).all()
        assert (np.count_nonzero(inner & PLAYER, axis=1) == 1).all()
        assert (np.count_nonzero(inner & BOX, axis=1) == 4).all()
    assert not around[:, :24].any()
    assert not around[:, 36:].any()


def test_a_level_put_into_some_games_leaves_the_others() -> None:
    levels = crowded(np.random.default_rng(5), 6)
    games = Games(levels[:4])
    for _ in range(3):
        games.step([RIGHT, LEFT, UP, DOWN])
    kept = [array.copy() for array in games.boards]
    place(*games.boards, np.array([3, 1]), np.stack([level.grid.reshape(-1) for level in levels]), np.array([4, 5]))
    assert (games.show(3), games.show(1)) == (levels[4].rows, levels[5].rows)
    assert games.missing.tolist()[1] == "".join(levels[5].rows).count("$")
    assert games.before.tolist()[1] == games.player.tolist()[1]
    for array, old in zip(games.boards, kept, strict=True):
        np.testing.assert_array_equal(array[[0, 2]], old[[0, 2]])
