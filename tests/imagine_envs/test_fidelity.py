"""The fidelity report against models whose errors are known by construction."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from imagine_envs.dreams import Dream, DreamVectorEnv, FidelityReport, fidelity
from imagine_envs.dreams.fidelity_errors import Stretches, Yardstick, calibration, open_loop, reliability, untrained
from imagine_envs.dreams.fidelity_picture import draw
from imagine_envs.dreams.fidelity_returns import PolicyOf, compare, dream_returns, real_experience
from imagine_envs.experience import Replay, collect
from imagine_envs.world_models import CopyModel, Ensemble, PerfectModel, Prediction, World, WorldModel, fit

END = 12.0
BOX = spaces.Box(-100, 100, (1,), np.float32)


class Line(gym.Env):
    """x grows by the action (0, 1 or 2), which pays the new x; the episode ends at 12 and is cut after 40 steps."""

    observation_space = BOX
    action_space = spaces.Discrete(3)

    def __init__(self, noise: float = 0.0) -> None:
        self.noise, self.x, self.t = noise, 0.0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.integers(-3, 4)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += float(action) + self.noise * self.np_random.standard_normal()
        self.t += 1
        return np.array([self.x], np.float32), self.x, self.x >= END, self.t >= 40, {}


class LineModel(WorldModel):
    """The physics of :class:`Line`, off by ``bias`` in every step, with an imagined spread of ``spread``."""

    family = "line"
    markov = True
    can_learn = False

    def __init__(self, *args: Any, bias: float = 0.0, spread: float = 0.0, blind: bool = False) -> None:
        super().__init__(*args)
        self.bias, self.spread, self.can_decode = bias, spread, not blind

    def initial(self, batch_size):
        return {"x": torch.zeros(batch_size, 1)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        return {"x": observation}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        noise = torch.randn(len(action), 1, generator=generator)
        x = state["x"] + action[:, None] + self.bias + temperature * self.spread * noise
        return {"x": x}, Prediction(x[:, 0], (x[:, 0] >= END).float())

    def features(self, state):
        return state["x"]

    def decode(self, state):
        if not self.can_decode:
            raise NotImplementedError
        return state["x"]

    def hyperparameters(self):
        return {"bias": self.bias, "spread": self.spread, "blind": not self.can_decode}


def line_replay(steps: int = 600, noise: float = 0.0, seed: int = 0) -> Replay:
    return collect(Line(noise), steps=steps, seed=seed)


def line_world(replay: Replay, **kwargs: Any) -> World:
    return World.from_replay(LineModel(replay.observation_space, replay.action_space, **kwargs), replay)


def loop(model: WorldModel, replay: Replay, steps: int = 8, burn_in: int = 1) -> dict[str, Any]:
    stretches = Stretches.of(replay, burn_in, steps, 0)
    return open_loop(model, None, stretches, 0, range(1, stretches.horizon + 1))[0]


# --- stretches ------------------------------------------------------------------------------------------------------


def streams_of(lengths: tuple[tuple[int, ...], ...], capacity: int | None = None) -> Replay:
    """Streams of episodes of so many steps; the observation is the record's number in its episode."""
    replay = Replay(BOX, spaces.Discrete(3), num_envs=len(lengths), capacity=capacity)
    for env, episodes in enumerate(lengths):
        for steps in episodes:
            t = np.arange(steps + 1)
            ends = t == steps
            replay.extend(t[:, None].astype(np.float32), t * 0, t, ends, ends & False, t == 0, env=env)
    return replay


def test_stretches_stay_in_their_episode_and_lose_rows_as_it_ends():
    replay = streams_of(((2, 5), (3, 1)))
    stretches = Stretches.of(replay, 3, 4, seed=0)
    assert len(stretches) == 11  # every record that something follows
    assert stretches.available.tolist() == sorted([1, 2, 1, 2, 3, 4, 4, 1, 2, 3, 1], reverse=True)
    for row, available in enumerate(stretches.available.tolist()):
        seen = [
            float(stretches.records(place, len(stretches), torch.device("cpu")).observation[row]) for place in range(7)
        ]
        context, after = seen[:3], seen[3:]
        now = context[-1]
        assert context == [max(now - 2, 0), max(now - 1, 0), now]
        assert stretches.begins[row].tolist() == [place <= 0 for place in (now - 2, now - 1, now)]
        assert after[:available] == [now + step for step in range(1, available + 1)]
        assert all(value == now + available for value in after[available:])
    assert [stretches.rows_at(step) for step in (1, 2, 3, 4)] == [11, 7, 4, 2]
    assert stretches.horizon == 1  # with ten rows at least


