"""Planning at decision time, against recursion by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from imagine_agents.planners import LookAhead, Planner, Rollouts
from imagine_envs.tasks import TaskVectorEnv
from imagine_envs.tasks.mazes import DynaMaze, GridMaze, TrajectorySampling
from imagine_envs.world_models import CopyModel, PerfectModel, Tabular
from imagine_envs.world_models.protocol import Prediction, State, WorldModel

GAMMA = 0.9


def chance_world(states: int = 7, actions: int = 3, steps: int = 60) -> tuple[Tabular, Tensor]:
    """A counted world with several outcomes, ends and untried pairs, and some value of its states."""
    rng = np.random.default_rng(0)
    model = Tabular(spaces.Discrete(states), spaces.Discrete(actions), stochastic=True)
    model.learn(
        rng.integers(states, size=steps),
        rng.integers(actions, size=steps),
        rng.normal(size=steps),
        rng.integers(states, size=steps),
        rng.random(steps) < 0.2,
    )
    assert 0 < (model.tables.count[:, :, 0] == 0).sum() < states * actions
    assert (model.tables.count[:, :, 1] > 0).any()
    return model, torch.from_numpy(rng.normal(size=states))


def by_hand(model: Tabular, value: Tensor, state: int, action: int, depth: int) -> float:
    """Q_depth, as it is written down."""
    tables = model.tables
    total = int(tables.count[state, action].sum())
    outcomes = [
        (
            tables.count[state, action, k] / total,
            tables.reward[state, action, k],
            int(tables.successor[state, action, k]),
            bool(tables.terminated[state, action, k]),
        )
        for k in range(tables.count.shape[2])
        if tables.count[state, action, k]
    ] or [(1.0, 0.0, state, False)]
    result = 0.0
    for probability, reward, successor, ended in outcomes:
        if ended:
            beyond = 0.0
        elif depth == 1:
            beyond = float(value[successor])
        else:
            beyond = max(by_hand(model, value, successor, other, depth - 1) for other in range(model.num_actions))
        result += probability * (reward + GAMMA * beyond)
    return result


def at(table: Tensor) -> Any:
    return lambda state: table[state["index"]]


def known_maze(task: GridMaze) -> Tabular:
    """All of a maze, learned."""
    model = Tabular(task.observation_space, task.action_space)
    state, action = (part.reshape(-1) for part in np.indices(task.successors.shape[1:3]))
    after = task.successors[0, state, action, 0]
    model.learn(state, action, task.rewards[0, state, action, 0], after, task.terminal[after])
    return model


# --- full width -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_expectations_over_counts_are_exact(depth: int) -> None:
    model, value = chance_world()
    index = torch.tensor([3, 0, 6, 0])
    found = LookAhead(model, gamma=GAMMA, depth=depth, value=at(value)).action_values({"index": index})
    wanted = [[by_hand(model, value, state, action, depth) for action in range(3)] for state in index.tolist()]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_deep_search_finds_the_optimal_values() -> None:
    """Depth 60 leaves 0.5^60 of a wrong leaf value, so that nothing but the Bellman equation remains."""
    model, value = chance_world()
    every = {"index": torch.arange(7)}
    deep = LookAhead(model, gamma=0.5, depth=60, value=at(value)).action_values(every)
    one_more = LookAhead(model, gamma=0.5, depth=1, value=at(deep.max(1).values)).action_values(every)
    np.testing.assert_allclose(one_more, deep, rtol=1e-12)


@pytest.mark.parametrize("rows", [16_384, 9, 1])
def test_a_sampled_search_of_a_deterministic_world_is_the_exact_one(rows: int) -> None:
    task = DynaMaze()
    value = torch.from_numpy(np.random.default_rng(0).normal(size=54))
    exact = LookAhead(known_maze(task), gamma=GAMMA, depth=3, value=at(value))
    perfect = PerfectModel.for_env("Imagine/DynaMaze-v0")
    sampled = LookAhead(perfect, gamma=GAMMA, depth=3, value=lambda state: value[state["state"]], rows=rows)
    cells = torch.tensor([18, 7, 34, 17])  # 17 lies below the goal
    start = perfect.observe(perfect.initial(4), torch.zeros(4).long(), cells, torch.ones(4, dtype=torch.bool))
    wanted = exact.action_values({"index": cells})
    np.testing.assert_allclose(sampled.action_values(start), wanted, rtol=1e-6)
    assert wanted[3].tolist()[0] == 1.0  # the goal earns 1, and nothing follows


def test_samples_come_near_the_expectation() -> None:
    task = TrajectorySampling(states=6, branching=2, instance=1)
    value = torch.zeros(7, dtype=torch.float64)
    value[:6] = torch.linspace(-1, 1, 6)
    perfect = PerfectModel.for_env(gym.make("Imagine/TrajectorySampling-v0", states=6, branching=2, instance=1))
    planner = LookAhead(perfect, gamma=1.0, depth=1, value=lambda state: value[state["state"]], samples=20_000)
    found = planner.action_values(perfect.initial(1))[0]
    wanted = [
        0.9 * float(np.mean(task.rewards[0, 0, action] + value.numpy()[task.successors[0, 0, action]]))
        for action in range(2)
    ]
    np.testing.assert_allclose(found, wanted, atol=0.05)


class Fading(WorldModel):
    """x' = 2 x + a with a in {1, 2}; earns x', and ends with probability 0.25."""

    family: ClassVar[str] = "fading"
    markov = True

    def __init__(self) -> None:
        super().__init__(spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2, start=1))

    def initial(self, batch_size: int) -> State:
        return {"x": torch.zeros(batch_size, dtype=torch.float64)}

    def observe(self, state: State, action: Tensor, observation: Any, first: Tensor, **options: Any) -> State:
        return {"x": observation[:, 0].double()}

    def imagine(self, state: State, action: Tensor, **options: Any) -> tuple[State, Prediction]:
        x = 2 * state["x"] + action
        return {"x": x}, Prediction(x, torch.full_like(x, 0.25))

    def features(self, state: State) -> Tensor:
        return state["x"][:, None].float()


def test_a_likely_end_weighs_what_would_follow() -> None:
    planner = LookAhead(Fading(), gamma=0.5, depth=2, value=lambda state: 10 * state["x"])
    # After a: x' = a, then the better action 2: x'' = 2 a + 2, worth r + γ · 0.75 · 10 x''.
    wanted = [[a + 0.375 * (1 + 3.75) * (2 * a + 2) for a in (1, 2)]]
    np.testing.assert_allclose(planner.action_values({"x": torch.zeros(1).double()}), wanted)
    rollouts = Rollouts(
        Fading(), lambda state, generator: torch.ones(len(state["x"])).long(), gamma=0.5, depth=2,
        value=lambda state: 10 * state["x"],
    )  # fmt: skip
    wanted = [[a + 0.375 * (1 + 3.75) * (2 * a + 1) for a in (1, 2)]]
    np.testing.assert_allclose(rollouts.action_values({"x": torch.zeros(1).double()}), wanted)
    assert planner.act({"x": torch.zeros(3).double()}).tolist() == [2, 2, 2]  # in the environment's numbering


# --- rollouts -------------------------------------------------------------------------------------------------------


def test_rollouts_of_a_deterministic_policy_are_exact() -> None:
    """To the right and to the right again, from below the goal's row and from the bottom."""
    model = known_maze(DynaMaze())
    planner = Rollouts(model, lambda state, generator: torch.full_like(state["index"], 0), gamma=GAMMA, depth=4)
    cells = {"index": torch.tensor([3 * 9 + 8, 4 * 9 + 8, 5 * 9 + 8])}
    # The policy goes up; n cells below the goal the nth step earns 1, and a step aside or against the edge costs one.
    up = [GAMMA**2, GAMMA**3, 0.0]
    stay = [GAMMA**3, 0.0, 0.0]
    found = planner.action_values(cells)
    np.testing.assert_allclose(found[:, 0], up, rtol=1e-6)
    np.testing.assert_allclose(found[:, 3], stay, rtol=1e-6)


