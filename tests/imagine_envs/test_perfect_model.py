"""The tensor ports against Gymnasium's own environments, and the world model made of them."""

import json
import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.experience.replay import Replay
from imagine_envs.world_models.classic_control import TASKS, CartPole, MountainCarContinuous, Pendulum, task
from imagine_envs.world_models.perfect_model import PerfectModel

STEPS = 1500

CASES = [
    ("CartPole-v1", {}),
    ("CartPole-v1", {"sutton_barto_reward": True}),
    ("Pendulum-v1", {}),
    ("Pendulum-v1", {"g": 3.7}),
    ("Acrobot-v1", {}),
    ("MountainCarContinuous-v0", {}),
    ("MountainCarContinuous-v0", {"goal_velocity": 0.02}),
]


@dataclass
class Trace:
    """What a real environment did: one row for each step."""

    state: torch.Tensor
    action: torch.Tensor
    next_state: torch.Tensor
    observation: torch.Tensor
    next_observation: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    after_reset: torch.Tensor


def swinging(env_id: str, state: np.ndarray, env: gym.Env, rng: np.random.Generator):
    """Random actions, with enough purpose in half of the episodes to reach goals, walls and speed limits."""
    action = env.action_space.sample()
    if rng.random() < 0.15:
        return action
    if env_id == "Acrobot-v1":
        return int(np.sign(state[3]) + 1)
    if env_id == "MountainCarContinuous-v0":
        return np.array([1.0 if state[1] >= 0 else -1.0], dtype=np.float32)
    if env_id == "Pendulum-v1":
        return np.array([2.0 if state[1] >= 0 else -2.0], dtype=np.float32)
    return action


def record(env_id: str, env_kwargs: dict, steps: int = STEPS) -> Trace:
    env = gym.make(env_id, **env_kwargs)
    env.action_space.seed(0)
    rng = np.random.default_rng(0)
    rows, episode, fresh = [], 0, True
    observation, _ = env.reset(seed=1)
    for _ in range(steps):
        state = np.array(env.unwrapped.state, dtype=np.float64)
        action = swinging(env_id, state, env, rng) if episode % 2 == 0 else env.action_space.sample()
        next_observation, reward, terminated, truncated, _ = env.step(action)
        next_state = np.array(env.unwrapped.state, dtype=np.float64)
        rows.append((state, action, next_state, observation, next_observation.copy(), reward, terminated, fresh))
        observation, fresh = next_observation.copy(), False
        if terminated or truncated:
            observation, _ = env.reset()
            episode, fresh = episode + 1, True
    columns = [torch.as_tensor(np.array(column)) for column in zip(*rows, strict=True)]
    return Trace(*columns)


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    return {}


@pytest.fixture
def trace(request, traces) -> Trace:
    env_id, env_kwargs = request.param
    key = f"{env_id} {env_kwargs}"
    if key not in traces:
        traces[key] = record(env_id, env_kwargs)
    return traces[key]


def with_traces(*cases):
    return pytest.mark.parametrize(("trace", "case"), [(case, case) for case in cases or CASES], indirect=["trace"])


@with_traces()
def test_every_real_step_is_reproduced_to_the_last_bit(trace, case):
    port = task(*case)
    next_state, reward, terminated = port.step(trace.state, trace.action)
    assert next_state.dtype == torch.float64
    assert torch.equal(port.observation(next_state), trace.next_observation)
    assert torch.equal(reward.float(), trace.reward.float())
    assert torch.equal(terminated, trace.terminated)
    # torch's and numpy's sine and cosine differ in float64's last place; nothing else does.
    torch.testing.assert_close(next_state, trace.next_state, rtol=0, atol=2e-14)


@with_traces()
def test_the_trace_holds_what_is_hard(trace, case):
    env_id = case[0]
    assert len(trace.reward) >= 1000
    assert trace.after_reset.sum() >= (2 if env_id == "MountainCarContinuous-v0" else 3)
    if env_id == "Pendulum-v1":
        assert (trace.next_state[:, 1].abs() == 8).any()
        assert (trace.state[:, 0].abs() > math.pi).any()
    else:
        assert trace.terminated.any()
    if env_id == "Acrobot-v1":
        angle = trace.state[:, :2]
        assert ((angle - trace.next_state[:, :2]).abs() > math.pi).any(), "no angle was wrapped"
    if case == ("MountainCarContinuous-v0", {"goal_velocity": 0.02}):
        assert trace.next_state[:, 0].max() > 0.45


