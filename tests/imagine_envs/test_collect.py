import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecTransposeImage

from imagine_envs.experience import Collector, Replay, collect

LENGTHS = (3, 1, 4)


def length_of(tag, episode):
    return LENGTHS[(episode + tag) % 3]


def choose(tag, episode, t):
    return (3 * episode + 5 * t + tag) % 7


class Counting(gym.Env):
    """Observes (tag, episode, t); pays 100·episode + t on arriving; odd episodes are truncated."""

    def __init__(self, tag=0, kind="flat", masked=False, told=None):
        self.observation_space = spaces.Box(-1, 1000, (3,), np.float32)
        if kind == "dict":
            self.observation_space = spaces.Dict({"all": self.observation_space, "t": spaces.Discrete(10)})
        self.action_space = spaces.Discrete(7)
        self.tag, self.kind, self.episode, self.t = tag, kind, -1, 0
        self.seeds, self.log = [], []
        if masked:
            self.action_masks = lambda: np.arange(7) == choose(self.tag, self.episode, self.t)
        if told is not None:
            self.replay_columns = {"told": told}

    def observe(self):
        flat = np.array([self.tag, self.episode, self.t], np.float32)
        return flat if self.kind == "flat" else {"all": flat, "t": self.t}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.t = self.episode + 1, 0
        return self.observe(), {"where": self.t, "told": np.full(2, -1)}

    def step(self, action):
        assert self.t < length_of(self.tag, self.episode), "stepped after the end"
        self.log.append((self.episode, self.t, int(action)))
        self.t += 1
        end = self.t == length_of(self.tag, self.episode)
        even = self.episode % 2 == 0
        reward = float(100 * self.episode + self.t)
        told = np.array([self.episode, self.t])
        return self.observe(), reward, end and even, end and not even, {"where": self.t, "told": told}


class DenseFinalObs(SyncVectorEnv):
    """Hands over the final observations as one batch, as natively batched environments do."""

    def step(self, actions):
        observation, reward, terminated, truncated, infos = super().step(actions)
        if "final_obs" in infos:
            final = infos["final_obs"]
            if isinstance(observation, dict):
                blank = {key: np.zeros_like(value[0]) for key, value in observation.items()}
                rows = [blank if row is None else row for row in final]
                infos["final_obs"] = {key: np.stack([row[key] for row in rows]) for key in blank}
            else:
                infos["final_obs"] = np.stack([np.full(3, -1) if row is None else row for row in final])
        return observation, reward, terminated, truncated, infos


def functions(n, **kwargs):
    return [lambda tag=tag: Counting(tag, **kwargs) for tag in range(n)]


KINDS = {
    "env": lambda n, **kwargs: Counting(**kwargs),
    "same step": lambda n, **k: SyncVectorEnv(functions(n, **k), autoreset_mode=AutoresetMode.SAME_STEP),
    "same step, aliased": lambda n, **k: SyncVectorEnv(
        functions(n, **k), copy=False, autoreset_mode=AutoresetMode.SAME_STEP
    ),
    "same step, dense": lambda n, **k: DenseFinalObs(functions(n, **k), autoreset_mode=AutoresetMode.SAME_STEP),
    "next step": lambda n, **k: SyncVectorEnv(functions(n, **k), autoreset_mode=AutoresetMode.NEXT_STEP),
    "next step, aliased": lambda n, **k: SyncVectorEnv(
        functions(n, **k), copy=False, autoreset_mode=AutoresetMode.NEXT_STEP
    ),
    "disabled": lambda n, **k: SyncVectorEnv(functions(n, **k), autoreset_mode=AutoresetMode.DISABLED),
    "disabled, aliased": lambda n, **k: SyncVectorEnv(
        functions(n, **k), copy=False, autoreset_mode=AutoresetMode.DISABLED
    ),
    "sb3": lambda n, **k: DummyVecEnv(functions(n, **k)),
}
KINDS_OF_WORKERS = {
    "async": lambda n, **k: AsyncVectorEnv(functions(n, **k), context="fork", autoreset_mode=AutoresetMode.SAME_STEP),
    "sb3 workers": lambda n, **k: SubprocVecEnv(functions(n, **k), start_method="fork"),
}


