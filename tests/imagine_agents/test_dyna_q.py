"""Dyna-Q as an SB3 algorithm: acting, planning, saving and resuming, worlds, bad input."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from plain_dyna import Chance
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import imagine_envs  # noqa: F401 - registers the ids
from imagine_agents import DynaQ
from imagine_agents.common.checkpoint import load_checkpoint, save_checkpoint
from imagine_agents.dyna_q import TabularPolicy, kernels
from imagine_agents.dyna_q.queue import pop, rise
from imagine_envs.dreams import Dream
from imagine_envs.tasks import TaskEnv
from imagine_envs.tasks.mazes import GridMaze, TrajectorySampling
from imagine_envs.world_models import World

CONSTANT = {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1}


def agent(env: Any = None, **kwargs: Any) -> DynaQ:
    return DynaQ("TabularPolicy", Chance() if env is None else env, **{"seed": 0, **CONSTANT, **kwargs})


def everything(model: DynaQ) -> dict[str, Any]:
    """All that decides what the agent does next."""
    parts = {"policy": model.policy, "memory": model.memory, "world_model": model.world_model}
    flat = {f"{part}.{name}": value.tolist() for part, m in parts.items() for name, value in m.state_dict().items()}
    return {**flat, "steps": model.num_timesteps, "episodes": model._episode_num, "stands": model._last_obs.tolist()}  # type: ignore[union-attr]


class Script(gym.Env):
    """Plays given steps, whatever is done: (reward, successor, terminated, truncated); episodes begin in state 0."""

    def __init__(self, steps: list[tuple[float, int, bool, bool]], states: int = 4, actions: int = 1) -> None:
        self.observation_space, self.action_space = spaces.Discrete(states), spaces.Discrete(actions)
        self.steps = iter(steps)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        reward, successor, terminated, truncated = next(self.steps)
        return successor, reward, terminated, truncated, {}


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [(True, False, 1.0), (False, True, 1.0 + 0.5 * 4.0), (True, True, 1.0)],
    ids=["termination", "time limit", "both at once"],
)
def test_a_time_limit_is_bootstrapped_from_and_a_termination_is_not(
    terminated: bool, truncated: bool, expected: float
) -> None:
    """The state that is left counts, not the one that the environment was reset to (whose value is 64)."""
    model = agent(Script([(1.0, 3, terminated, truncated)]), learning_rate=1.0, gamma=0.5, planning_steps=3)
    model.policy.q_table[3], model.policy.q_table[0] = 4.0, 64.0
    model.learn(1)
    assert model.policy.q_table[:, 0].tolist() == [expected, 0, 0, 4]
    assert model.n_backups == 4


def test_the_clock_of_the_bonus() -> None:
    """τ is 0 in the planning right after the pair was tried, and t in that after t further real steps."""
    model = agent(
        Script([(0.0, 1, False, False), (0.0, 2, False, False), (0.0, 3, False, False), (0.0, 0, False, False)]),
        learning_rate=1.0, gamma=0.0, planning_steps=50, exploration_bonus=0.5,
    )  # fmt: skip
    for step in range(1, 5):
        model.learn(1, reset_num_timesteps=False)
        # State s was left in real step s + 1.
        expected = [0.5 * math.sqrt(step - s - 1) if s < step else 0.0 for s in range(4)]
        assert model.policy.q_table[:, 0].tolist() == pytest.approx(expected, abs=1e-15)


def test_actions_that_were_never_tried_are_planned_with_a_bonus_only() -> None:
    steps = [(1.0, 0, False, False)] * 9
    for bonus in (0.0, 0.5):
        model = agent(
            Script(steps, states=2, actions=3), learning_rate=1.0, gamma=0.0, planning_steps=50,
            exploration_bonus=bonus, exploration_final_eps=0.0, exploration_initial_eps=0.0,
        )  # fmt: skip
        model.learn(1)
        tried = int(model.policy.q_table[0].argmax())
        others = [model.policy.q_table[0, a].item() for a in range(3) if a != tried]
        assert others == [bonus * 1.0] * 2  # τ = 1: never tried in one step; back in state 0, without a reward
        assert model.policy.q_table[1].tolist() == [0.0] * 3  # where the agent never was, nothing is planned


def test_preferences_are_those_of_a_gradient_bandit() -> None:
    """H ← H + α (R − R̄)(1 − π), by hand: rewards 1, 3 and 2 of single steps."""
    model = agent(
        Script([(1.0, 1, True, False), (3.0, 1, True, False), (2.0, 1, True, False)], states=2, actions=2),
        exploration="gradient_bandit", preference_rate=0.5, planning_steps=0,
    )  # fmt: skip
    taken: list[int] = []
    model.learn(3, callback=lambda values, _: taken.append(int(values["actions"][0])) or True)  # type: ignore[func-returns-value]
    h = np.zeros(2)
    for action, advantage in zip(taken, (0.0, 3.0 - 1.0, 2.0 - (1.0 + 3.0) / 2), strict=True):
        h += 0.5 * advantage * (np.eye(2)[action] - np.exp(h) / np.exp(h).sum())
    assert abs(h).max() == 0.5  # the second reward is better than the first, and the third as the mean of both
    assert model.policy.preferences is not None
    np.testing.assert_allclose(model.policy.preferences[0].numpy(), h, atol=1e-15)


def test_a_gradient_bandit_finds_the_better_arm() -> None:
    class Arms(gym.Env):
        observation_space, action_space = spaces.Discrete(1), spaces.Discrete(3)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
            super().reset(seed=seed)
            return 0, {}

        def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
            return 0, float(self.np_random.normal((5.0, 6.0, 4.0)[action])), True, False, {}

    model = agent(Arms(), exploration="gradient_bandit").learn(1_000)
    assert model.policy.preferences is not None
    assert model.policy.preferences[0].softmax(0)[1] > 0.8
    assert model.predict(np.zeros(1, np.int64), deterministic=True)[0].tolist() == [1]


@pytest.mark.parametrize("search_control", ["uniform", "trajectory", "prioritized"])
def test_a_known_model_is_solved_exactly(search_control: str) -> None:
    task = TrajectorySampling(states=12, branching=3, instance=1)
    model = agent(
        TaskEnv(task), search_control=search_control, backups="expected", stochastic=True, gamma=1.0,
        learning_rate=1.0, priority_threshold=1e-12, exploration_initial_eps=1.0,
    )  # fmt: skip
    for s in range(12):
        for a in range(2):  # the exact model as counts: 0.9 / 3 for each successor, 0.1 for the end
            rewards, successors = (np.repeat(table[0, s, a], 9) for table in (task.rewards, task.successors))
            ends = np.arange(30) >= 27
            model.world_model.learn([s] * 30, [a] * 30, [*rewards, 0, 0, 0], [*successors, 12, 12, 12], ends)
    model.learn(1)  # of which prioritized sweeping sweeps everything
    model.plan(30_000)

    tables, q = model.world_model.tables, np.zeros((13, 2))
    chance = tables.count[:12] / tables.count[:12].sum(-1, keepdims=True)
    for _ in range(2_000):
        q[:12] = (chance * (tables.reward + ~tables.terminated * q.max(1)[tables.successor])[:12]).sum(-1)
    assert abs(q[:12]).min() > 0.1
    np.testing.assert_allclose(model.policy.q_table.numpy(), q, atol=1e-9)


def test_the_queue_gives_what_is_most_urgent_first() -> None:
    rng = np.random.default_rng(0)
    heap, place, priority, queued = np.zeros(50, np.int64), np.full(50, -1), np.zeros(50), np.zeros(1, np.int64)
    expected: dict[int, float] = {}
    for _ in range(3_000):
        if expected and rng.random() < 0.45:
            first = max(expected, key=lambda pair: expected[pair])
            assert pop(heap, place, priority, queued) == first
            del expected[first]
        else:
            pair, urgency = int(rng.integers(50)), float(rng.random())
            if urgency > expected.get(pair, 0.0):
                here = int(place[pair]) if pair in expected else int(queued[0])
                queued[0] += pair not in expected
                priority[pair] = expected[pair] = urgency
                rise(heap, place, priority, here, pair)
        assert queued[0] == len(expected)
        waiting = heap[: queued[0]]
        assert {int(pair): float(priority[pair]) for pair in waiting} == expected
        assert place[waiting].tolist() == list(range(queued[0]))
        assert (place >= 0).sum() == queued[0]


def test_prioritized_sweeping_works_backwards_from_what_is_new() -> None:
    """All steps but the last of a corridor are known; that one is followed by a sweep back to the start."""
    corridor = GridMaze([["S....G"]])
    model = agent(
        TaskEnv(corridor), search_control="prioritized", learning_rate=1.0, gamma=0.5,
        exploration_initial_eps=0.0, exploration_final_eps=0.0,
    )  # fmt: skip
    right = corridor.action_names.index("right")
    model.policy.q_table[:5, right] = 1e-9  # it walks there
    model.learn(4)
    assert model.policy.q_table[:5, right].max() <= 1e-9
    before = model.n_backups
    model.learn(1, reset_num_timesteps=False)
    assert model.policy.q_table[:5, right].tolist() == [0.5**4, 0.5**3, 0.25, 0.5, 1.0]
    assert model.n_backups == before + 5  # n of them, one for each state


# --- acting -----------------------------------------------------------------------------------------------------------


def test_planning_does_not_change_what_is_explored() -> None:
    """Until a first reward nothing is known, so the first episode is the same for every n."""
    lengths = set()
    for settings in ({"planning_steps": 0}, {}, {"planning_steps": 50}, {"search_control": "trajectory"}):
        model = agent("Imagine/DynaMaze-v0", seed=4, **settings)
        model.learn(20_000, callback=StopTrainingOnMaxEpisodes(1))
        lengths.add(model.num_timesteps)
    assert len(lengths) == 1


def test_ties_are_broken_at_random_while_acting() -> None:
    counts = np.zeros(3)
    model = agent(Chance(), **dict.fromkeys(CONSTANT, 0.0))
    values = torch.tensor([2.0, 1.0, 2.0], dtype=torch.float64)
    arrays, tables, _ = model.bound()
    model.policy.q_table[:] = values
    out = np.zeros(3_000, np.int64)
    kernels.act(arrays.values, arrays.preferences, tables.actions, arrays.random, 0.0, False, out * 0, out)
    counts = np.bincount(out, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 1_500) < 4 * math.sqrt(3_000 / 4)
    kernels.act(arrays.values, arrays.preferences, tables.actions, arrays.random, 0.3, False, out * 0, out)
    counts = np.bincount(out, minlength=3)
    assert abs(counts[1] - 300) < 4 * math.sqrt(3_000 * 0.1 * 0.9)


def test_predictions() -> None:
    model = agent(Chance(start=5))
    model.policy.q_table[:] = torch.tensor([0.0, 2.0, 2.0])
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    single, state = model.predict(np.int64(6), deterministic=True)
    assert (np.shape(single), state) == ((), None)
    assert model.action_space.contains(single)
    assert int(single) == 11  # the first of the best, in the numbers of the space
    many = np.full(2_000, 12)
    assert set(model.predict(many, deterministic=True)[0]) == {11}
    model.exploration_rate = 0.3
    actions = model.predict(many)[0]
    assert actions.dtype == model.action_space.dtype
    assert np.bincount(actions, minlength=13)[10:] / 2_000 == pytest.approx([0.1, 0.45, 0.45], abs=0.04)
    assert set(model.policy.predict(many)[0]) == {11, 12}
    with pytest.raises(ValueError, match="outside"):
        model.predict(np.array([4]))


def test_exploration_goes_from_the_first_rate_to_the_last() -> None:
    rates: list[float] = []
    model = agent(exploration_fraction=0.5, exploration_initial_eps=1.0, exploration_final_eps=0.2)
    model.learn(100, callback=lambda values, _: rates.append(values["self"].exploration_rate) or True)  # type: ignore[func-returns-value]
    assert rates[:2] == pytest.approx([1.0, 1.0 - 0.8 / 50])
    assert rates[50:] == pytest.approx([0.2] * 50)
    model = agent(exploration_fraction=0.0, exploration_initial_eps=1.0, exploration_final_eps=0.2).learn(1)
    assert model.exploration_rate == 0.2


def test_the_learning_rate_may_have_a_schedule() -> None:
    model = agent(Script([(1.0, 0, True, False)] * 3), learning_rate=lambda left: left, planning_steps=0)
    model.learn(2)  # 1, then 1/2
    assert model.policy.q_table[0, 0].item() == 1.0
    with pytest.raises(ValueError, match=r"learning_rate=1.5"):
        agent(learning_rate=lambda _: 1.5).learn(1)


# --- SB3's contract ---------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "uniform with bonus": {"exploration_bonus": 0.01},
    "trajectories, counts": {"search_control": "trajectory", "stochastic": True},
    "sweeping, counts": {"search_control": "prioritized", "stochastic": True, "backups": "expected"},
    "bandit": {"exploration": "gradient_bandit"},
}


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_same_seed_same_agent(settings: dict[str, Any]) -> None:
    runs = [everything(agent(seed=seed, **settings).learn(200)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0]["policy.q_table"] != runs[2]["policy.q_table"]


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(settings: dict[str, Any], num_envs: int, tmp_path: Path) -> None:
    def envs() -> DummyVecEnv:
        return DummyVecEnv([Chance] * num_envs)

    straight = agent(envs(), **settings).learn(400)
    begun = agent(envs(), **settings).learn(202)
    save_checkpoint(begun, tmp_path / "checkpoint")
    before = everything(begun)
    begun.learn(50, reset_num_timesteps=False)  # what goes on must not be what was saved
    resumed = load_checkpoint(DynaQ, tmp_path / "checkpoint")
    assert everything(resumed) == before
    resumed.learn(198, reset_num_timesteps=False)
    assert everything(resumed) == everything(straight)


def test_a_callback_saves_what_the_step_has_taught(tmp_path: Path) -> None:
    """The file of step 100 is the agent after 100 steps, that step included."""
    agent().learn(150, callback=CheckpointCallback(100, str(tmp_path)))
    saved = DynaQ.load(tmp_path / "rl_model_100_steps.zip")
    assert everything(saved) == everything(agent().learn(100))


def test_saved_tables_of_another_size_and_other_environments(tmp_path: Path) -> None:
    model = agent(stochastic=True).learn(300)
    assert model.world_model.tables.count.shape[2] > 1  # more than a new model has room for
    model.save(tmp_path / "model")
    loaded = DynaQ.load(tmp_path / "model", env=DummyVecEnv([Chance] * 3))
    assert np.array_equal(loaded.world_model.tables.count, model.world_model.tables.count)
    assert loaded.n_backups == model.n_backups
    assert loaded.learn(30).num_timesteps == 30
    assert loaded.n_backups == model.n_backups + 30 * 6
    with pytest.raises(ValueError, match="set_env"):
        DynaQ.load(tmp_path / "model").learn(1)


CHANGES: dict[str, dict[str, Any]] = {
    "bonus": {"exploration_bonus": 0.01},
    "sweeping": {"search_control": "prioritized"},
    "trajectories with a bonus": {"search_control": "trajectory", "exploration_bonus": 0.01},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_options_changed_before_the_first_step_are_those_of_the_constructor(changes: dict[str, Any]) -> None:
    model = agent()
    for name, value in changes.items():
        setattr(model, name, value)
    assert everything(model.learn(200)) == everything(agent(**changes).learn(200))


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_options_changed_on_loading_count_from_then_on(changes: dict[str, Any], tmp_path: Path) -> None:
    begun = agent(stochastic=True).learn(300)
    begun.save(tmp_path / "model")
    arrays, _, _ = DynaQ.load(tmp_path / "model", Chance(), **changes).bound()
    assert arrays.last_tried.tolist() == ([[300] * 3] * 8 if "exploration_bonus" in changes else [])
    assert (len(arrays.heap), arrays.queued[0]) == (24 if changes == CHANGES["sweeping"] else 0, 0)
    loaded = [DynaQ.load(tmp_path / "model", Chance(), **changes) for _ in range(2)]
    for name, value in changes.items():
        setattr(begun, name, value)
    begun.set_env(Chance())
    begun.env.seed(0)  # type: ignore[union-attr]
    runs = [everything(model.learn(200)) for model in (*loaded, begun)]
    assert runs[0] == runs[1] == runs[2]
    assert runs[0] != everything(DynaQ.load(tmp_path / "model", Chance()).learn(200))


def test_a_bonus_that_is_turned_off_and_on_again_has_missed_nothing() -> None:
    model = agent(exploration_bonus=0.01).learn(50)
    model.exploration_bonus = 0.0
    model.learn(50, reset_num_timesteps=False)
    assert model.memory.last_tried.max() == 100


@pytest.mark.parametrize(
    ("made", "changes", "message"),
    [
        ({"stochastic": True}, {"stochastic": False}, "stochastic=False was asked for, .* made with stochastic=True"),
        ({}, {"stochastic": True}, "stochastic=True was asked for, .* made with stochastic=False"),
        ({}, {"exploration": "gradient_bandit"}, "exploration='gradient_bandit' .* exploration='epsilon_greedy'"),
        ({"exploration": "gradient_bandit"}, {"exploration": "epsilon_greedy"}, "exploration='epsilon_greedy' was"),
        ({"exploration_bonus": 0.1}, {"search_control": "prioritized"}, "exploration_bonus=0.1 .* no queue is told"),
        ({}, {"search_control": "random"}, "search_control='random' must be one of"),
        ({}, {"planning_steps": -1}, "planning_steps=-1 must be a whole number"),
    ],
)
def test_options_that_cannot_be_changed_are_refused(
    made: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = agent(**made).learn(300)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        DynaQ.load(tmp_path / "model", Chance(), **changes)
    for name, value in changes.items():
        setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        model.learn(1)


def test_other_bins_are_refused(tmp_path: Path) -> None:
    bins = {"low": -1, "high": 1}
    agent("CartPole-v1", discretizer={"bins": [2, 3, 2, 3], **bins}).learn(20).save(tmp_path / "model")
    same = DynaQ.load(tmp_path / "model", gym.make("CartPole-v1"), discretizer={"bins": [2, 3, 2, 3], **bins})
    assert same.learn(20).num_timesteps == 20
    with pytest.raises(ValueError, match=r"discretizer=.*\[3, 2, 2, 3\].* was asked for, .*\[2, 3, 2, 3\]"):
        DynaQ.load(tmp_path / "model", discretizer={"bins": [3, 2, 2, 3], **bins})


def test_parameters_can_be_taken_over() -> None:
    model, other = agent().learn(100), agent()
    other.set_parameters(model.get_parameters())
    assert torch.equal(model.policy.q_table, other.policy.q_table)
    assert other.policy.q_table.dtype == torch.float64
    before = other.policy.q_table.clone()
    other.learn(50)
    assert not torch.equal(before, other.policy.q_table)


def test_the_policy_alone_can_be_saved(tmp_path: Path) -> None:
    model = agent("CartPole-v1", discretizer={"bins": 3, "low": -1, "high": 1}, exploration="gradient_bandit").learn(
        200
    )
    model.policy.save(str(tmp_path / "policy.pt"))
    loaded = TabularPolicy.load(str(tmp_path / "policy.pt"))
    seen = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])


class Counter(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, int]] = []
        self.rollouts = 0

    def _on_rollout_start(self) -> None:
        self.rollouts += 1

    def _on_step(self) -> bool:
        model: Any = self.model
        self.seen.append((self.num_timesteps, model.n_backups, int(model.memory.counters[0])))
        assert {"self", "total_timesteps", "tb_log_name", "new_obs", "rewards", "dones", "infos"} <= self.locals.keys()
        return self.num_timesteps < 9


def test_only_real_steps_are_counted_and_every_backup() -> None:
    counter = Counter()
    model = agent(DummyVecEnv([Chance] * 3), planning_steps=7).learn(1_000, callback=counter)
    assert counter.seen == [(3, 24, 3), (6, 48, 6), (9, 72, 9)]
    assert counter.rollouts == 3
    assert model.num_timesteps == 9
    assert agent(planning_steps=0).learn(20).n_backups == 20


def test_the_log(tmp_path: Path) -> None:
    model = agent(search_control="prioritized")
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(300, log_interval=10)
    columns = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert set(columns) == {
        "rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/exploration_rate", "time/episodes", "time/fps",
        "time/time_elapsed", "time/total_timesteps", "train/learning_rate", "train/n_updates",
        "imagine/total_timesteps", "imagine/queued", "world_model/states", "world_model/pairs",
    }  # fmt: skip


def test_golden_numbers() -> None:
    """Steps of the first episodes of Figure 8.2's maze, n = 5, and the values below its goal."""
    ends: list[int] = []
    model = agent("Imagine/DynaMaze-v0", seed=0)
    model.learn(100_000, callback=[StopTrainingOnMaxEpisodes(8), _Ends(ends)])
    assert np.diff([0, *ends]).tolist() == [1265, 53, 130, 16, 18, 16, 19, 18]
    expected = [0.9797244404095546, 0.0, 0.31640034317111115, 0.0]
    assert model.policy.q_table[17].tolist() == pytest.approx(expected, abs=1e-12)