def test_mountain_car_stops_at_the_left_wall_and_at_its_speed_limit():
    env = gym.make("MountainCarContinuous-v0").unwrapped
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    port = TASKS["MountainCarContinuous-v0"]
    stopped = limited = 0
    for _ in range(300):
        state = np.array([rng.uniform(-1.2, -1.1), rng.uniform(-0.07, 0.07)], dtype=np.float32)
        if rng.random() < 0.5:
            state = np.array([rng.uniform(-1.0, -0.3), rng.choice([-1, 1]) * rng.uniform(0.0685, 0.07)], np.float32)
        action = rng.uniform(-1, 1, size=1).astype(np.float32)
        env.state = state
        expected, reward, _, _, _ = env.step(action)
        found, found_reward, _ = port.step(torch.from_numpy(state)[None].double(), torch.from_numpy(action)[None])
        assert found[0].float().tolist() == expected.tolist()
        assert found_reward[0].item() == reward
        stopped += expected[0] == np.float32(-1.2) and expected[1] == 0
        limited += abs(expected[1]) == np.float32(0.07)
    assert stopped > 20
    assert limited > 20


@pytest.mark.parametrize("goal_velocity", [0, 0.02])
def test_mountain_car_arrives_when_the_real_car_does(goal_velocity):
    env = gym.make("MountainCarContinuous-v0", goal_velocity=goal_velocity).unwrapped
    env.reset(seed=0)
    port = task("MountainCarContinuous-v0", {"goal_velocity": goal_velocity})
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        state = np.array([rng.uniform(0.42, 0.45), rng.uniform(-0.02, 0.05)], dtype=np.float32)
        action = rng.uniform(-1, 1, size=1).astype(np.float32)
        env.state = state
        arrived, reward, expected, _, _ = env.step(action)
        _, found_reward, terminated = port.step(torch.from_numpy(state)[None].double(), torch.from_numpy(action)[None])
        assert (terminated.item(), found_reward.item()) == (expected, reward)
        outcomes.add((bool(arrived[0] >= 0.45), bool(arrived[1] >= goal_velocity), expected))
    assert (True, True, True) in outcomes
    assert (False, True, False) in outcomes
    assert goal_velocity == 0 or (True, False, False) in outcomes
    # The goal and its speed are part of the goal, in float32 as in the real car.
    goal, speed = np.float32(0.45), np.float32(goal_velocity)
    short, slow = np.nextafter(goal, np.float32(0)), np.nextafter(speed, np.float32(-1))
    at = torch.tensor([[goal, speed], [short, speed], [goal, slow]], dtype=torch.float64)
    assert port.terminated(at).tolist() == port.terminated(at.float()).tolist() == [True, False, False]


def test_a_pendulum_that_was_put_somewhere_shows_no_torque():
    env = gym.make("Pendulum-v1")
    env.reset(seed=0)
    env.step(np.array([2.0], dtype=np.float32))
    assert env.unwrapped.last_u == 2.0
    TASKS["Pendulum-v1"].set_state(env, np.array([0.5, 0.0]))
    assert env.unwrapped.last_u is None


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_actions_beyond_the_space_are_clipped_as_in_the_environment(env_id):
    env = gym.make(env_id).unwrapped
    env.reset(seed=0)
    for value in (-7.3, -1.0000001, 1.0, 2.5, 40.0):
        state = np.array(env.state, dtype=np.float64)
        action = np.array([value], dtype=np.float32)
        expected, reward, _, _, _ = env.step(action)
        next_state, found, _ = TASKS[env_id].step(torch.from_numpy(state)[None], torch.from_numpy(action)[None])
        np.testing.assert_allclose(TASKS[env_id].observation(next_state)[0], expected, rtol=0, atol=1e-8)
        assert found.float().item() == np.float32(reward)


@with_traces()
def test_a_batch_is_its_rows(trace, case):
    port = task(*case)
    batch = port.step(trace.state[:64], trace.action[:64])
    for row in range(64):
        single = port.step(trace.state[row : row + 1], trace.action[row : row + 1])
        for found, expected in zip(single, batch, strict=True):
            torch.testing.assert_close(found[0], expected[row], rtol=0, atol=1e-14)