def policy(observation):
    flat = np.asarray(observation["all"] if isinstance(observation, dict) else observation).astype(int)
    return choose(flat[..., 0], flat[..., 1], flat[..., 2])


def expected_stream(tag, count):
    """(tag, episode, t, action, reward, terminated, truncated, first), record by record."""
    rows, episode = [], 0
    while len(rows) < count:
        rows.append((tag, episode, 0, 0, 0.0, False, False, True))
        length = length_of(tag, episode)
        for t in range(1, length + 1):
            end, even = t == length, episode % 2 == 0
            action = choose(tag, episode, t - 1)
            rows.append((tag, episode, t, action, 100.0 * episode + t, end and even, end and not even, False))
        episode += 1
    return rows[:count]


def found_stream(replay, env):
    last = max(episode.stop for episode in replay.episodes() if episode.env == env)
    window = replay.windows([env], last)[0]
    observation = window.observation
    if isinstance(observation, dict):
        assert observation["t"].tolist() == observation["all"][:, 2].long().tolist()
        observation = observation["all"]
    columns = (window.action, window.reward, window.terminated, window.truncated, window.first)
    return [
        (*map(int, row), *rest)
        for row, *rest in zip(observation.tolist(), *(column.tolist() for column in columns), strict=True)
    ]


def check(replay, n):
    for env in range(n):
        found = found_stream(replay, env)
        assert found == expected_stream(env, len(found))
        assert not found[-1][-1], "a stream ends in a reset of which no step is known"
        assert len(found) > 15


# --- every pairing, record by record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("obs", ["flat", "dict"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_environment_gives_the_same_streams(kind, obs):
    n = 1 if kind == "env" else 3
    env = KINDS[kind](n, kind=obs)
    replay = collect(env, policy, steps=60 * n, seed=5)
    assert replay.num_envs == n
    assert 60 * n <= replay.num_steps < 60 * n + n
    check(replay, n)
    singles = [env] if kind == "env" else env.envs
    for single, seed in zip(singles, range(5, 5 + n), strict=True):
        seeds = single.unwrapped.seeds
        assert (seeds[0], set(seeds[1:])) == (seed, {None})
        # The actions that the environment saw are the recorded ones, each in its place.
        assert all(action == choose(single.unwrapped.tag, *place) for *place, action in single.unwrapped.log)
    assert sum(len(single.unwrapped.log) for single in singles) == replay.num_steps


