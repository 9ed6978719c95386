from __future__ import annotations

import itertools
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import plain_generator
import pytest
from plain_sokoban import PlainSokoban

from imagine_envs.tasks.sokoban import (
    GenerationError,
    Generator,
    Level,
    LevelError,
    generate_levels,
    generator,
    shortest_plan,
)
from imagine_envs.tasks.sokoban.box_sets import (
    FIRST_SIZE,
    binomials,
    find_or_add,
    move_sorted,
    rank,
    rank_moved,
    start_table,
    table_size,
)
from imagine_envs.tasks.sokoban.reverse_play import make


def solves(level: Level, plan: tuple[int, ...] | None) -> bool:
    """Whether a plan solves a level with its last action and not before."""
    assert plan
    game = PlainSokoban(level.rows)
    return [game.step(action)[1] for action in plan] == [False] * (len(plan) - 1) + [True]


# --- the recipe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "boxes", "states", "depth"),
    [(10, 10, 4, 400, 100), (10, 10, 4, 60, 300), (7, 7, 1, 5000, 300), (6, 9, 2, 800, 12), (8, 13, 3, 300, 300)],
)
def test_levels_are_those_of_the_plain_generator(height: int, width: int, boxes: int, states: int, depth: int) -> None:
    found = 0
    for seed in range(6):
        word = (seed + 1) * 0x9E3779B97F4A7C15 % 2**64
        choose = binomials((height - 2) * (width - 2), boxes)
        grid, path, score, swaps = make(np.uint64(word), height, width, boxes, states, depth, 3, 3, 1, choose)
        rows, way_back, best, best_swaps = plain_generator.make(word, height, width, boxes, states, depth, 3, 3)
        assert (path.tolist(), score, swaps) == (way_back, best, best_swaps)
        if best:
            assert list(Level.from_grid(grid).rows) == rows
            found += 1
    assert found > 3


def test_boards_of_more_than_64_cells_are_those_of_the_plain_generator() -> None:
    grid, path, score, swaps = make(np.uint64(5), 40, 41, 2, 3000, 200, 2, 2, 1, binomials(38 * 39, 2))
    rows, way_back, best, best_swaps = plain_generator.make(5, 40, 41, 2, 3000, 200, 2, 2)
    assert (list(Level.from_grid(grid).rows), path.tolist(), score, swaps) == (rows, way_back, best, best_swaps)
    assert score > 0
    assert np.count_nonzero(grid != 1) > 64


@pytest.mark.parametrize(("size", "boxes"), [(10, 4), (7, 1), (7, 2), (8, 2), ((6, 12), 3), ((3, 9), 1), (13, 5)])
def test_plans_solve_their_levels(size: Any, boxes: int) -> None:
    maker = Generator(size, boxes, seed=11, states=1500)
    for number, level in enumerate(maker.levels(8)):
        same, played = maker.played(number)
        assert same.rows == level.rows
        assert solves(level, level.plan)
        assert solves(level, played)
        assert len(level.plan or ()) <= len(played)
        assert level.boxes == boxes
        assert level.shape == maker.shape
        assert not {"*", "+"} & set("".join(level.rows))  # nothing stands on a target


def test_backward_play_is_the_plan_where_the_shortest_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_STATES_TO_SOLVE", 3)
    maker = Generator(8, 2, seed=1)
    level = maker.level(0)
    assert level.plan == maker.played(0)[1]


def test_level_i_is_the_same_whatever_the_count_and_the_threads() -> None:
    levels = generate_levels(9, size=8, boxes=3, seed=4, states=500)
    assert generate_levels(4, size=8, boxes=3, seed=4, states=500) == levels[:4]
    assert generate_levels(9, size=8, boxes=3, seed=4, threads=3, states=500) == levels
    assert Generator(8, 3, 4, states=500).level(7) == levels[7]
    assert len({level.rows for level in [*levels, *generate_levels(9, size=8, boxes=3, seed=5, states=500)]}) == 18
    assert generate_levels(0) == []


def test_settings_make_the_same_levels_again() -> None:
    maker = Generator((7, 9), 2, seed=3, states=200, depth=40, topologies=2, placements=3, attempts=5)
    settings = maker.settings
    assert settings == {
        "size": [7, 9], "boxes": 2, "seed": 3, "states": 200, "depth": 40, "topologies": 2, "placements": 3,
        "attempts": 5,
    }  # fmt: skip
    assert Generator(**settings).level(2) == maker.level(2)


def test_more_states_give_no_lower_scores() -> None:
    def score(states: int) -> int:
        return make(np.uint64(9), 10, 10, 4, states, 300, 2, 2, 1, binomials(64, 4))[2]

    assert score(50) < score(500) <= score(5000)