class _Ends(BaseCallback):
    def __init__(self, ends: list[int]) -> None:
        super().__init__()
        self.ends = ends

    def _on_step(self) -> bool:
        if self.locals["dones"][0]:
            self.ends.append(self.num_timesteps)
        return True


def test_progress_bar() -> None:
    agent().learn(5, progress_bar=True)


# --- boxes and worlds -------------------------------------------------------------------------------------------------


def test_boxes_are_learned_through_a_discretizer() -> None:
    env = gym.make("Imagine/DynaMaze-v0", observation="coordinates")
    model = agent(env, discretizer={"bins": [6, 9]}, planning_steps=20)
    plain = agent("Imagine/DynaMaze-v0", planning_steps=20)
    for one in (model, plain):
        one.learn(3_000)
    assert torch.equal(model.policy.q_table, plain.policy.q_table)  # a cell of the grid is a cell of the maze
    assert evaluate_policy(model, model.get_env(), n_eval_episodes=1)[0] == 1.0


def test_what_was_learned_is_a_world(tmp_path: Path) -> None:
    model = agent("Imagine/DynaMaze-v0")
    assert model.world is None
    model.learn(2_000)
    world = model.world
    assert world is not None
    assert world.model is model.world_model
    assert (world.spec.env_id, world.spec.max_episode_steps) == ("Imagine/DynaMaze-v0", 10_000)
    assert world.spec.data["real_steps"] == 2_000
    assert (world.spec.data["reward_min"], world.spec.data["reward_max"]) == (0.0, 1.0)
    assert world.contexts.initial.sum() == 1
    assert world.contexts.observation[world.contexts.initial].flatten().tolist() == [18]  # type: ignore[index]
    times = model.world_model.tables.count.sum(2)
    every = np.sort(np.repeat(1 / np.sqrt(1 + times), times.reshape(-1)))
    for quantile in (0.001, 0.5, 1.0):
        assert world.uncertainty_quantile(quantile) == pytest.approx(np.quantile(every, quantile), rel=0.05)
    world.save(tmp_path / "world")
    dream = Dream(World.load(tmp_path / "world"), starts="initial")
    state = dream.reset(4)
    state, _ = dream.step(state, torch.arange(4))
    assert state.model["index"].tolist() == [9, 27, 18, 19]  # up, down, against the edge, right
    model.save(tmp_path / "agent")
    again = DynaQ.load(tmp_path / "agent").world  # without an environment
    assert again is not None
    assert again.digest == world.digest
    assert again.spec.to_json() == world.spec.to_json()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planning_steps": -1}, r"planning_steps=-1 must be a whole number of at least 0"),
        ({"planning_steps": 1.5}, r"planning_steps=1.5"),
        ({"learning_rate": 1.1}, r"learning_rate=1.1 must lie between 0 and 1"),
        ({"gamma": -0.1}, r"gamma=-0.1 must lie"),
        ({"exploration_fraction": 2}, r"exploration_fraction=2 must lie"),
        ({"exploration_initial_eps": 1.5}, r"exploration_initial_eps=1.5 must lie"),
        ({"exploration_final_eps": math.nan}, r"exploration_final_eps=nan must lie"),
        ({"exploration_bonus": -1.0}, r"exploration_bonus=-1.0 must be finite and not negative"),
        ({"priority_threshold": math.inf}, r"priority_threshold=inf must be finite"),
        ({"preference_rate": -1}, r"preference_rate=-1"),
        ({"search_control": "random"}, r"search_control='random' must be one of 'uniform', 'trajectory', 'pr"),
        ({"backups": "full"}, r"backups='full' must be one of 'sample', 'expected'"),
        ({"exploration": "softmax"}, r"exploration='softmax' must be one of 'epsilon_greedy', 'gradient_bandit'"),
        ({"search_control": "prioritized", "planning_steps": 0}, r"would never back anything up"),
        ({"search_control": "prioritized", "exploration_bonus": 0.1}, r"exploration_bonus=0.1 .* no queue is told of"),
        ({"device": "meta"}, r"device='meta' must be 'cpu' or 'auto'"),
        ({"env": "Pendulum-v1"}, r"action_space is Box.*; a tabular world needs a Discrete"),
        ({"env": "CartPole-v1"}, r"observation_space is Box.*; to be tabulated it needs a discretizer"),
        ({"env": "CartPole-v1", "discretizer": {"bins": 1000, "low": -1, "high": 1}}, r"1,000,000,000,000 st.*limit"),
        ({"discretizer": {"bins": 3}}, r"a discretizer is for a Box"),
        ({"policy_kwargs": {"initial_value": math.nan}}, r"initial_value=nan must be finite"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agent(**settings)


def test_vec_normalize_is_refused() -> None:
    normalized = VecNormalize(DummyVecEnv([Chance]), norm_obs=False)
    with pytest.raises(ValueError, match="VecNormalize"):
        agent(normalized)
    model = agent()
    with pytest.raises(ValueError, match="VecNormalize"):
        model.set_env(normalized)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ((math.nan, 1, False, False), "rewards are"),
        ((0.0, 9, False, False), "outside"),
        ((0.0, 9, True, False), "outside"),
    ],
)
def test_an_environment_that_breaks_its_word_is_stopped(step: Any, message: str) -> None:
    model = agent(Script([(0.0, 0, False, False), step]))
    with pytest.raises(ValueError, match=message):
        model.learn(5)
    assert model.memory.counters[0] == 1


def test_planning_needs_a_number() -> None:
    with pytest.raises(ValueError, match="backups=-1"):
        agent().plan(-1)
    model = agent().plan(10)  # nothing is known
    assert model.n_backups == 0
    other = copy.deepcopy(model.learn(50))
    other.plan(10)
    assert other.n_backups == model.n_backups + 10