def test_stretches_begin_where_the_ring_has_dropped_the_reset():
    replay = streams_of(((6,),), capacity=5)
    stretches = Stretches.of(replay, 4, 2, seed=0)
    first = stretches.records(0, len(stretches), torch.device("cpu")).observation[:, 0]
    assert first.tolist() == [2.0] * 4  # the oldest living record
    assert stretches.begins[:, 0].all()


def test_replay_without_a_step_is_refused():
    replay = Replay(BOX, spaces.Discrete(3))
    replay.add_reset(np.zeros((1, 1), np.float32))
    with pytest.raises(ValueError, match="the replay holds no transition"):
        Stretches.of(replay, 1, 5, 0)


# --- open loop ------------------------------------------------------------------------------------------------------


def test_right_model_has_no_error_at_all():
    numbers = loop(LineModel(BOX, spaces.Discrete(3)), line_replay())
    assert max(numbers["observation"]["model"]["high"]) == 0
    assert numbers["observation"]["skill"] == [1.0] * 8
    assert max(numbers["reward"]["model"]) == 0
    assert max(numbers["termination"]["model"]["brier"]) == 0
    assert sum(numbers["termination"]["actual"]) > 0
    assert numbers["termination"]["model"]["survival"] == numbers["termination"]["survival"]


def test_bias_adds_up_step_by_step_in_spreads_of_the_data():
    replay = line_replay()
    stretches = Stretches.of(replay, 1, 8, 0)
    spread = stretches.records(0, len(stretches), torch.device("cpu")).observation.std(correction=0)
    numbers = loop(LineModel(BOX, spaces.Discrete(3), bias=0.25), replay)
    expected = [0.25 * step / float(spread) for step in numbers["steps"]]
    for key in ("low", "median", "high", "mean"):
        assert numbers["observation"]["model"][key] == pytest.approx(expected, rel=1e-4)
    assert numbers["reward"]["model"] == pytest.approx([0.25 * step for step in numbers["steps"]], rel=1e-4)
    skill = 1 - np.array(expected) / numbers["observation"]["copy"]["median"]
    assert numbers["observation"]["skill"] == pytest.approx(skill.tolist(), rel=1e-3)


def test_copy_control_is_the_copy_model():
    replay = line_replay()
    model = CopyModel(BOX, spaces.Discrete(3))
    model.prepare(replay)
    numbers = loop(model, replay)
    assert len(replay.transitions().reward) == numbers["rows"][0]  # so that its means are those of all data
    assert numbers["observation"]["model"] == numbers["observation"]["copy"]
    assert numbers["reward"]["model"] == pytest.approx(numbers["reward"]["copy"], rel=1e-5)
    assert numbers["termination"]["model"]["brier"] == pytest.approx(numbers["termination"]["copy"]["brier"], rel=1e-4)
    assert numbers["observation"]["skill"] == [0.0] * 8


def test_survival_of_real_episodes_is_the_product_of_their_hazards():
    termination = loop(LineModel(BOX, spaces.Discrete(3)), line_replay())["termination"]
    assert termination["survival"] == pytest.approx(np.cumprod(1 - np.array(termination["actual"])).tolist(), rel=1e-4)