# --- what cannot be made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4, "boxes": 2}, "size=4 cannot hold boxes=2: 4 cells lie within the walls; the boxes, their targets"),
        ({"size": (3, 4), "boxes": 1}, r"size=\(3, 4\) cannot hold boxes=1: 2 cells .* need 3"),
        ({"size": 2}, "size=2 must be one or two whole numbers from 3 to 100"),
        ({"size": (10, 10, 10)}, "must be one or two whole numbers"),
        ({"size": 10.0}, "must be one or two whole numbers"),
        ({"size": "10"}, "must be one or two whole numbers"),
        ({"size": 40, "boxes": 30}, "30 boxes on 1444 cells stand in more ways than 63 bits can number"),
        ({"boxes": 0}, "boxes=0 must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"states": 0}, "states=0"),
        ({"depth": 2.5}, "depth=2.5"),
        ({"topologies": True}, "topologies=True"),
        ({"placements": 0}, "placements=0"),
        ({"attempts": 0}, "attempts=0"),
        ({"count": -1}, "count=-1"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_what_makes_no_sense_is_said_before_any_search(
    arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "make", None)
    with pytest.raises(ValueError, match=message) as raised:
        generate_levels(**{"count": 1, **arguments})
    assert not isinstance(raised.value, GenerationError)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_cannot_succeed_stops(threads: int) -> None:
    # In a room of 2 × 2 cells no box can be pulled: the player would have to stand beyond it.
    with pytest.raises(GenerationError, match="no level of 4 × 4 cells with 1 boxes came out of 20 attempts"):
        generate_levels(1000, size=4, boxes=1, threads=threads)


def test_a_failed_attempt_is_tried_anew() -> None:
    maker = Generator(5, 2, seed=0, topologies=1, placements=1, attempts=1)
    numbers = []
    for number in range(40):
        try:
            maker.level(number)
        except GenerationError:
            numbers.append(number)
    assert 0 < len(numbers) < 40
    patient = replace(maker, attempts=200)
    assert all(solves(level, level.plan) for level in map(patient.level, numbers[:5]))


# --- sets of boxes --------------------------------------------------------------------------------------------------


def test_ranks_number_the_sets_of_a_size_without_gaps() -> None:
    choose = binomials(9, 4)
    sets = [np.array(members) for members in itertools.combinations(range(9), 4)]
    assert sorted(int(rank(members, choose)) for members in sets) == list(range(126))
    for members in sets:
        for gone in members.tolist():
            for come in set(range(9)) - set(members.tolist()):
                moved = np.array(sorted({*members.tolist(), come} - {gone}))
                assert rank_moved(members, gone, come, choose) == rank(moved, choose)
                changed = members.copy()
                move_sorted(changed, gone, come)
                np.testing.assert_array_equal(changed, moved)


def test_the_table_of_sets_is_a_dict_however_much_it_grows() -> None:
    keys_given = np.random.default_rng(0).integers(3000, size=9000).astype(np.uint64) << np.uint64(40)
    table, keys = np.empty(table_size(4000), dtype=np.int32), np.empty(4001, dtype=np.uint64)
    seen = np.full((4001, 2), 7, dtype=np.uint64)
    start_table(table, keys, seen, keys_given[0])
    expected, size = {int(keys_given[0]): 0}, FIRST_SIZE
    for key in keys_given:
        number, size = find_or_add(table, size, keys, seen, key, len(expected))
        assert number == expected.setdefault(int(key), len(expected))
    assert size >= 2 * len(expected) > 4 * FIRST_SIZE
    assert not seen[: len(expected)].any()


# --- the solver -----------------------------------------------------------------------------------------------------


def plain_shortest(level: Level) -> int | None:
    start = PlainSokoban(level.rows)
    queue, seen = deque([(start.player, frozenset(start.boxes), 0)]), {(start.player, frozenset(start.boxes))}
    while queue:
        player, boxes, steps = queue.popleft()
        for action in range(1, 5):
            start.player, start.boxes = player, set(boxes)
            if start.step(action)[1]:
                return steps + 1
            state = (start.player, frozenset(start.boxes))
            if state not in seen:
                seen.add(state)
                queue.append((*state, steps + 1))
    return None


def test_plans_are_as_short_as_any() -> None:
    rng = np.random.default_rng(2)
    solvable = 0
    for _ in range(120):
        inside = rng.choice(list("          #"), size=(4, 5))
        places = rng.permutation(20)
        for place, symbol in zip(places, "@$$..", strict=False):
            inside.flat[place] = symbol
        level = Level(("#######", *(f"#{''.join(row)}#" for row in inside), "#######"))
        plan, expected = shortest_plan(level), plain_shortest(level)
        assert (None if plan is None else len(plan)) == expected
        if plan is not None:
            assert solves(level, plan)
            solvable += 1
    assert 10 < solvable < 110


def test_levels_that_nobody_can_solve() -> None:
    assert shortest_plan(Level("######\n#@$ .#\n######")) == (4, 4)
    assert shortest_plan(Level("######\n#$@ .#\n######")) is None  # the box is in a corner
    assert shortest_plan(Level("#########\n#@  #$ .#\n#########")) is None  # nobody gets at it
    assert shortest_plan(Level("########\n#@$ #.##\n########")) is None  # it does not get there
    with pytest.raises(LevelError, match=r"10 states do not tell whether the level can be solved:\n####"):
        shortest_plan(Level("##########\n#@ $    .#\n#        #\n##########"), states=10)