@pytest.mark.parametrize("kind", KINDS_OF_WORKERS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_environments_in_worker_processes_give_the_same_streams(kind):
    env = KINDS_OF_WORKERS[kind](2)
    replay = collect(env, policy, steps=60)
    env.close()
    check(replay, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_collection_in_pieces_is_collection_at_once(kind):
    n = 1 if kind == "env" else 2
    collector = Collector(KINDS[kind](n))
    summaries = [collector.collect(policy, steps) for steps in (1, 2, 3, 5, 8, 13, 40)]
    check(collector.replay, n)
    assert sum(summary.num_steps for summary in summaries) == collector.replay.num_steps
    episodes = [episode for episode in collector.replay.episodes() if episode.complete]
    found = sorted(
        (r, length) for s in summaries for r, length in zip(s.episode_returns, s.episode_lengths, strict=True)
    )
    assert found == sorted((episode.total_reward, episode.num_steps) for episode in episodes)
    assert len(found) > 10


@pytest.mark.parametrize("kind", ["same step", "next step", "disabled"])
def test_another_batch_of_the_same_class_does_not_change_when_this_one_resets(kind):
    for mode in AutoresetMode:
        env = KINDS[kind](3)
        env.metadata["autoreset_mode"] = mode  # which batches of one class share in Gymnasium 1.1
        check(collect(env, policy, steps=90, seed=5), 3)


def test_steps_of_one_environment_are_exact():
    for steps in (1, 2, 3, 4, 7):
        replay = collect(Counting(), policy, steps=steps)
        assert replay.num_steps == steps
        assert len(found_stream(replay, 0)) == steps + replay.num_episodes
        assert replay.transitions().observation[-1, 1, 2] >= 1  # the last record was arrived at


def test_a_second_collection_starts_anew_and_leaves_the_open_episode_open():
    env = Counting()
    replay = collect(env, policy, steps=2)
    assert collect(env, policy, steps=4, replay=replay) is replay
    rows = [(episode, t, first) for _, episode, t, *_, first in found_stream(replay, 0)]
    assert rows[:3] == [(0, 0, True), (0, 1, False), (0, 2, False)]
    assert rows[3:5] == [(1, 0, True), (1, 1, False)]
    assert rows[5:] == [(2, 0, True), (2, 1, False), (2, 2, False), (2, 3, False)]
    assert [episode.complete for episode in replay.episodes()] == [False, True, False]


def test_a_time_limit_truncates():
    replay = collect(TimeLimit(Counting(2), 2), policy, steps=6)
    assert [(e.num_steps, e.terminated, e.truncated) for e in replay.episodes()] == [
        (2, False, True),
        (2, False, True),
        (1, True, False),
        (1, False, False),
    ]


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["env", "next step", "sb3"])
def test_random_actions_are_seeded(kind):
    n = 1 if kind == "env" else 2
    streams = [found_stream(collect(KINDS[kind](n), steps=80, seed=seed), 0) for seed in (3, 3, 4)]
    assert streams[0] == streams[1]
    assert streams[0] != streams[2]
    assert {row[3] for row in streams[0]} == set(range(7))


def test_one_environment_and_a_batch_of_one_take_the_same_random_actions():
    streams = [found_stream(collect(KINDS[kind](1), steps=30, seed=3), 0) for kind in ("env", "same step", "sb3")]
    assert streams[0] == streams[1] == streams[2]


class Recurrent:
    """Counts the steps of each episode, and asserts that what it is told of the starts is true."""

    observation_space = spaces.Box(-1, 1000, (3,), np.float32)
    action_space = spaces.Discrete(7)

    def __init__(self, waits=False):
        self.calls = []
        self.waits = waits

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        steps = np.zeros(len(observation)) if state is None else state
        steps = np.where(episode_start, 0, steps)
        live = np.array([t < length_of(int(tag), int(episode)) for tag, episode, t in observation])
        assert live.all() or self.waits
        np.testing.assert_array_equal(steps[live], observation[live, 2])
        self.calls.append((state is None, deterministic))
        return policy(observation), steps + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_policy_keeps_its_state_through_calls_and_loses_it_at_resets(kind):
    n = 1 if kind == "env" else 3
    agent = Recurrent(waits=kind.startswith("next"))
    collector = Collector(KINDS[kind](n))
    for _ in range(30):
        collector.collect(agent, 2 * n, deterministic=True)
    check(collector.replay, n)
    assert agent.calls[0] == (True, True)
    assert set(agent.calls[1:]) == {(False, True)}


def test_another_policy_starts_without_the_state_of_the_last():
    class Agent:
        def __init__(self):
            self.calls = []

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            self.calls.append((state, episode_start.tolist()))
            return policy(observation), len(self.calls)

    collector = Collector(Counting(2))
    one, other = Agent(), Agent()
    for agent in (one, other, one, one):
        collector.collect(agent, 1)
    # The first episode has four steps.
    assert one.calls == [(None, [True]), (None, [True]), (2, [False])]
    assert other.calls == [(None, [True])]


def test_an_sb3_algorithm_collects():
    model = A2C("MlpPolicy", DummyVecEnv(functions(1)), device="cpu")
    replay = collect(Counting(), model, steps=20, deterministic=True)
    batch = replay.transitions()
    action, _ = model.predict(batch.observation[:, 0].numpy(), deterministic=True)
    assert batch.action[:, 1].tolist() == action.tolist()


class Picture(Counting):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (36, 40, 3), np.uint8)

    def observe(self):
        return np.full((36, 40, 3), self.episode, np.uint8)


