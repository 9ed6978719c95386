"""The tables of a tabular world, against dictionaries and lists."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from imagine_envs.world_models.tabular import Tables, Tabular, draw, expected, learn
from imagine_envs.world_models.tabular.faults import fault

STATES, ACTIONS = 6, 3


class Book:
    """What was seen, kept the plain way."""

    def __init__(self, stochastic: bool) -> None:
        self.stochastic = stochastic
        self.outcomes: dict[tuple[int, int], dict[tuple[int, bool], list[float]]] = {}
        self.tried: dict[int, list[int]] = {}

    def note(self, state: int, action: int, reward: float, successor: int, terminated: bool) -> None:
        seen = self.outcomes.setdefault((state, action), {})
        actions = self.tried.setdefault(state, [])
        if action not in actions:
            actions.append(action)
        outcome = (successor, terminated)
        if not self.stochastic and outcome not in seen:
            seen.clear()
        seen.setdefault(outcome, []).append(reward)

    def predecessors(self, state: int) -> set[tuple[int, int]]:
        return {pair for pair, seen in self.outcomes.items() if (state, False) in seen}


def model(stochastic: bool) -> Tabular:
    return Tabular(spaces.Discrete(STATES), spaces.Discrete(ACTIONS), stochastic=stochastic)


def steps(count: int, seed: int = 0) -> list[tuple[int, int, float, int, bool]]:
    rng = np.random.default_rng(seed)
    return [
        (int(s), int(a), float(r), int(t), bool(e))
        for s, a, r, t, e in zip(
            rng.integers(STATES - 1, size=count),  # nothing is ever tried in the last state
            rng.integers(ACTIONS, size=count),
            rng.normal(size=count),
            rng.integers(STATES, size=count),
            rng.random(count) < 0.2,
            strict=True,
        )
    ]


def listed(tables: Tables, state: int) -> list[tuple[int, int]]:
    """The pairs in a state's list of predecessors, in order, the links backwards checked."""
    found, slot, before = [], int(tables.head[state]), -1
    while slot >= 0:
        assert tables.previous[slot] == before
        place = np.unravel_index(slot, tables.count.shape)
        assert tables.successor[place] == state
        found.append((int(place[0]), int(place[1])))
        slot, before = int(tables.next[slot]), slot
    return found


@pytest.mark.parametrize("stochastic", [False, True], ids=["last outcome", "counts"])
@pytest.mark.parametrize("count", [1, 5, 40, 400])
def test_tables_hold_what_was_seen(stochastic: bool, count: int) -> None:
    world, book, tables = model(stochastic), Book(stochastic), None
    for step in steps(count, seed=count):
        book.note(*step)
        tables = world.tables
        while not learn(tables, stochastic, *step):
            world.grow()
            tables = world.tables
    assert tables is not None
    assert (tables.count.shape[2] > 1) == (stochastic and count > 5)
    for state in range(STATES):
        for action in range(ACTIONS):
            seen = book.outcomes.get((state, action), {})
            used = int((tables.count[state, action] > 0).sum())
            found = [
                (
                    (int(tables.successor[state, action, k]), bool(tables.terminated[state, action, k])),
                    int(tables.count[state, action, k]),
                    float(tables.reward[state, action, k]),
                )
                for k in range(used)
            ]
            kept = [
                (outcome, len(rewards), np.mean(rewards) if stochastic else rewards[-1])
                for outcome, rewards in seen.items()
            ]
            assert [part[:2] for part in found] == [part[:2] for part in kept]
            np.testing.assert_allclose([part[2] for part in found], [part[2] for part in kept], rtol=1e-12)
            assert not tables.count[state, action, used:].any()
        predecessors = listed(tables, state)
        assert len(predecessors) == len(set(predecessors))
        assert set(predecessors) == book.predecessors(state)
    assert tables.states[: tables.num_states[0]].tolist() == list(book.tried)
    for state, tried in book.tried.items():
        assert tables.actions[state, : tables.num_actions[state]].tolist() == tried
    assert fault(tables) is None


def test_room_for_more_outcomes_changes_nothing_else() -> None:
    """A world that grew on the way equals one that had the room from the beginning, order of the lists included."""
    grown, roomy = model(True), model(True)
    for _ in range(4):
        roomy.grow()
    for step in steps(300):
        while not learn(grown.tables, True, *step):
            grown.grow()
        assert learn(roomy.tables, True, *step)
    slots = grown.tables.count.shape[2]
    assert 1 < slots <= 16
    for name in ("successor", "count", "reward", "terminated"):
        np.testing.assert_array_equal(getattr(grown.tables, name), getattr(roomy.tables, name)[..., :slots])
    for name in ("states", "num_states", "actions", "num_actions"):
        np.testing.assert_array_equal(getattr(grown.tables, name), getattr(roomy.tables, name))
    for state in range(STATES):
        assert listed(grown.tables, state) == listed(roomy.tables, state)


def test_a_full_pair_is_left_as_it_was() -> None:
    world = model(True)
    assert learn(world.tables, True, 0, 0, 1.0, 1, False)
    before = {name: tensor.clone() for name, tensor in world.state_dict().items()}
    assert not learn(world.tables, True, 0, 0, 1.0, 2, False)
    assert not learn(world.tables, True, 0, 0, 1.0, 1, True)  # the same successor, but the episode ends there
    assert all(tensor.equal(before[name]) for name, tensor in world.state_dict().items())
    assert learn(world.tables, True, 0, 0, 3.0, 1, False)
    assert world.tables.reward[0, 0, 0] == 2.0


