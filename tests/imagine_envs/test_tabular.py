"""A tabular world as a world like any other: fitted, dreamed, saved, drawn, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.discretizer import Discretizer
from imagine_envs.dreams import Dream
from imagine_envs.dreams.fidelity import fidelity
from imagine_envs.experience import Replay, collect
from imagine_envs.storage import StorageError
from imagine_envs.world_models import PerfectModel, Tabular, World, fit, make_model
from zoo.cli import main

SPEEDS = {"low": [None, -3, None, -3], "high": [None, 3, None, 3]}
GRIDS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"bins": [3, 3, 6, 3], **SPEEDS},
    "MountainCar-v0": {"bins": 8},
}


def newest(name: str) -> str:
    """Gymnasium gives up older versions of its toy environments."""
    return max(key for key in gym.registry if key.startswith(f"{name}-v"))


def world_of(env_id: str, steps: int = 400, **kwargs: Any) -> World:
    replay = collect(gym.make(env_id), steps=steps, seed=0)
    if env_id in GRIDS:
        kwargs["discretizer"] = GRIDS[env_id]
    return fit(make_model("tabular", replay, **kwargs), replay, seed=0)


def small(stochastic: bool = True) -> Tabular:
    """From state 0: action 0 led to 1 twice and to 2 once, action 1 once to the end in 2, action 2 nowhere yet."""
    model = Tabular(spaces.Discrete(3), spaces.Discrete(3), stochastic=stochastic)
    model.learn([0] * 4, [0, 0, 0, 1], [1.0, 2.0, 5.0, -1.0], [1, 1, 2, 2], [False, False, False, True])
    return model


def state(*index: int) -> dict[str, torch.Tensor]:
    return {"index": torch.tensor(index)}


# --- one step -------------------------------------------------------------------------------------------------------


def test_outcomes_come_as_often_as_they_were_seen() -> None:
    size = 30_000
    generator = torch.Generator().manual_seed(0)
    for temperature, share in ((1.0, 2 / 3), (0.5, 4 / 5), (0.0, 1.0)):
        after, prediction = small().imagine(
            state(*[0] * size), torch.zeros(size).long(), temperature=temperature, generator=generator
        )
        first = after["index"] == 1
        assert after["index"][~first].eq(2).all()
        error = 4 * np.sqrt(share * (1 - share) / size)
        assert first.float().mean().item() == pytest.approx(share, abs=error)
        assert prediction.reward[first].eq(1.5).all()
        assert prediction.reward[~first].eq(5.0).all()
        assert not prediction.terminated.any()


def test_the_last_outcome_is_all_that_a_deterministic_world_knows() -> None:
    after, prediction = small(stochastic=False).imagine(state(0, 0), torch.tensor([0, 1]), uncertainty=True)
    assert after["index"].tolist() == [2, 2]
    assert prediction.reward.tolist() == [5.0, -1.0]
    assert prediction.terminated.tolist() == [0.0, 1.0]
    assert prediction.uncertainty is not None
    np.testing.assert_allclose(prediction.uncertainty, [2**-0.5, 2**-0.5])


def test_an_untried_pair_stays_without_a_reward_and_is_as_uncertain_as_can_be() -> None:
    model = small()
    for temperature in (0.0, 1.0):
        after, prediction = model.imagine(
            state(0, 1, 0, 0), torch.tensor([2, 0, 0, 1]), temperature=temperature, uncertainty=True
        )
        assert after["index"][:2].tolist() == [0, 1]
        assert prediction.reward[:2].tolist() == prediction.terminated[:2].tolist() == [0.0, 0.0]
        assert prediction.uncertainty is not None
        np.testing.assert_allclose(prediction.uncertainty, [1, 1, 0.5, 2**-0.5])  # 1/√(1 + n), n = 0, 0, 3, 1
        assert (prediction.reward.dtype, prediction.terminated.dtype) == (torch.float32, torch.float32)


def test_the_same_numbers_are_drawn_whatever_is_asked() -> None:
    states = []
    for options in ({}, {"temperature": 0.0}, {"temperature": 0.3, "uncertainty": True}):
        generator = torch.Generator().manual_seed(0)
        small().imagine(state(0, 0), torch.tensor([0, 2]), generator=generator, **options)  # type: ignore[arg-type]
        states.append(generator.get_state())
    assert all(torch.equal(one, states[0]) for one in states)


def test_numbers_that_do_not_start_at_zero() -> None:
    model = Tabular(spaces.Discrete(3, start=5), spaces.Discrete(2, start=-1))
    assert model.encode([5, 7]).tolist() == [0, 2]
    model.learn([0], [1], [2.0], [2], [False])
    seen = model.observe(model.initial(1), torch.tensor([0]), torch.tensor([5]), torch.tensor([True]))
    after, prediction = model.imagine(seen, torch.tensor([0]))
    decoded = model.decode(after)
    assert isinstance(decoded, torch.Tensor)
    assert decoded.tolist() == [7]
    assert prediction.reward.tolist() == [2.0]
    assert model.features(after).tolist() == [[0.0, 0.0, 1.0]]


def test_a_cell_is_shown_by_its_middle() -> None:
    space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    model = Tabular(space, spaces.Discrete(2), discretizer={"bins": 2})
    seen = model.observe(model.initial(1), torch.tensor([0]), torch.tensor([[-0.1, 0.7]]), torch.tensor([True]))
    decoded = model.decode(seen)
    assert isinstance(decoded, torch.Tensor)
    assert decoded.tolist() == model.features(seen).tolist() == [[-0.5, 0.5]]
    assert decoded.dtype == torch.float32


# --- fitting --------------------------------------------------------------------------------------------------------


def test_frozen_lake_is_counted() -> None:
    env: Any = gym.make("FrozenLake-v1")
    replay = collect(env, steps=3_000, seed=0)
    model = fit(Tabular(env.observation_space, env.action_space, stochastic=True), replay, seed=0).model
    assert isinstance(model, Tabular)
    tables = model.tables
    assert tables.count.sum() == replay.num_transitions == 3_000
    # From the start "left" is the way in two thirds of all cases into the edge, in one down.
    number = tables.count[0, 0].sum()
    assert number > 100
    stayed = tables.count[0, 0][tables.successor[0, 0] == 0].sum()
    assert stayed / number == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / number))
    for place in np.argwhere(tables.count > 0):
        cell, action, k = place.tolist()
        possible = {(int(to), float(reward), bool(end)) for _, to, reward, end in env.unwrapped.P[cell][action]}
        seen = (
            int(tables.successor[cell, action, k]),
            tables.reward[cell, action, k],
            tables.terminated[cell, action, k],
        )
        assert seen in possible


def test_a_deterministic_maze_is_known_exactly_where_it_was_tried() -> None:
    env = gym.make("Imagine/DynaMaze-v0")
    replay = collect(env, steps=4_000, seed=0)
    model = fit(Tabular(env.observation_space, env.action_space), replay).model
    assert isinstance(model, Tabular)
    perfect = PerfectModel.for_env(env)
    cell, action = (torch.from_numpy(part) for part in np.nonzero(model.tables.count[:, :, 0]))
    assert len(cell) > 150
    start = perfect.observe(perfect.initial(len(cell)), action, cell, torch.ones(len(cell), dtype=torch.bool))
    after, told = model.imagine({"index": cell}, action)
    truth, known = perfect.imagine(start, action)
    assert torch.equal(after["index"], truth["state"])
    assert torch.equal(told.reward, known.reward)
    assert torch.equal(told.terminated, known.terminated)


def test_another_fit_forgets_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    env = gym.make(newest("CliffWalking"))
    replay = collect(env, steps=300, seed=0)
    once = make_model("tabular", replay, stochastic=True)
    fit(once, replay)
    twice = make_model("tabular", replay, stochastic=True)
    fit(twice, collect(env, steps=300, seed=1))
    monkeypatch.setattr("imagine_envs.world_models.tabular.tabular._AT_A_TIME", 7)
    fit(twice, replay)
    assert all(torch.equal(tensor, once.state_dict()[name]) for name, tensor in twice.state_dict().items())
    assert isinstance(twice, Tabular)
    assert twice.tables.count.sum() == 300


def test_rewards_and_ends_belong_to_the_step_that_led_there() -> None:
    replay = Replay(spaces.Discrete(4), spaces.Discrete(2))
    replay.add_reset(np.array([2]))
    for observation, action, reward, ends in ((1, 1, 0.5, False), (3, 0, 7.0, True)):
        replay.add(
            observation=np.array([observation]),
            action=np.array([action]),
            reward=np.array([reward]),
            terminated=np.array([ends]),
            truncated=np.array([False]),
            first=np.array([False]),
        )
    replay.add_reset(np.array([0]))
    model = Tabular(spaces.Discrete(4), spaces.Discrete(2))
    model.prepare(replay)
    after, prediction = model.imagine(state(2, 1, 3), torch.tensor([1, 0, 0]))
    assert after["index"].tolist() == [1, 3, 3]
    assert prediction.reward.tolist() == [0.5, 7.0, 0.0]
    assert prediction.terminated.tolist() == [0.0, 1.0, 0.0]
    assert model.tables.count.sum() == 2


# --- a world like any other -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", newest("Taxi"), "CartPole-v1", "MountainCar-v0"])
@pytest.mark.parametrize("stochastic", [False, True])
def test_worlds_are_saved_and_dreamed(env_id: str, stochastic: bool, tmp_path: Path) -> None:
    world = world_of(env_id, stochastic=stochastic)
    world.save(tmp_path / "world")
    again = World.load(tmp_path / "world")
    assert again.digest == world.digest
    assert isinstance(again.model, Tabular)
    assert again.model.stochastic == stochastic
    hyperparameters = world.model.hyperparameters()
    assert again.model.hyperparameters() == hyperparameters == json.loads(json.dumps(hyperparameters))
    again.model.learn([0], [0], [0.0], [0], [False])  # tables from a file are as good as others

    envs = [gym.make("Imagine/Dream-v0", world_model=str(tmp_path / "world"), horizon=15) for _ in range(2)]
    for env in envs:
        assert env.observation_space == world.observation_space
        env.reset(seed=3)
    for _ in range(40):
        action = envs[0].action_space.sample()
        first, second = (env.step(action) for env in envs)
        assert env.observation_space.contains(first[0])
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1:4] == second[1:4]
        if first[2] or first[3]:
            for env in envs:
                env.reset()


def test_the_dream_of_a_maze_is_drawn_like_the_maze(tmp_path: Path) -> None:
    world_of("Imagine/DynaMaze-v0").save(tmp_path / "world")
    dream = gym.make("Imagine/Dream-v0", world_model=str(tmp_path / "world"), render_mode="rgb_array")
    real: Any = gym.make("Imagine/DynaMaze-v0", render_mode="rgb_array")
    real.reset(seed=0)
    cell, _ = dream.reset(seed=0)
    arrays = real.unwrapped.snapshot()
    arrays["state"][:] = cell
    real.unwrapped.restore(arrays)
    np.testing.assert_array_equal(dream.render(), real.render())


def test_dreams_heed_how_often_a_pair_was_tried() -> None:
    """MOPO's penalty and MOReL's halt, where the only pair beyond the data is (1, 0)."""
    replay = Replay(spaces.Discrete(2), spaces.Discrete(1))
    for _ in range(3):
        replay.add_reset(np.array([0]))
        replay.add(
            observation=np.array([1]),
            action=np.array([0]),
            reward=np.array([1.0]),
            terminated=np.array([False]),
            truncated=np.array([True]),
            first=np.array([False]),
        )
    world = fit(make_model("tabular", replay), replay)
    assert world.uncertainty_quantile(1.0) == 0.5
    dream = Dream(world, uncertainty_penalty=1.0)
    now, step = dream.step(dream.reset(1), torch.tensor([0]))
    assert step.reward.tolist() == [0.5]
    assert dream.step(now, torch.tensor([0]))[1].reward.tolist() == [-1.0]
    careful = Dream(world, halt_uncertainty=1.0)
    now, step = careful.step(careful.reset(1), torch.tensor([0]))
    assert not step.terminated.any()
    assert careful.step(now, torch.tensor([0]))[1].terminated.all()


def test_the_command_line_fits_dreams_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, path, grid = str(tmp_path / "data"), str(tmp_path / "world"), "{'bins':[3,3,6,3],'low':[None,-3,None,-3],"
    assert main(["collect", "--env", "CartPole-v1", "-n", "300", "-o", data, "--seed", "0"]) == 0
    command = ["fit", "--data", data, "--family", "tabular", "-o", path, "-params", "stochastic:True"]
    assert main(command) == 1
    assert "to be tabulated it needs a discretizer" in capsys.readouterr().err
    assert main([*command, f"discretizer:{grid}'high':[None,3,None,3]}}"]) == 0
    assert World.load(path).model.hyperparameters()["discretizer"]["bins"] == [3, 3, 6, 3]
    assert main(["fidelity", "--world-model", path, "-n", "300", "--episodes", "3", "--horizon", "5"]) == 0
    assert (tmp_path / "world-fidelity" / "report.png").is_file()


def test_a_known_maze_has_no_open_loop_error() -> None:
    world = world_of("Imagine/DynaMaze-v0", steps=6_000)
    report = fidelity(world, episodes=0, real_steps=300, steps=10, seed=0)
    assert report.open_loop["observation"]["model"]["median"] == [0.0] * 10
    assert max(report.open_loop["reward"]["model"]) == 0.0


def test_tables_that_are_not_whole_are_not_loaded(tmp_path: Path) -> None:
    """Kernels check no bounds: a stranger's file must not send them anywhere."""
    world = world_of("FrozenLake-v1", stochastic=True)
    assert isinstance(world.model, Tabular)
    world.model.tables.successor[0, 0, 0] = 1 << 40
    world.save(tmp_path / "world")
    with pytest.raises(StorageError, match="the tables are not whole: a successor is none of the 16 states"):
        World.load(tmp_path / "world")