@with_traces()
def test_state_of_inverts_observation(trace, case):
    port = task(*case)
    # The first two coordinates of a state may be angles, which an observation shows up to whole turns.
    state = port.state_of(trace.observation.double())
    assert torch.allclose(port.observation(state), trace.observation, rtol=0, atol=1e-6)
    difference = state - trace.state
    if case[0] == "Pendulum-v1":
        difference[:, 0] = difference[:, 0].remainder(2 * math.pi)
        difference[:, 0] = torch.minimum(difference[:, 0], 2 * math.pi - difference[:, 0])
    assert difference.abs().max() < 2e-6
    assert port.state_of(trace.observation).dtype == torch.float32


@with_traces()
def test_set_state_continues_a_real_environment(trace, case):
    env = gym.make(case[0], **case[1])
    env.reset(seed=5)
    port = task(*case)
    for row in (0, 7, 400, 1200):
        port.set_state(env, trace.state[row].numpy())
        if case[0] == "MountainCarContinuous-v0" and trace.after_reset[row]:
            continue  # the environment itself holds such a state in float64
        observation, *_ = env.unwrapped.step(trace.action[row].numpy()[()])
        assert torch.equal(torch.from_numpy(observation), trace.next_observation[row])


@pytest.mark.parametrize("env_id", TASKS)
def test_dreams_of_the_perfect_model_are_the_real_environment(env_id):
    env = gym.make(env_id)
    env.action_space.seed(3)
    observation, _ = env.reset(seed=3)
    model = PerfectModel.for_env(env)
    first = torch.ones(1, dtype=torch.bool)
    nothing = torch.zeros(1, dtype=torch.long)
    state = model.observe(model.initial(1), nothing, torch.from_numpy(observation)[None], first)
    for _ in range(60):
        action = env.action_space.sample()
        observation, reward, terminated, _, _ = env.step(action)
        state, prediction = model.imagine(state, torch.as_tensor(action)[None])
        # The dream starts from a float32 observation, the environment from a float64 state.
        np.testing.assert_allclose(model.features(state)[0], observation, rtol=0, atol=2e-4)
        np.testing.assert_allclose(prediction.reward, [reward], rtol=0, atol=2e-4)
        assert prediction.terminated.tolist() == [float(terminated)]
        if terminated:
            break


def test_observe_forgets_everything_but_the_observation():
    model = PerfectModel.for_env("Pendulum-v1")
    observation = torch.tensor([[0.6, 0.8, 2.0], [1.0, 0.0, -8.0]])
    states = [
        model.observe({"state": torch.full((2, 2), fill)}, torch.full((2, 1), fill), observation, torch.tensor(first))
        for fill, first in ((0.0, [True, True]), (5.0, [False, True]))
    ]
    assert torch.equal(states[0]["state"], states[1]["state"])
    assert states[0]["state"].dtype == torch.float64
    torch.testing.assert_close(states[0]["state"][0], torch.tensor([math.atan2(0.8, 0.6), 2.0]).double())


@pytest.mark.parametrize("env_id", TASKS)
def test_the_model_keeps_the_protocol(env_id):
    model = PerfectModel.for_env(env_id)
    assert (model.family, model.markov, model.can_decode) == ("perfect", True, True)
    assert (model.can_learn, model.has_uncertainty) == (False, False)
    assert all(buffer.is_floating_point() for buffer in model.buffers())
    assert model.device.type == "cpu"
    action = torch.as_tensor(np.stack([model.action_space.sample() for _ in range(5)]))
    state = model.initial(5)
    before = {name: value.clone() for name, value in state.items()}
    after, prediction = model.imagine(state, action, temperature=0.0, generator=torch.Generator())
    again, _ = model.imagine(state, action)
    assert torch.equal(state["state"], before["state"])
    assert torch.equal(after["state"], again["state"])
    for value in (prediction.reward, prediction.terminated):
        assert value.shape == (5,)
        assert value.dtype == torch.float32
    assert prediction.uncertainty is None
    assert model.features(after).dtype == torch.float32
    with pytest.raises(ValueError, match="uncertainty=True"):
        model.imagine(state, action, uncertainty=True)
    with pytest.raises(ValueError, match="no ensemble"):
        model.member(0)