def test_an_sb3_image_policy_is_accepted_whatever_the_order_of_the_channels():
    model = A2C("CnnPolicy", Picture(), device="cpu")
    assert model.observation_space.shape == (3, 36, 40)
    replay = collect(Picture(), model, steps=3)
    assert replay.transitions().observation.shape == (3, 2, 36, 40, 3)
    replay = collect(VecTransposeImage(DummyVecEnv([Picture])), model, steps=6)
    batch = replay.transitions().observation
    assert batch.shape == (6, 2, 3, 36, 40)
    assert (batch[:, 0] == batch[:, 1]).all()  # a terminal observation belongs to its own episode


# --- action masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_recorded_and_obeyed(kind):
    n = 1 if kind == "env" else 3
    replay = collect(KINDS[kind](n, masked=True), steps=60 * n)  # at random: one action is legal, the policy's
    check(replay, n)
    for env in range(n):
        stop = len(found_stream(replay, env))
        masks = replay.windows([env], stop)[0].columns["action_mask"].tolist()
        for mask, (tag, episode, t, *_, terminated, truncated, _first) in zip(
            masks, found_stream(replay, env), strict=True
        ):
            ended = terminated or truncated
            assert mask == [ended or action == choose(tag, episode, t) for action in range(7)]


class Masked(gym.Env):
    observation_space = spaces.Discrete(2)

    def __init__(self, action_space, mask):
        self.action_space, self.mask = action_space, np.array(mask)

    def action_masks(self):
        return self.mask

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return 1, 0.0, False, False, {}


def test_random_actions_obey_masks_of_every_discrete_space():
    replay = collect(Masked(spaces.Discrete(4, start=2), [True, False, True, False]), steps=40, seed=0)
    assert set(replay.transitions().action[:, 1].tolist()) == {2, 4}
    mask = [False, True, True, True, False, True]
    replay = collect(Masked(spaces.MultiDiscrete([3, 3]), mask), steps=60, seed=0)
    assert set(map(tuple, replay.transitions().action[:, 1].tolist())) == {(1, 0), (1, 2), (2, 0), (2, 2)}
    replay = collect(Masked(spaces.MultiBinary(2), [True, True, False, True]), steps=40, seed=0)
    assert set(map(tuple, replay.transitions().action[:, 1].tolist())) == {(0, 1), (1, 1)}
    with pytest.raises(ValueError, match="allows no action"):
        collect(Masked(spaces.Discrete(2), [False, False]), steps=1)
    with pytest.raises(ValueError, match="a discrete one was expected"):
        collect(Masked(spaces.Box(0, 1), [True]), steps=1)


def test_a_policy_that_takes_masks_is_given_them():
    class Agent:
        def predict(self, observation, state=None, episode_start=None, deterministic=False, action_masks=None):
            return action_masks.argmax(axis=1), None

    check(collect(Counting(masked=True), Agent(), steps=40), 1)


# --- what infos tell --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_environment_names_of_its_infos_is_recorded_where_it_happened(kind, masked):
    n = 1 if kind == "env" else 3
    replay = collect(KINDS[kind](n, told=((2,), np.float32), masked=masked), policy, steps=60 * n)
    check_told(replay, n)
    assert set(replay.columns) == {"told"} | ({"action_mask"} if masked else set())