def test_the_tables_are_the_models_own_memory() -> None:
    world = model(False)
    learn(world.tables, False, 2, 1, 0.5, 3, False)
    assert world.table_count[2, 1].tolist() == [1]
    assert world.table_reward[2, 1].tolist() == [0.5]
    assert all(array.flags.c_contiguous for array in world.tables)


def test_a_draw_follows_the_counts() -> None:
    world = model(True)
    world.learn([0] * 10, [1] * 10, [0.0] * 10, [1, 2, 2, 3, 3, 3, 3, 3, 3, 3], [False] * 10)
    # Of ten equal parts of [0, 1) one belongs to the first outcome, two to the second, seven to the third.
    middles = (np.arange(10) + 0.5) / 10
    assert [draw(world.tables.count, 0, 1, number) for number in middles] == [0, 1, 1, *[2] * 7]
    assert draw(world.tables.count, 0, 1, np.nextafter(1.0, 0.0)) == 2
    assert draw(world.tables.count, 0, 1, 0.0) == 0
    assert draw(world.tables.count, 0, 0, 0.5) == -1


@pytest.mark.parametrize("stochastic", [False, True])
def test_an_expected_backup_weighs_outcomes_and_stops_at_the_end(stochastic: bool) -> None:
    world, book = model(stochastic), Book(stochastic)
    for step in steps(200):
        book.note(*step)
    world.learn(*(list(part) for part in zip(*steps(200), strict=True)))
    values, gamma = np.random.default_rng(1).normal(size=STATES), 0.9
    for state in range(STATES):
        for action in range(ACTIONS):
            seen = book.outcomes.get((state, action))
            if seen is None:
                wanted = gamma * values[state]
            else:
                backups = [
                    (np.mean(rewards) if stochastic else rewards[-1]) + (0.0 if ended else gamma * values[successor])
                    for (successor, ended), rewards in seen.items()
                ]
                wanted = np.average(backups, weights=[len(rewards) for rewards in seen.values()])
            assert expected(world.tables, values, gamma, state, action) == pytest.approx(wanted, rel=1e-12)


def broken(name: str, value: object, *place: int) -> Tables:
    """Whole tables of a small world in which one number was changed."""
    world = model(True)
    # 0 -a0-> 1, 1 -a0-> 1 (both lead to 1, in one list), 1 -a2-> the end in 4
    world.learn([0, 1, 1], [0, 0, 2], [0.0, 1.0, 2.0], [1, 1, 4], [False, False, True])
    assert fault(world.tables) is None
    getattr(world.tables, name)[place] = value
    return world.tables


FIRST, SECOND = 0, ACTIONS  # flat numbers of the slots (0, 0, 0) and (1, 0, 0): one outcome for each pair


@pytest.mark.parametrize(
    ("name", "value", "place", "said"),
    [
        ("count", -1, (2, 0, 0), "negative"),
        ("successor", STATES, (0, 0, 0), "successor"),
        ("successor", -1, (0, 0, 0), "successor"),
        ("reward", np.nan, (0, 0, 0), "reward"),
        ("count", 1, (2, 0, 0), "list of states"),
        ("states", 3, (0,), "list of states"),
        ("states", 1, (0,), "list of states"),
        ("num_states", 1, (0,), "list of states"),
        ("num_states", -1, (0,), "list of states"),
        ("num_states", STATES + 1, (0,), "list of states"),
        ("num_actions", 2, (0,), "numbers of tried actions"),
        ("actions", ACTIONS, (0, 0), "a tried action"),
        ("actions", 1, (0, 0), "lists of tried actions"),
        ("actions", 0, (1, 1), "lists of tried actions"),
        ("head", STATES * ACTIONS, (1,), "leaves"),
        ("next", -2, (SECOND,), "leaves"),
        ("head", -1, (1,), "not those of the outcomes"),
        ("head", FIRST, (2,), "not those of the outcomes"),
        ("head", FIRST, (1,), "not those of the outcomes"),
        ("next", -1, (SECOND,), "not those of the outcomes"),
        ("next", SECOND, (FIRST,), "not those of the outcomes"),
        ("next", 8, (SECOND,), "not those of the outcomes"),
        ("previous", -1, (FIRST,), "not those of the outcomes"),
        ("previous", 5, (FIRST,), "not those of the outcomes"),
        ("successor", 2, (0, 0, 0), "not those of the outcomes"),
        ("terminated", True, (0, 0, 0), "not those of the outcomes"),
        ("terminated", False, (1, 2, 0), "not those of the outcomes"),
    ],
)
def test_a_change_in_the_tables_is_found(name: str, value: object, place: tuple[int, ...], said: str) -> None:
    assert said in str(fault(broken(name, value, *place)))


def test_an_empty_slot_before_a_used_one_is_found() -> None:
    world = model(True)
    world.grow()
    world.learn([0], [0], [0.0], [1], [False])
    world.tables.count[0, 0] = [0, 1]
    assert "after an empty one" in str(fault(world.tables))


def test_numbers_that_are_no_states_are_refused() -> None:
    world = model(False)
    for name, step in {
        "state": (STATES, 0, 0.0, 0, False),
        "action": (0, -1, 0.0, 0, False),
        "successor": (0, 0, 0.0, STATES, False),
    }.items():
        with pytest.raises(ValueError, match=f"a {name} is not one of 0 to"):
            world.learn(*([part] for part in step))
    assert not world.tables.count.any()