class Counter(WorldModel):
    """Predicts how many records it has seen since the reset, so that it needs its whole history."""

    family = "counter"
    can_learn = False

    def initial(self, batch_size):
        return {"n": torch.zeros(batch_size, 1)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        return {"n": torch.where(first[:, None], 1.0, state["n"] + 1)}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        n = state["n"] + 1
        return {"n": n}, Prediction(n[:, 0] - 1, torch.zeros(len(action)))

    def features(self, state):
        return state["n"] - 1

    def decode(self, state):
        return state["n"] - 1


def test_memory_is_burned_in_from_the_reset_and_never_from_the_episode_before():
    replay = streams_of(((7, 9, 4) * 4, (12, 3) * 6))
    numbers = loop(Counter(BOX, spaces.Discrete(3)), replay, steps=5, burn_in=16)
    assert max(numbers["observation"]["model"]["high"]) == 0
    assert max(numbers["reward"]["model"]) == 0
    shorter = loop(Counter(BOX, spaces.Discrete(3)), replay, steps=5, burn_in=2)
    assert max(shorter["observation"]["model"]["high"]) > 0


def test_model_without_decoder_is_compared_in_features():
    replay = line_replay()
    numbers = loop(LineModel(BOX, spaces.Discrete(3), bias=0.25, blind=True), replay)
    assert numbers["observation"]["of"] == "features"
    seen = loop(LineModel(BOX, spaces.Discrete(3), bias=0.25), replay)
    assert numbers["observation"]["model"] == seen["observation"]["model"]
    assert numbers["observation"]["copy"] == seen["observation"]["copy"]


def test_untrained_control_has_the_same_network_and_other_weights():
    replay = collect("CartPole-v1", steps=60, seed=0)
    model = Ensemble.for_replay(replay, hidden=(8,), members=2, elites=1)
    before = torch.get_rng_state()
    controls = [untrained(model, replay, seed) for seed in (1, 1, 2)]
    assert (torch.get_rng_state() == before).all()
    weights = [torch.nn.utils.parameters_to_vector(control.parameters()) for control in controls]
    assert controls[0].hyperparameters() == model.hyperparameters()
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()
    assert untrained(LineModel(BOX, spaces.Discrete(3)), line_replay(), 0) is None


def test_predictions_that_are_not_finite_count_as_very_wrong_and_stay_json():
    class Broken(LineModel):
        def imagine(self, state, action, **kwargs):
            state, prediction = super().imagine(state, action, **kwargs)
            nothing = torch.full_like(prediction.reward, torch.nan)
            return {"x": state["x"] * torch.inf}, Prediction(nothing, nothing)

    replay = line_replay()
    report = fidelity(line_world_of(Broken, replay), replay, episodes=0, steps=3)
    assert min(report.open_loop["observation"]["model"]["median"]) == 1e6
    assert report.open_loop["reward"]["model"] == [1e6] * 3
    json.dumps(report.to_json(), allow_nan=False)
    draw(report)


def line_world_of(cls: type[WorldModel], replay: Replay) -> World:
    return World.from_replay(cls(replay.observation_space, replay.action_space), replay)


# --- the yardstick --------------------------------------------------------------------------------------------------


def test_images_are_measured_between_zero_and_one_by_one_common_spread():
    space = spaces.Box(0, 255, (4, 4, 1), np.uint8)
    sample = torch.zeros(2, 4, 4, 1, dtype=torch.uint8)
    sample[:, :2] = 255
    yardstick = Yardstick(space, sample)
    numbers = yardstick.numbers(sample)
    assert numbers.unique().tolist() == [0, 1]
    assert yardstick.scale.tolist() == [0.5] * 16
    assert not yardstick.varying.any()
    # Half of the pixels are off by two spreads.
    assert yardstick.error(torch.zeros_like(numbers), numbers).tolist() == pytest.approx([math.sqrt(2)] * 2)


def test_constant_entries_do_not_thin_out_the_error_but_count_when_they_are_missed():
    sample = torch.tensor([[0.0, 7.0], [2.0, 7.0]])
    yardstick = Yardstick(spaces.Box(-9, 9, (2,), np.float32), sample)
    assert yardstick.scale.tolist() == [1, 1]
    assert yardstick.error(sample + torch.tensor([0.5, 0.0]), sample).tolist() == [0.5, 0.5]
    assert yardstick.error(sample + torch.tensor([0.0, 3.0]), sample).tolist() == [3, 3]


def test_discrete_entries_become_one_number_for_each_value():
    space = spaces.Dict(
        {
            "a": spaces.Discrete(3, start=5),
            "b": spaces.MultiDiscrete([2, 3]),
            "c": spaces.MultiBinary(2),
            "d": spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    sample = {
        "a": torch.tensor([6]),
        "b": torch.tensor([[1, 2]]),
        "c": torch.tensor([[1, 0]]),
        "d": torch.tensor([[0.5, -0.5]]),
    }
    assert Yardstick(space, sample).numbers(sample).tolist() == [[0, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0.5, -0.5]]


# --- calibration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spread", "inside_50", "inside_90"),
    [(1.0, 0.5, 0.9), (3.0, 0.18, 0.42), (0.25, 0.99, 1.0)],
    ids=["calibrated", "model too sure", "model too unsure"],
)
def test_central_intervals_hold_as_much_as_the_spread_says(spread, inside_50, inside_90):
    replay = line_replay(2_000, noise=spread)
    told = calibration(LineModel(BOX, spaces.Discrete(3), spread=1.0), Stretches.of(replay, 1, 1, 0), 0)
    for name in ("observation", "reward"):
        assert told[name]["coverage_50"] == pytest.approx(inside_50, abs=0.035)
        assert told[name]["coverage_90"] == pytest.approx(inside_90, abs=0.035)
        assert sum(told[name]["ranks"]) == pytest.approx(1, abs=1e-4)


def test_bias_shows_in_the_ranks():
    replay = line_replay(1_000, noise=1.0)
    told = calibration(LineModel(BOX, spaces.Discrete(3), spread=1.0, bias=-1.0), Stretches.of(replay, 1, 1, 0), 0)
    assert told["observation"]["ranks"][-1] > 0.25 > 0.05 > told["observation"]["ranks"][0]


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    replay = line_replay(2_000)
    stretches = Stretches.of(replay, 1, 1, 0)
    right = calibration(LineModel(BOX, spaces.Discrete(3)), stretches, 0)
    assert right["observation"]["coverage_50"] == pytest.approx(0.5, abs=0.035)
    assert right["observation"]["coverage_90"] == pytest.approx(0.9, abs=0.035)
    assert right["observation"]["ranks"] == pytest.approx([0.1] * 10, abs=0.018)
    wrong = calibration(LineModel(BOX, spaces.Discrete(3), bias=0.1), stretches, 0)
    assert wrong["observation"]["coverage_90"] == 0


def test_constant_reward_has_no_calibration():
    replay = collect("CartPole-v1", steps=60, seed=0)
    told = calibration(PerfectModel.for_replay(replay), Stretches.of(replay, 1, 1, 0), 0)
    assert told["reward"] is None
    assert told["termination"]["brier"] == 0
    assert told["termination"]["auc"] == 1


def test_reliability_table_and_scores_by_hand():
    chance = torch.tensor([0.05, 0.05, 0.35, 0.35, 1.0])
    ended = torch.tensor([False, False, True, False, True])
    told = reliability(chance, ended)
    assert told["bins"] == [
        {"count": 2, "predicted": 0.05, "actual": 0.0},
        {"count": 2, "predicted": 0.35, "actual": 0.5},
        {"count": 1, "predicted": 1.0, "actual": 1.0},
    ]
    assert told["calibration_error"] == pytest.approx((2 * 0.05 + 2 * 0.15 + 0) / 5)
    assert told["brier"] == pytest.approx((2 * 0.05**2 + 0.65**2 + 0.35**2) / 5, rel=1e-5)
    assert told["base_brier"] == pytest.approx(0.24)
    pairs = [(a > b) + 0.5 * (a == b) for a in (0.35, 1.0) for b in (0.05, 0.05, 0.35)]
    assert told["auc"] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert told["log_loss"] == pytest.approx(-(2 * np.log(0.95) + np.log(0.35) + np.log(0.65)) / 5, rel=1e-4)


def test_reliability_without_an_end():
    told = reliability(torch.tensor([0.1, 0.2]), torch.tensor([False, False]))
    assert told["auc"] is None
    assert told["terminations"] == 0


# --- returns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dream", "real", "exploited", "says"),
    [
        ([400, 410, 390], [100, 110, 90], True, "ALARM: the policy exploits the model"),
        ([100, 110, 90], [400, 410, 390], False, "The dream is harder than reality"),
        ([100, 110, 90], [101, 109, 90], False, "Dream and reality agree"),
        ([105.0] * 9, [100.0] * 9, False, "agree"),  # certain, but within 10 %
        ([111.0] * 9, [100.0] * 9, True, "ALARM"),
        ([0, 400, 0, 400], [0, 300, 0, 300], False, "agree"),  # within the noise
        ([-150] * 9, [-200] * 9, True, "ALARM"),
        ([-200] * 9, [-150] * 9, False, "harder"),
        ([0.02] * 9, [0.0] * 9, True, "ALARM"),
    ],
)
def test_alarm_needs_a_difference_that_is_sure_and_large(dream, real, exploited, says):
    told = compare([float(value) for value in dream], [float(value) for value in real])
    assert told["exploited"] is exploited
    assert says in told["message"]
    assert told["difference"] == pytest.approx(np.mean(dream) - np.mean(real))


class Always:
    """An SB3-like policy of one action that notes what it is told."""

    def __init__(self, action: int, space: Any = None) -> None:
        self.action, self.told = action, []
        if space is not None:
            self.observation_space, self.action_space = space, spaces.Discrete(3)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        # The state counts the steps of each row's episode, as a recurrent policy's would know them.
        count = np.zeros(len(observation), int) if state is None else state[0]
        count = np.where(episode_start, 0, count) + 1
        self.told.append((observation.copy(), count, np.array(episode_start), deterministic))
        return np.full(len(observation), self.action), (count,)


def test_every_dream_counts_its_first_episode_only():
    world = line_world(line_replay())
    policy = Always(2)
    returns, lengths = dream_returns(
        world, PolicyOf(policy, world, True, 0), dreams=64, horizon=40, seed=0, progress=False
    )
    starts = policy.told[0][0][:, 0]
    assert np.abs(starts).max() <= 3  # resets, not the middle of an episode
    expected = [sum(x for x in np.arange(start + 2, END + 2, 2)) for start in starts]
    assert returns == expected
    assert lengths == [math.ceil((END - start) / 2) for start in starts]
    assert len(set(lengths)) > 1  # some rows go on dreaming while others are not yet done


def test_dreams_end_at_the_horizon():
    world = line_world(line_replay())
    policy = PolicyOf(lambda observation: np.zeros(len(observation), int), world, True, 0)
    _, lengths = dream_returns(world, policy, dreams=5, horizon=7, seed=0, progress=False)
    assert lengths == [7] * 5


@pytest.mark.parametrize("where", ["dream", "real", "real batch"])
def test_recurrent_policies_are_told_of_new_episodes(where):
    world, policy = line_world(line_replay()), Always(2, BOX)
    acts = PolicyOf(policy, world, True, 0)
    if where == "dream":
        dream_returns(world, acts, dreams=8, horizon=40, seed=0, progress=False)
    else:
        env: Any = Line()
        if where == "real batch":
            env = SyncVectorEnv([Line] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
        real_experience(env, acts, world, episodes=6, steps=0, seed=0, progress=False)
    before = None
    for observation, count, start, deterministic in policy.told:
        assert deterministic
        if before is None:
            assert start.all()
        else:
            # A row is new exactly where the observation does not follow from the last one.
            assert (start == (observation[:, 0] != before[:, 0] + 2)).all()
        assert (count[start] == 1).all()
        before = observation


def test_every_real_environment_contributes_as_many_episodes():
    class Lasts(Line):
        def __init__(self, steps: int) -> None:
            super().__init__()
            self.steps = steps

        def step(self, action):
            observation, _, _, _, info = super().step(0)
            return observation, 1.0, self.t >= self.steps, False, info

    envs = SyncVectorEnv([lambda n=n: Lasts(n) for n in (1, 5, 20)], autoreset_mode=AutoresetMode.SAME_STEP)
    world = line_world(line_replay())
    _, returns, _ = real_experience(
        envs, PolicyOf(None, world, True, 0), world, episodes=6, steps=0, seed=0, progress=False
    )
    assert returns == [1, 1, 5, 5, 20, 20]


def test_endless_environment_is_cut():
    class Endless(Line):
        def step(self, action):
            observation, reward, _, _, info = super().step(0)
            return observation, reward, False, False, info

    world = line_world(line_replay())
    replay, returns, limit = real_experience(
        Endless(), PolicyOf(None, world, True, 0), world, episodes=2, steps=0, seed=0, progress=False
    )
    assert limit == 1000
    assert len(returns) == 2
    assert replay.num_steps == 2000


def test_policy_of_the_latent_dream_sees_features_in_both():
    replay = line_replay()

    class Doubled(LineModel):
        def features(self, state):
            return torch.cat([2 * state["x"], state["x"]], 1)

    world = line_world_of(Doubled, replay)
    policy = Always(2, Dream(world, observation="latent").observation_space)
    acts = PolicyOf(policy, world, True, 0)
    assert acts.latent
    dream_returns(world, acts, dreams=4, horizon=40, seed=0, progress=False)
    dreamt, policy.told = policy.told, []
    real_experience(Line(), acts, world, episodes=3, steps=0, seed=0, progress=False)
    for observation, *_ in dreamt + policy.told:
        assert (observation[:, 0] == 2 * observation[:, 1]).all()
    assert not PolicyOf(Always(2, BOX), world, True, 0).latent


def test_memory_behind_the_features_of_a_latent_policy_ends_with_the_episode():
    world = line_world_of(Counter, line_replay())
    policy = Always(2, Dream(world, observation="latent").observation_space)
    envs = SyncVectorEnv([Line] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    real_experience(envs, PolicyOf(policy, world, True, 0), world, episodes=9, steps=0, seed=0, progress=False)
    assert sum(start.any() and not start.all() for _, _, start, _ in policy.told) > 0
    for features, count, _, _ in policy.told:
        assert (features[:, 0] == count - 1).all()


def test_random_actions_of_a_masked_dream_are_valid_ones():
    replay = line_replay()
    replay_of_masks = Replay(BOX, spaces.Discrete(3), columns={"action_mask": ((3,), bool)})
    batch = replay.sequences(len(replay))
    parts = (batch.observation, batch.action, batch.reward, batch.terminated, batch.truncated, batch.first)
    masks = batch.observation[0].numpy().astype(int) % 3 != np.arange(3)
    replay_of_masks.extend(*(part[0].numpy() for part in parts), action_mask=masks)

    class Masked(LineModel):
        def imagine(self, state, action, **kwargs):
            invalid.append(mask_of(state["x"])[torch.arange(len(action)), action] < 0.5)
            state, prediction = super().imagine(state, action, **kwargs)
            return state, replace(prediction, extras={"action_mask": mask_of(state["x"])})

    def mask_of(x: torch.Tensor) -> torch.Tensor:
        return (x.long() % 3 != torch.arange(3)).float()

    invalid: list[torch.Tensor] = []
    world = line_world_of(Masked, replay_of_masks)
    dream_returns(world, PolicyOf(None, world, True, 0), dreams=16, horizon=40, seed=0, progress=False)
    assert len(invalid) > 5
    assert not torch.cat(invalid).any()


def test_policy_of_other_spaces_is_refused_and_both_are_named():
    replay = line_replay()
    world = line_world(replay)
    other = spaces.Box(0, 1, (3,), np.float32)
    with pytest.raises(ValueError, match=r"the policy's observation_space is Box\(0.0, 1.0.*the world's is Box\(-100"):
        fidelity(world, replay, policy=Always(1, other))
    policy = Always(1, BOX)
    policy.action_space = spaces.Discrete(9)
    with pytest.raises(ValueError, match=r"the policy's action_space is Discrete\(9\); the world's is Discrete\(3\)"):
        fidelity(world, replay, policy=policy)
    with pytest.raises(TypeError, match="policy is a int"):
        fidelity(world, replay, policy=3)


def test_image_policy_of_sb3_with_channels_first_is_welcome():
    from stable_baselines3.common.vec_env import VecTransposeImage

    space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    replay, t = Replay(space, spaces.Discrete(3)), np.arange(3)
    images = np.zeros((3, 36, 36, 3), np.uint8)
    replay.extend(images, t * 0, t * 0, t < 0, t < 0, t == 0)
    world = line_world_of(CopyModel, replay)
    assert not PolicyOf(Always(1, VecTransposeImage.transpose_space(space)), world, True, 0).latent


# --- the report -----------------------------------------------------------------------------------------------------


def report_of_cartpole(**kwargs: Any) -> FidelityReport:
    replay = collect("CartPole-v1", steps=150, seed=0)
    world = World.from_replay(PerfectModel.for_replay(replay), replay)
    return fidelity(world, **{"real_steps": 300, "episodes": 5, "dreams": 20, "steps": 10, **kwargs})


def test_fresh_data_and_a_perfect_model():
    report = report_of_cartpole()
    assert report.data == "fresh"
    assert report.experience["policy"] == "random"
    assert report.experience["transitions"] >= 300
    assert report.open_loop["steps"] == list(range(1, 11))
    assert max(report.open_loop["observation"]["model"]["high"]) < 1e-5
    assert report.summary["observation_skill_last_step"] == pytest.approx(1, abs=1e-5)
    assert not report.returns["exploited"]
    assert len(report.returns["dream"]["returns"]) == 20
    assert len(report.returns["real"]["returns"]) == 5


def test_same_seed_same_report_and_another_seed_another():
    once, again, other = (report_of_cartpole(seed=seed).to_json() for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_fresh_data_is_not_what_collect_gives_for_the_same_seed():
    seen = []

    class Watched(Line):
        def reset(self, *, seed=None, options=None):
            seen.append(seed)
            return super().reset(seed=seed)

    fidelity(line_world(line_replay()), env=Watched(), seed=0, real_steps=50, episodes=0)
    assert seen[0] not in (None, 0)


def test_given_replay_is_called_given():
    replay = line_replay()
    report = fidelity(line_world(replay), replay, steps=5)
    assert report.data == "given"
    assert report.returns is None
    assert any("training errors" in note for note in report.notes)
    assert any("does not know its environment's id" in note for note in report.notes)
    assert report.experience["transitions"] == 600


def test_given_replay_and_environment_measure_returns_of_the_policy():
    replay = line_replay()
    report = fidelity(line_world(replay, bias=-0.5), replay, Line(), Always(1, BOX), steps=5, dreams=10)
    # A dream takes twice as many steps to the end, and each step pays.
    assert report.returns["exploited"]
    assert report.summary["exploited"] is True
    assert report.returns["policy"] == "Always"
    assert "ALARM" in report.table()
    assert report.experience["transitions"] == 600


def test_stock_sb3_policies_are_measured():
    from sb3_contrib import RecurrentPPO
    from stable_baselines3 import PPO

    replay = collect("CartPole-v1", steps=150, seed=0)
    world = World.from_replay(PerfectModel.for_replay(replay), replay)
    env = gym.make("CartPole-v1")
    for agent in (
        PPO("MlpPolicy", env, device="cpu", seed=0),
        RecurrentPPO("MlpLstmPolicy", env, device="cpu", seed=0, policy_kwargs={"lstm_hidden_size": 4}),
    ):
        report = fidelity(world, replay, policy=agent, episodes=2, dreams=4, steps=3)
        assert report.returns["policy"] == type(agent).__name__
        assert report.returns["dream"]["mean"] > 5


def test_saved_files_are_strict_json_and_a_png(tmp_path):
    report = report_of_cartpole()
    report.save(tmp_path / "here")
    replace(report, film=None).save(tmp_path / "there" / "mine.json")
    saved = json.loads((tmp_path / "here" / "fidelity.json").read_text())
    assert saved == report.to_json()
    assert (tmp_path / "here" / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["mine.json", "mine.png"]


def test_summary_is_flat_and_can_stand_in_a_world(tmp_path):
    replay = collect("CartPole-v1", steps=150, seed=0)
    world = World.from_replay(PerfectModel.for_replay(replay), replay)
    summary = fidelity(world, replay, episodes=2, dreams=4, steps=3).summary
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in summary.values())
    world.with_fidelity(summary).save(tmp_path / "world")
    assert World.load(tmp_path / "world").spec.fidelity == summary


def test_world_that_cannot_decode_says_so_and_has_no_film():
    replay = line_replay()
    report = fidelity(line_world(replay, blind=True), replay, Line(), steps=5, episodes=3, dreams=6)
    assert report.film is None
    assert any("cannot decode" in note for note in report.notes)
    assert report.open_loop["observation"]["of"] == "features"
    assert report.returns is not None
    draw(report)


def test_film_shows_one_real_stretch_and_its_dream():
    replay = line_replay()
    film = fidelity(line_world(replay, bias=0.25), replay, episodes=0, steps=15).film
    assert film.steps[0] == 1
    assert film.steps[-1] == 15
    for step, real, dream in zip(film.steps, film.real, film.dream, strict=True):
        assert dream[0] - real[0] == pytest.approx(0.25 * step, rel=1e-4)


def test_ensemble_stands_beside_both_controls():
    replay = collect("CartPole-v1", steps=150, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world = fit(Ensemble.for_replay(replay, hidden=(16,), members=2, elites=2), replay, max_epochs=60, seed=0)
    report = fidelity(world, episodes=2, dreams=4, steps=5, real_steps=200)
    error = {name: report.open_loop["observation"][name]["median"][0] for name in ("model", "copy", "untrained")}
    assert error["model"] < min(error["copy"], error["untrained"])
    assert "untrained" in report.table()


class _Elsewhere(Line):
    observation_space: ClassVar = spaces.Box(0, 1, (1,), np.float32)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "the world does not know its environment's id; give env"),
        ({"replay": streams_of(((3,),)), "steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"env": Line(), "real_steps": 0}, "real_steps=0 must be a whole number of at least 1"),
        ({"env": Line(), "episodes": -1}, "episodes=-1 must be a whole number of at least 0"),
        ({"env": Line(), "episodes": 1}, "episodes=1 and dreams=100 must be at least 2"),
        ({"env": Line(), "dreams": 1}, "episodes=20 and dreams=1 must be at least 2"),
        ({"env": _Elsewhere()}, r"the environment's observation_space is Box\(0.0.*the world's is Box\(-100"),
        (
            {"replay": Replay(_Elsewhere.observation_space, spaces.Discrete(3))},
            r"the replay's observation_space is Box\(0.0.*the world's is Box\(-100",
        ),
    ],
)
def test_bad_input_gets_one_clear_error(kwargs, message):
    with pytest.raises(ValueError, match=message):
        fidelity(line_world(line_replay(60)), **kwargs)


def test_world_of_an_environment_that_is_not_here_needs_another():
    replay = line_replay(60)
    replay.env_id = "Nowhere-v7"
    world = line_world(replay)
    with pytest.raises(ValueError, match="cannot make 'Nowhere-v7'"):
        fidelity(world)
    assert fidelity(world, replay, steps=2).returns is None
    assert fidelity(world, env=Line(), steps=2, real_steps=50, episodes=0).data == "fresh"


def test_path_of_a_saved_world_will_do(tmp_path):
    replay = collect("CartPole-v1", steps=60, seed=0)
    World.from_replay(PerfectModel.for_replay(replay), replay).save(tmp_path / "world")
    assert fidelity(tmp_path / "world", replay, episodes=0, steps=2).world["family"] == "perfect"
    assert isinstance(DreamVectorEnv(tmp_path / "world", 2).dream, Dream)


def test_report_is_made_of_json_types():
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]

    kinds = {type(leaf) for leaf in leaves(report_of_cartpole(episodes=0).to_json())}
    assert kinds <= {str, int, float, bool, type(None)}