@pytest.mark.parametrize("kind", KINDS_OF_WORKERS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_tell_too(kind):
    env = KINDS_OF_WORKERS[kind](2, told=((2,), np.int32))
    replay = collect(env, policy, steps=60)
    env.close()
    check_told(replay, 2)


def check_told(replay, n):
    """The last step of an episode tells what it did itself, and a reset nothing, not even what its own info says."""
    check(replay, n)
    for env in range(n):
        stream = found_stream(replay, env)
        told = replay.windows([env], len(stream))[0].columns["told"].tolist()
        assert told == [[0, 0] if first else [episode, t] for _, episode, t, *_, first in stream]


def test_what_infos_promise_and_do_not_hold_is_named():
    env = Counting(told=((2,), np.float32))
    env.replay_columns = {"heard": ((), bool)}
    with pytest.raises(ValueError, match="the info of a step of environment 0 has no 'heard', which its replay_col"):
        collect(env, policy, steps=1)
    with pytest.raises(ValueError, match=r"told has the shape \(1, 2\); \(1, 3\) was expected"):
        collect(Counting(told=((3,), np.float32)), policy, steps=1)


# --- hooks, metadata, errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_on_step_sees_each_step_and_can_stop(kind):
    n = 1 if kind == "env" else 2
    seen = []

    def on_step(*, new_obs, actions, rewards, dones, infos, num_steps):
        assert len(new_obs) == len(actions) == len(rewards) == len(dones) == len(infos) == n
        assert all(isinstance(info, dict) for info in infos)
        if not kind.startswith("next"):
            # The info is that of the step, even where the environment has been reset since.
            assert [info["where"] == 0 for info in infos] == [False] * n
            assert [bool(done) for done in dones] == [row[2] == 0 for row in new_obs.tolist()]
        seen.append(num_steps)
        return len(seen) < 9

    collector = Collector(KINDS[kind](n))
    summary = collector.collect(policy, 1000, on_step=on_step)
    assert summary.stopped
    assert len(seen) == 9
    assert summary.num_steps == sum(seen) == collector.replay.num_steps
    assert not collector.collect(policy, 1, on_step=lambda **_: True).stopped


def test_statistics_of_a_vector_environment_reach_on_step():
    env = RecordEpisodeStatistics(KINDS["same step"](2))
    found = []

    def on_step(*, infos, **_):
        found.extend((float(info["episode"]["r"]), int(info["episode"]["l"])) for info in infos if "episode" in info)
        return True

    summary = Collector(env).collect(policy, 40, on_step=on_step)
    assert found == list(zip(summary.episode_returns, summary.episode_lengths, strict=True))
    assert len(found) > 8


def test_the_replay_knows_its_environment():
    def identity(env):
        replay = Collector(env).replay
        return replay.env_id, replay.env_kwargs, replay.max_episode_steps

    expected = ("CartPole-v1", {"sutton_barto_reward": True}, 500)
    assert identity(gym.make("CartPole-v1", sutton_barto_reward=True, render_mode="rgb_array")) == expected
    for mode in ("sync", "vector_entry_point"):
        assert identity(gym.make_vec("CartPole-v1", 2, vectorization_mode=mode, sutton_barto_reward=True)) == expected
    assert identity(DummyVecEnv([lambda: gym.make("CartPole-v1", sutton_barto_reward=True)])) == expected
    assert identity(Counting()) == (None, {}, None)
    assert identity("CartPole-v1") == ("CartPole-v1", {}, 500)


def test_natively_batched_environments_collect():
    for mode in ("vector_entry_point", "sync"):
        env = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode=mode)
        replay = collect(env, lambda observation: (observation[:, 2] > 0).astype(np.int64), steps=400, seed=0)
        batch = replay.transitions()
        # Positions move by velocity: a wrong pairing over a reset would break it.
        moved = batch.observation[:, 0, 0] + 0.02 * batch.observation[:, 0, 1]
        np.testing.assert_allclose(batch.observation[:, 1, 0].numpy(), moved.numpy(), atol=1e-6)
        assert batch.terminated[:, 1].sum() > 4