def test_rollouts_come_near_the_value_of_their_policy() -> None:
    model, _ = chance_world()
    planner = Rollouts(model, gamma=0.5, depth=30, times=4_000)
    found = planner.action_values({"index": torch.tensor([0, 3])})
    values = torch.zeros(7, dtype=torch.float64)
    one_step = LookAhead(model, gamma=0.5, depth=1, value=lambda state: values[state["index"]])
    for _ in range(60):  # the value of acting at random, by iteration
        values = one_step.action_values({"index": torch.arange(7)}).mean(1)
    wanted = one_step.action_values({"index": torch.tensor([0, 3])})
    np.testing.assert_allclose(found, wanted, atol=0.08)
    assert wanted.std() > 0.2


# --- acting ---------------------------------------------------------------------------------------------------------


def known_near_the_goal(task: GridMaze, sweeps: int) -> Tensor:
    """Values after a few sweeps of value iteration: 0 in all that is further from the goal than ``sweeps`` steps."""
    model, values = known_maze(task), torch.zeros(54, dtype=torch.float64)
    for _ in range(sweeps):
        step = LookAhead(model, gamma=0.95, depth=1, value=at(values))
        values = step.action_values({"index": torch.arange(54)}).max(1).values
    assert 0 < (values > 0).sum() < 30
    return values


@pytest.mark.parametrize("kind", ["tabular", "perfect", "rollouts"])
def test_deeper_is_better(kind: str) -> None:
    """The goal is 14 steps away, and values know the last six: with eight steps more the way is found at once."""
    values, size = known_near_the_goal(DynaMaze(), 6), 10
    steps = []
    for depth in (1, 5) if kind == "perfect" else (1, 8):
        planner: Planner
        if kind == "rollouts":
            planner = Rollouts(known_maze(DynaMaze()), gamma=0.95, depth=depth, times=40, value=at(values))
        elif kind == "perfect":
            planner = LookAhead(PerfectModel.for_env("Imagine/DynaMaze-v0"), gamma=0.95, depth=depth,
                                value=lambda state: values[state["state"]])  # fmt: skip
        else:
            planner = LookAhead(known_maze(DynaMaze()), gamma=0.95, depth=depth, value=at(values))
        steps.append(played(planner, size))
    if kind == "tabular":
        assert steps[1] == 14.0
    assert steps[1] < 0.7 * steps[0], steps