def test_tables_of_another_world_are_not_loaded() -> None:
    counted = small().state_dict()
    with pytest.raises(RuntimeError, match="a last-outcome table has 2 outcomes of each pair, not 1"):
        Tabular(spaces.Discrete(3), spaces.Discrete(3)).load_state_dict(counted)
    with pytest.raises(RuntimeError, match="size mismatch"):
        Tabular(spaces.Discrete(4), spaces.Discrete(3), stochastic=True).load_state_dict(counted)
    again = Tabular(spaces.Discrete(3), spaces.Discrete(3), stochastic=True)
    again.load_state_dict(counted)
    assert again.tables.count.tolist() == small().tables.count.tolist()


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observations", "actions", "options", "said"),
    [
        (spaces.Discrete(3), spaces.Box(-1, 1, (1,)), {}, "a tabular world needs a Discrete"),
        (spaces.Box(-1, 1, (2,)), spaces.Discrete(2), {}, "it needs a discretizer"),
        (spaces.MultiDiscrete([2, 2]), spaces.Discrete(2), {}, "a Discrete, or a Box with a discretizer, was expected"),
        (spaces.Discrete(3), spaces.Discrete(2), {"discretizer": {"bins": 2}}, "numbers its states already"),
        (
            spaces.Box(-1, 1, (2,)),
            spaces.Discrete(2),
            {"discretizer": Discretizer(spaces.Box(0, 1, (2,)), 3)},
            "the discretizer is for",
        ),
        (
            spaces.Discrete(100_000_000),
            spaces.Discrete(4),
            {},
            r"100,000,000 states × 4 actions × 1 outcomes may take 20\.5 GiB; the limit is 4 GiB",
        ),
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), spaces.Discrete(4), {"discretizer": {"bins": 4}}, "take fewer"),
    ],
)
def test_what_cannot_be_tabulated(observations: Any, actions: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tabular(observations, actions, **options)


def test_a_world_that_cannot_grow_stays_as_it_was() -> None:
    model = Tabular(spaces.Discrete(1_000_000), spaces.Discrete(80), stochastic=True)
    model.learn([5], [1], [1.0], [6], [False])
    with pytest.raises(ValueError, match="2 outcomes may take"):
        model.learn([5], [1], [1.0], [7], [False])
    assert model.tables.count.shape == (1_000_000, 80, 1)


def test_observations_outside_the_space_are_refused() -> None:
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=r"outside Discrete\(3\)"):
            small().encode([0, wrong])


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (([0, 1], [0], [0.5], [1], [False]), r"shapes \(2,\), \(1,\), \(1,\), \(1,\) and \(1,\); the same \[N\]"),
        (([0], [0], [0.5, 0.5], [1], [False]), r"\(1,\), \(1,\), \(2,\), \(1,\) and \(1,\)"),
        (([0], [0], [0.5], [1], []), r"and \(0,\); the same"),
        ((0, 0, 0.5, 1, False), r"shapes \(\), \(\)"),
        (([[0]], [[0]], [[0.5]], [[1]], [[False]]), r"shapes \(1, 1\)"),
        (([0, 1], [0, 0], [0.5, np.nan], [1, 1], [False] * 2), "a reward is nan; finite numbers were expected"),
        (([0], [0], [-np.inf], [1], [False]), "a reward is -inf; finite"),
        (([5], [0], [0.5], [1], [False]), "a state is not one of 0 to 4"),
        (([0], [-1], [0.5], [1], [False]), "action is not one of 0 to 1"),
        (([0], [0], [0.5], [5], [False]), "a successor is not one of 0 to 4"),
    ],
)
def test_steps_that_make_no_sense_teach_nothing(steps: Any, said: str) -> None:
    model = Tabular(spaces.Discrete(5), spaces.Discrete(2))
    with pytest.raises(ValueError, match=said):
        model.learn(*steps)
    assert model.tables.count.sum() == 0