def test_an_exception_does_not_tear_the_stream():
    env = Counting()
    collector = Collector(env, seed=7)
    collector.collect(policy, 2)

    def broken(observation):
        raise RuntimeError("policy")

    with pytest.raises(RuntimeError, match="policy"):
        collector.collect(broken, 1)
    summary = collector.collect(policy, 6)
    assert env.seeds == [7, None, None, None]
    assert summary.episode_lengths == [1, 4]
    rows = [(episode, t) for _, episode, t, *_ in found_stream(collector.replay, 0)]
    assert rows[:5] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    for _, episode, t, action, *_, first in found_stream(collector.replay, 0):
        assert first or action == choose(0, episode, t - 1)


class Broken(Counting):
    def step(self, action):
        observation, *rest = super().step(action)
        if self.episode == 0 and self.t == 2:
            observation = observation * np.nan
        return observation, *rest


def test_an_observation_that_is_not_finite_stops_the_collection_and_the_next_starts_anew():
    collector = Collector(Broken())
    with pytest.raises(ValueError, match="observation holds NaN or infinity"):
        collector.collect(policy, 5)
    collector.collect(policy, 1)
    rows = [(episode, t) for _, episode, t, *_ in found_stream(collector.replay, 0)]
    assert rows == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="cannot make 'NoSuchEnvironment-v0'"):
        collect("NoSuchEnvironment-v0", steps=1)
    with pytest.raises(ValueError, match="cannot make 'no_such_module:X-v0'"):
        collect("no_such_module:X-v0", steps=1)
    with pytest.raises(TypeError, match="env is a int"):
        collect(3, steps=1)
    with pytest.raises(TypeError, match="policy is a str"):
        collect(Counting(), "random", steps=1)
    with pytest.raises(ValueError, match="steps is 0; at least 1"):
        collect(Counting(), steps=0)
    with pytest.raises(ValueError, match=r"policy gave actions of the shape \(1, 1\); \(1,\) was expected"):
        collect(Counting(), lambda observation: [3], steps=1)
    agent = Recurrent()
    agent.action_space = spaces.Discrete(3)
    with pytest.raises(
        ValueError, match=r"the policy's action_space is Discrete\(3\); the environment's is Discrete\(7\)"
    ):
        collect(Counting(), agent, steps=1)
    env = VectorEnv()
    env.num_envs, env.single_observation_space, env.single_action_space = 1, agent.action_space, agent.action_space
    env.metadata = {}
    with pytest.raises(ValueError, match=r"is None; a gymnasium\.vector\.AutoresetMode was expected"):
        collect(env, steps=1)


def test_a_replay_of_another_environment_is_refused():
    space, actions = Counting().observation_space, spaces.Discrete(7)
    for replay, message in [
        (Replay(space, spaces.Discrete(3)), r"action_space is Discrete\(3\); the environment's is Discrete\(7\)"),
        (Replay(space, actions, num_envs=2), "has 2 streams; the environment needs num_envs=1"),
        (Replay(space, actions, columns={"x": ((), float)}), r"has the columns \['x'\]; the environment gives \[\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            collect(Counting(), steps=1, replay=replay)
    replay = collect("CartPole-v1", steps=3)
    other = gym.make("CartPole-v1", sutton_barto_reward=True)
    with pytest.raises(ValueError, match=r"the replay is of CartPole-v1 {}; the environment is CartPole-v1 {'sutton"):
        collect(other, steps=3, replay=replay)


def test_progress_is_shown_where_it_is_asked_for(capsys):
    collect(Counting(), steps=5)
    assert capsys.readouterr().err == ""
    collect(Counting(), steps=5, progress=True)
    assert "5/5" in capsys.readouterr().err