def played(planner: Planner, size: int, most: int = 150) -> float:
    """Mean steps to the goal, all episodes side by side; ``most`` for those that take longer."""
    env = TaskVectorEnv(DynaMaze(), size)
    observation, _ = env.reset(seed=0)
    steps = np.full(size, most)
    for step in range(most):
        action, _ = planner.predict(observation)
        observation, _, terminated, _, _ = env.step(action)
        steps[terminated] = np.minimum(steps[terminated], step + 1)
    return float(steps.mean())


def test_planners_play_under_stable_baselines() -> None:
    planner = LookAhead(
        PerfectModel.for_env("CartPole-v1"), gamma=1.0, depth=4, value=lambda state: -state["state"][:, 2].abs()
    )
    mean, _ = evaluate_policy(planner, gym.make("CartPole-v1", max_episode_steps=60), n_eval_episodes=3, warn=False)
    assert mean == 60.0
    shallow = LookAhead(PerfectModel.for_env("CartPole-v1"), gamma=1.0, depth=1)  # all actions earn 1
    assert (
        evaluate_policy(shallow, gym.make("CartPole-v1", max_episode_steps=60), n_eval_episodes=3, warn=False)[0] < 50
    )


def test_equally_good_actions_are_taken_equally_often_and_reproducibly() -> None:
    model = Tabular(spaces.Discrete(2, start=3), spaces.Discrete(3, start=-1))
    model.learn([0, 0, 0], [0, 1, 2], [1.0, 0.0, 1.0], [1, 1, 1], [True, True, True])
    state = {"index": torch.zeros(2_000, dtype=torch.int64)}
    first, again, other = (LookAhead(model, gamma=0.9, depth=1, seed=seed).act(state) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first == -1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not (first == 0).any()
    action, _ = LookAhead(model, gamma=0.9, depth=1).predict(np.int64(3))
    assert action in (-1, 1)
    assert np.ndim(action) == 0


PARTS = spaces.Dict({"a": spaces.Box(-9, 9, (2,), np.float32), "b": spaces.Box(0, 3, (), np.float32)})


@pytest.mark.parametrize("rows", [None, 1, 2, 4])
def test_one_observation_of_parts_gets_one_action(rows: int | None) -> None:
    planner = LookAhead(CopyModel(PARTS, spaces.Discrete(3)), gamma=0.9, depth=2)
    shape = () if rows is None else (rows,)
    actions, _ = planner.predict({"a": np.zeros((*shape, 2), np.float32), "b": np.zeros(shape, np.float32)})
    assert actions.shape == shape


@pytest.mark.parametrize(
    ("model", "seen", "said"),
    [
        (CopyModel(PARTS, spaces.Discrete(3)), {"a": np.zeros((4, 2)), "b": np.zeros(())}, "the same number of rows"),
        (CopyModel(PARTS, spaces.Discrete(3)), {"a": np.zeros((4, 2)), "b": np.zeros(3)}, r"\(3,\)\]; the same number"),
        (CopyModel(PARTS, spaces.Discrete(3)), {"a": np.zeros(3), "b": np.zeros(())}, r"shape .*3.* for key a"),
        (CopyModel(PARTS["a"], spaces.Discrete(3)), np.zeros(3), r"Unexpected observation shape .*3"),
        (CopyModel(PARTS["a"], spaces.Discrete(3)), np.zeros((1, 4, 2)), r"Unexpected observation shape .*1, 4, 2"),
        (chance_world()[0], np.zeros((2, 1)), r"Unexpected observation shape .*2, 1"),
    ],
)
def test_observations_of_another_shape_are_refused(model: WorldModel, seen: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LookAhead(model, gamma=0.9, depth=1).predict(seen)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 0}, "depth=0 must be a whole number of at least 1"),
        ({"gamma": 1.5}, r"gamma=1.5 must lie in \[0, 1\]"),
        ({"samples": 0}, "samples=0 must be a whole number of at least 1"),
        ({"rows": 0}, "rows=0 must be a whole number of at least 1"),
        ({"times": 0}, "times=0 must be a whole number of at least 1"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    kind: Any = Rollouts if "times" in options else LookAhead
    with pytest.raises(ValueError, match=said):
        kind(chance_world()[0], **{"gamma": 0.9, "depth": 2, **options})


def test_worlds_that_cannot_be_planned_in() -> None:
    with pytest.raises(ValueError, match="a Discrete was expected"):
        LookAhead(PerfectModel.for_env("Pendulum-v1"), gamma=0.9, depth=1)
    recurrent = Fading()
    recurrent.markov = False
    with pytest.raises(ValueError, match="the state of a Fading world needs a history"):
        LookAhead(recurrent, gamma=0.9, depth=1).predict(np.zeros((1, 1)))