def test_decode_stays_within_the_space():
    model = PerfectModel.for_env("CartPole-v1")
    decoded = model.decode({"state": torch.tensor([[9.0, 50.0, -2.0, 0.0]], dtype=torch.float64)})
    assert decoded.dtype == torch.float32
    assert model.observation_space.contains(decoded[0].numpy())
    assert decoded[0, 1] == 50.0


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_rewards_of_a_dream_can_be_differentiated(env_id):
    model = PerfectModel.for_env(env_id)
    observation = torch.tensor([[0.6, 0.8, 0.3]]) if env_id == "Pendulum-v1" else torch.tensor([[-0.5, 0.01]])
    state = {"state": model.task.state_of(observation.double()).requires_grad_()}
    action = torch.full((1, 1), 0.3, requires_grad=True)
    after, _ = model.imagine(state, action)
    after, prediction = model.imagine(after, action)
    (prediction.reward.sum() + model.features(after).sum()).backward()
    assert torch.isfinite(action.grad).all()
    assert (action.grad != 0).all()
    assert (state["state"].grad != 0).all()
    if env_id == "Pendulum-v1":
        start = state["state"].detach()
        assert torch.autograd.gradcheck(
            lambda row, a: model.task.step(row, a)[:2], (start.requires_grad_(), action.double())
        )


@with_traces()
def test_hyperparameters_build_the_model_again(trace, case):
    env = gym.make(case[0], render_mode="rgb_array", **case[1])
    model = PerfectModel.for_env(env)
    arguments = json.loads(json.dumps(model.hyperparameters()))
    assert arguments == {"env_id": case[0], "env_kwargs": case[1]}
    again = PerfectModel(env.observation_space, env.action_space, **arguments)
    again.load_state_dict(model.state_dict())
    assert again.task == task(*case)
    assert torch.equal(
        again.imagine({"state": trace.state}, trace.action)[0]["state"],
        model.imagine({"state": trace.state}, trace.action)[0]["state"],
    )


def test_vector_environments_name_their_model():
    assert PerfectModel.for_env(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"))
    envs = gym.make_vec("Pendulum-v1", num_envs=3, vectorization_mode="sync", g=3.0)
    model = PerfectModel.for_env(envs)
    assert model.task == Pendulum(g=3.0)
    assert model.hyperparameters()["env_kwargs"] == {"g": 3.0}
    assert model.observation_space == envs.single_observation_space


def test_a_replay_names_its_model():
    env = gym.make("Pendulum-v1")
    replay = Replay(env.observation_space, env.action_space)
    with pytest.raises(ValueError, match="does not know its environment's id"):
        PerfectModel.for_replay(replay)
    replay.env_id, replay.env_kwargs = "Pendulum-v1", {"g": 2.0}
    assert PerfectModel.for_replay(replay).task == Pendulum(g=2.0)
    assert PerfectModel.for_replay(replay, env_id="Pendulum-v1").task == Pendulum()


def test_what_cannot_be_modelled_is_refused():
    with pytest.raises(
        ValueError, match=r"'Blackjack-v1'.*CartPole-v1, Pendulum-v1, Acrobot-v1, MountainCarContinuous-v0"
    ):
        PerfectModel.for_env("Blackjack-v1")
    with pytest.raises(ValueError, match=r"no argument 'gravity'.*only g"):
        task("Pendulum-v1", {"gravity": 1.0})
    with pytest.raises(ValueError, match=r"no argument 'g'.*takes none"):
        task("Acrobot-v1", {"g": 1.0})
    with pytest.raises(ValueError, match=r"'g'.*finite number"):
        task("Pendulum-v1", {"g": math.nan})
    with pytest.raises(ValueError, match=r"'sutton_barto_reward'.*True or False"):
        task("CartPole-v1", {"sutton_barto_reward": 1})
    env = gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1.0), np.float32(1.0))
    with pytest.raises(ValueError, match=r"action_space is Box.*knows no wrappers"):
        PerfectModel.for_env(env)
    with pytest.raises(ValueError, match=r"observation_space is Box"):
        PerfectModel(spaces.Box(-1, 1, (4,)), spaces.Discrete(2), "CartPole-v1")


def test_arguments_reach_the_port():
    assert task("CartPole-v1", {"render_mode": "human"}) == CartPole()
    assert task("MountainCarContinuous-v0", {"goal_velocity": 0.1}) == MountainCarContinuous(0.1)
