"""What is imagined, and what actor and critic learn from it, in worlds whose every number is known."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dreamer_parts import TINY, TINY_V1
from gymnasium import spaces
from torch import Tensor, nn

from imagine_agents.dreamer import DreamerPolicy
from imagine_agents.dreamer.behaviour import Imagined, actor_loss, critic_loss, imagine, replay_value_loss
from imagine_agents.dreamer.distributions import OneHot
from imagine_agents.dreamer.returns import lambda_returns
from imagine_envs.experience import Batch
from imagine_envs.world_models import Prediction

GAMMA, LAMBDA = 0.9, 0.8


class Ladder:
    """A known world. Features are (clock, last action, sum of actions): a step adds 1, the action, the action.

    The reward of arriving is 10 · last action + clock; the episode ends with the probabilities ``ends[clock]``.
    """

    def __init__(self, ends: tuple[float, ...] = (0.0, 0.5, 0.0, 0.25, 0.0)) -> None:
        self.ends = torch.tensor(ends)
        self.latent = SimpleNamespace(noise=lambda shape, device, generator: torch.zeros(*shape, 1))

    def features(self, state: dict[str, Tensor]) -> Tensor:
        return state["x"]

    def dream(self, state: dict[str, Tensor], action: Tensor, noise: Tensor) -> dict[str, Tensor]:
        clock, _, total = state["x"].unbind(-1)
        value = action[..., 0]
        return {"x": torch.stack([clock + 1, value, total + value], -1)}

    def predict(self, features: Tensor) -> Prediction:
        clock, last, _ = features.unbind(-1)
        return Prediction(10 * last + clock, self.ends[clock.detach().long()])


class Fixed:
    """Acts with the noise that it is handed: a known number for each step and row."""

    def __init__(self, script: Tensor | None = None) -> None:
        self.script = script

    def noise(self, shape: tuple[int, ...], device: Any, generator: Any) -> Tensor:
        return torch.zeros(*shape, 1) if self.script is None else self.script[..., None]

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return parameters + noise


class Linear(nn.Module):
    """A critic: c · features, of the loss ½ (v − x)²."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weight

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def loss(self, parameters: Tensor, *targets: Tensor) -> Tensor:
        return sum(0.5 * (parameters - target).square() for target in targets)


def stub(*, through_dynamics: bool, actor: Any = None, script: Tensor | None = None, **kwargs: Any) -> Any:
    return SimpleNamespace(
        **{
            "world": Ladder(),
            "actions": Fixed(script),
            "actor": actor or (lambda features: torch.zeros(*features.shape[:-1], 1)),
            "critic": Linear(0.5, 0.0, 0.25),
            "slow_critic": None,
            "within_bounds": lambda action: action,
            "behaviour": SimpleNamespace(through_dynamics=through_dynamics),
            "return_range": SimpleNamespace(scale=torch.tensor(4.0)),
            **kwargs,
        }
    )


def starts(*rows: tuple[float, float, float]) -> dict[str, Tensor]:
    return {"x": torch.tensor(rows)}


SCRIPT = torch.tensor([[1.0, -1.0], [2.0, 0.5], [-3.0, 0.25]])


def dreamed(policy: Any, ended: tuple[bool, ...] = (False, False), horizon: int = 3) -> Imagined:
    given = starts((0.0, 7.0, 1.0), (1.0, -7.0, 2.0))
    return imagine(policy, given, torch.tensor(ended), horizon, GAMMA, LAMBDA, torch.Generator())


# --- imagination ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through_dynamics", [False, True])
def test_every_reward_belongs_to_the_action_before_it(through_dynamics: bool) -> None:
    imagined = dreamed(stub(through_dynamics=through_dynamics, script=SCRIPT))
    assert imagined.action[..., 0].tolist() == SCRIPT.tolist()
    # clock, last action, sum: the start is the state 0, and action t leads to the state t + 1
    assert imagined.features[:, 0].tolist() == [[0, 7, 1], [1, 1, 2], [2, 2, 4], [3, -3, 1]]
    assert imagined.features[:, 1].tolist() == [[1, -7, 2], [2, -1, 1], [3, 0.5, 1.5], [4, 0.25, 1.75]]
    # 10 a_t + clock of the state t + 1; what led to the start (±7) counts for nothing
    assert imagined.reward.tolist() == [[11, -8], [22, 8], [-27, 6.5]]


def test_discounts_weights_and_returns_are_those_of_the_states_arrived_at() -> None:
    imagined = dreamed(stub(through_dynamics=False, script=SCRIPT))
    # Ends with ½ in clock 1, ¼ in clock 3: the states 1 … 3 have the clocks 1, 2, 3 and 2, 3, 4
    expected = GAMMA * torch.tensor([[0.5, 1.0], [1.0, 0.75], [0.75, 1.0]])
    torch.testing.assert_close(imagined.going_on, expected)
    # The start has weight 1 whatever it looks like (the second is in clock 1); the last state has none
    weight = torch.tensor([[1, 1], [GAMMA / 2, GAMMA], [GAMMA**2 / 2, 0.75 * GAMMA**2]])
    torch.testing.assert_close(imagined.weight, weight)
    value = imagined.features @ torch.tensor([0.5, 0.0, 0.25])
    torch.testing.assert_close(imagined.value, value)
    for row in (0, 1):  # by hand, from behind
        r, d, v = imagined.reward[:, row], imagined.going_on[:, row], value[1:, row]
        last = r[2] + d[2] * v[2]
        middle = r[1] + d[1] * ((1 - LAMBDA) * v[1] + LAMBDA * last)
        first = r[0] + d[0] * ((1 - LAMBDA) * v[0] + LAMBDA * middle)
        torch.testing.assert_close(imagined.returns[:, row], torch.stack([first, middle, last]))


@pytest.mark.parametrize("through_dynamics", [False, True])
def test_what_is_dreamed_from_an_end_has_no_weight(through_dynamics: bool) -> None:
    policy = stub(through_dynamics=through_dynamics, script=SCRIPT)
    both, one = dreamed(policy), dreamed(policy, ended=(True, False))
    assert one.weight[:, 0].tolist() == [0, 0, 0]
    assert torch.equal(one.weight[:, 1], both.weight[:, 1])
    assert torch.equal(one.returns, both.returns)


def test_without_a_discount_the_first_step_alone_has_weight() -> None:
    policy = stub(through_dynamics=False, script=SCRIPT)
    given = starts((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    imagined = imagine(policy, given, torch.tensor([False, True]), 3, 0.0, LAMBDA, torch.Generator())
    assert imagined.weight.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert torch.equal(imagined.returns, imagined.reward)


def test_the_world_sees_actions_within_their_bounds_the_actor_is_asked_about_what_it_said() -> None:
    policy = stub(through_dynamics=False, script=SCRIPT)
    policy.within_bounds = lambda action: action.clamp(-1, 1)
    imagined = dreamed(policy)
    assert imagined.action[..., 0].tolist() == SCRIPT.tolist()
    assert imagined.features[1:, 0, 1].tolist() == [1, 1, -1]


def test_the_actor_acts_on_the_state_that_it_is_in() -> None:
    policy = stub(through_dynamics=False, actor=lambda features: features.sum(-1, keepdim=True))
    imagined = dreamed(policy)
    for t in range(3):
        assert torch.equal(imagined.action[t, :, 0], imagined.features[t].sum(-1))


# --- the actor --------------------------------------------------------------------------------------------------------


def test_reinforce_is_its_gradient_by_hand() -> None:
    """∇ = −mean(w · advantage / S · (onehot − p) sᵀ) − η · mean(w · ∇H), for logits = W s."""
    generator = torch.Generator().manual_seed(0)
    actor = nn.Linear(3, 4, bias=False)
    policy = stub(through_dynamics=False, actor=actor, actions=OneHot(4, 0.0))
    features = torch.randn(3, 5, 3, generator=generator)
    action = torch.eye(4)[torch.randint(4, (2, 5), generator=generator)]
    returns, weight = (torch.rand(2, 5, generator=generator) for _ in range(2))
    zeros = torch.zeros(2, 5)
    value = policy.critic(features)
    chosen = actor(features[:-1])
    imagined = Imagined(features, chosen, action, zeros, zeros, value, value.detach(), returns, weight)

    loss, entropy = actor_loss(policy, imagined, ent_coef=0.3)
    loss.backward()

    expected, entropies = torch.zeros(4, 3), []
    for t in range(2):
        for row in range(5):
            s = features[t, row]
            p = (actor.weight.detach() @ s).softmax(-1)
            h = -(p * p.log()).sum()
            advantage = (returns[t, row] - value[t, row].detach()) / 4.0
            of_log = action[t, row] - p
            of_entropy = -p * (p.log() + h)
            expected -= weight[t, row] * torch.outer(advantage * of_log + 0.3 * of_entropy, s) / 10
            entropies.append(h)
    torch.testing.assert_close(actor.weight.grad, expected)
    torch.testing.assert_close(entropy, torch.stack(entropies).mean())
    assert policy.critic.weight.grad is None  # the baseline does not learn from the actor's loss


def test_through_the_dynamics_is_its_gradient_by_hand() -> None:
    """a_t = θ · sum_t; the state that an action is chosen in is a constant to it (no gradient by way of θ sg(s))."""
    theta = nn.Parameter(torch.tensor(0.5))
    policy = stub(through_dynamics=True, actor=lambda features: theta * features[..., 2:])
    policy.world.ends = torch.zeros(9)
    given = starts((0.0, 0.0, 3.0))
    imagined = imagine(policy, given, torch.tensor([False]), 2, GAMMA, 1.0, torch.Generator())
    # sums s: 3, 3 + 1.5, 4.5 + 2.25; R_1 = 10 a_1 + 2 + γ v(2), R_0 = 10 a_0 + 1 + γ R_1, v = ½ clock + ¼ s
    assert imagined.features[:, 0, 2].tolist() == [3.0, 4.5, 6.75]
    loss, _ = actor_loss(policy, imagined, ent_coef=0.0)
    loss.backward(inputs=[theta])
    # da_0 = s_0 = 3, da_1 = s_1 = 4.5, ds_2 = da_0 + da_1
    of_last = 10 * 4.5 + GAMMA * 0.25 * (3.0 + 4.5)
    of_first = 10 * 3.0 + GAMMA * of_last
    assert float(theta.grad) == pytest.approx(-(of_first + GAMMA * of_last) / 2, rel=1e-6)
    assert not imagined.weight.requires_grad
    assert policy.critic.weight.grad is None


def test_weights_are_no_way_for_a_gradient() -> None:
    """An actor could make little of bad states by making ends likely; the weight must not teach it."""
    theta = nn.Parameter(torch.tensor(1.0))
    policy = stub(through_dynamics=True, actor=lambda features: theta * torch.ones(*features.shape[:-1], 1))
    policy.world.predict = lambda features: Prediction(0 * features[..., 0] - 1, features[..., 1].sigmoid())
    policy.critic = Linear(0.0, 0.0, 0.0)
    imagined = dreamed(policy)
    assert imagined.going_on.requires_grad
    assert not imagined.weight.requires_grad
    loss, _ = actor_loss(policy, imagined, ent_coef=0.0)
    loss.backward(inputs=[theta])
    # what is left is the discount inside of the returns: R = −1 − d_1 (…), d_1 = γ (1 − σ(θ))
    p = torch.tensor(1.0).sigmoid()
    slope = -GAMMA * p * (1 - p)
    d = GAMMA * (1 - p)
    of_middle = -LAMBDA * slope  # R_2 = −1, R_1 = −1 − d λ, R_0 = −1 + d λ R_1
    of_first = slope * LAMBDA * (-1 - d * LAMBDA) + d * LAMBDA * of_middle
    assert float(theta.grad) == pytest.approx(-float(of_first + d * of_middle) / 3, rel=1e-5)


def test_through_the_dynamics_too_the_entropy_is_weighted() -> None:
    actor = nn.Linear(3, 2, bias=False)
    policy = stub(through_dynamics=True, actor=actor, actions=OneHot(2, 0.0))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 2, 3, generator=generator)
    returns, weight = torch.randn(2, 2, generator=generator), torch.rand(2, 2, generator=generator)
    chosen = actor(features[:-1])
    imagined = Imagined(features, chosen, features, returns, returns, returns, returns, returns, weight)
    loss, entropy = actor_loss(policy, imagined, ent_coef=0.5)
    p = actor(features[:-1]).softmax(-1)
    h = -(p * p.log()).sum(-1)
    torch.testing.assert_close(loss, -(weight * (returns + 0.5 * h)).mean())
    torch.testing.assert_close(entropy, h.mean().detach())


# --- gradients in the real networks -----------------------------------------------------------------------------------

BOX, DISCRETE = spaces.Box(-2, 1, (2,), np.float32), spaces.Discrete(3, start=1)
SEEN = spaces.Box(-1, 1, (3,), np.float32)


def real(preset: str, action_space: Any) -> DreamerPolicy:
    torch.manual_seed(0)
    architecture = TINY_V1 if preset == "v1" else TINY
    policy = DreamerPolicy(
        SEEN, action_space, lambda _: 1e-3, preset=preset, sequence_length=5, architecture=architecture
    )
    if preset == "v3":  # whose heads say 0 of everything at first, and would otherwise say millions
        for head in (policy.critic, policy.world.reward):
            nn.init.normal_(head.out.weight, std=0.1)
            head.out.bias.data -= 0.05 * torch.arange(-127.0, 128.0).square()
    if policy.slow_critic is not None:
        policy.slow_critic.load_state_dict(policy.critic.state_dict())
    return policy


def real_batch(action_space: Any, length: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(1)
    flags = torch.zeros(2, length, dtype=torch.bool)
    first, terminated = flags.clone(), flags.clone()
    first[0, 3], terminated[0, 2], terminated[1, -1] = True, True, True
    action = torch.ones(2, length, dtype=torch.int64)
    if isinstance(action_space, spaces.Box):
        action = torch.rand(2, length, 2, generator=generator)
    reward = torch.randn(2, length, generator=generator) * ~first
    observation = torch.randn(2, length, 3, generator=generator)
    return Batch(observation, action, reward, terminated, flags, first, torch.zeros(2, length, dtype=torch.int64))


def real_imagined(policy: DreamerPolicy, seed: int = 2) -> tuple[Batch, Any, Imagined]:
    batch = real_batch(policy.action_space)
    loss = policy.world.loss(batch, generator=torch.Generator().manual_seed(0))
    given = {name: tensor.detach().flatten(0, 1) for name, tensor in loss.states.items()}
    ended, generator = batch.terminated.flatten(), torch.Generator().manual_seed(seed)
    return batch, loss, imagine(policy, given, ended, 3, GAMMA, LAMBDA, generator)


def reached(loss: Tensor, policy: DreamerPolicy) -> set[str]:
    """The parts of the policy that a gradient of the loss reaches."""
    policy.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    parts = {name for name, p in policy.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    return {name.split(".")[0] for name in parts}


KINDS = [("v3", DISCRETE), ("v3", BOX), ("v1", DISCRETE), ("v1", BOX)]


@pytest.mark.parametrize(("preset", "action_space"), KINDS)
def test_gradients_reach_what_they_are_for(preset: str, action_space: Any) -> None:
    policy = real(preset, action_space)
    batch, loss, imagined = real_imagined(policy)
    assert reached(critic_loss(policy, imagined), policy) == {"critic"}
    of_actor, _ = actor_loss(policy, imagined, policy.behaviour.ent_coef)
    if preset == "v3":
        assert reached(of_actor, policy) == {"actor"}
        assert not imagined.returns.requires_grad
        of_replay = replay_value_loss(policy, policy.world.features(loss.states), batch, imagined, GAMMA, LAMBDA)
        assert reached(of_replay, policy) == {"critic", "world"}
    else:  # by way of the world and the critic, which the agent leaves alone
        assert reached(of_actor, policy) >= {"actor", "world", "critic"}
    assert not imagined.weight.requires_grad


@pytest.mark.parametrize(("preset", "action_space"), KINDS)
def test_imagination_is_that_of_its_generator(preset: str, action_space: Any) -> None:
    policy = real(preset, action_space)
    _, _, one = real_imagined(policy)
    torch.manual_seed(123)
    _, _, same = real_imagined(policy)
    _, _, other = real_imagined(policy, seed=3)
    for name in ("features", "action", "returns"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))
    assert one.features.shape == (4, 10, policy.world.num_features)
    assert one.action.shape == (3, 10, policy.world.actions.width)
    assert one.reward.shape == one.going_on.shape == one.returns.shape == one.weight.shape == (3, 10)


@pytest.mark.parametrize(("preset", "action_space"), KINDS)
def test_imagination_takes_the_steps_of_the_world(preset: str, action_space: Any) -> None:
    """Step by step through the public protocol, with the noise that was drawn first: the same states and rewards."""
    policy = real(preset, action_space)
    world = policy.world
    _, loss, imagined = real_imagined(policy)
    noise = world.latent.noise((3, 10), torch.device("cpu"), torch.Generator().manual_seed(2))
    state = {name: tensor.detach().flatten(0, 1) for name, tensor in loss.states.items()}
    with torch.no_grad():
        for t in range(3):
            action = imagined.action[t].clamp(-1, 1)
            encoded = world.actions(world.actions.decode(action))  # as the real environment's would be
            state = world.dream(state, encoded, noise[t])
            features = world.features(state)
            torch.testing.assert_close(imagined.features[t + 1], features)
            prediction = world.predict(features)
            torch.testing.assert_close(imagined.reward[t], prediction.reward)
            torch.testing.assert_close(imagined.going_on[t], GAMMA * (1 - prediction.terminated))
    value = policy.critic.mean(policy.critic(imagined.features)).detach()
    expected = lambda_returns(imagined.reward, imagined.going_on, value[1:], LAMBDA)
    torch.testing.assert_close(imagined.returns, expected)


def test_actions_are_brought_within_their_bounds_one_by_one() -> None:
    policy = real("v3", BOX)
    action = torch.tensor([[-3.0, 0.5], [1.0, 2.0]], requires_grad=True)
    bounded = policy.within_bounds(action)
    assert bounded.tolist() == [[-1.0, 0.5], [1.0, 1.0]]
    bounded.sum().backward()
    torch.testing.assert_close(action.grad, torch.tensor([[1 / 3, 1.0], [1.0, 0.5]]))


# --- the critic -------------------------------------------------------------------------------------------------------


def test_the_critic_learns_returns_and_is_pulled_to_the_slow_one() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = stub(through_dynamics=False, slow_critic=Linear(1.0, -1.0, 0.0))
    features = torch.randn(3, 5, 3, generator=generator)
    returns, weight = (torch.rand(2, 5, generator=generator) for _ in range(2))
    value = policy.critic(features)
    imagined = Imagined(features, features, features, returns, returns, value, value.detach(), returns, weight)
    loss = critic_loss(policy, imagined)
    v, slow = value[:-1].detach(), policy.slow_critic(features[:-1]).detach()
    expected = (weight * (0.5 * (v - returns) ** 2 + 0.5 * (v - slow) ** 2)).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    gradient = (weight * (2 * v - returns - slow))[..., None] * features[:-1] / 10
    torch.testing.assert_close(policy.critic.weight.grad, gradient.sum((0, 1)))
    assert policy.slow_critic.weight.grad is None


def test_the_slow_critic_follows_at_its_rate() -> None:
    policy = real("v3", DISCRETE)
    assert policy.slow_critic is not None
    assert not any(p.requires_grad for p in policy.slow_critic.parameters())
    learned = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert not learned & {id(p) for p in policy.slow_critic.parameters()}
    before = copy.deepcopy(policy.slow_critic.state_dict())
    for p in policy.critic.parameters():
        p.data += 1.0
    policy.follow()
    for name, p in policy.slow_critic.named_parameters():
        torch.testing.assert_close(p, 0.98 * before[name] + 0.02 * policy.critic.get_parameter(name))
    # the slow critic of other weights is nobody else's
    assert not {id(p) for p in policy.slow_critic.parameters()} & {id(p) for p in policy.critic.parameters()}


def test_v1_has_no_slow_critic() -> None:
    policy = real("v1", BOX)
    assert policy.slow_critic is None
    policy.follow()


# --- the critic's loss on real sequences ------------------------------------------------------------------------------

T = 9
#         0  1  2  3  4  5  6  7  8
FIRST = ([1, 0, 0, 0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0])
ENDS = ([0, 0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0])
CUTS = ([0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1])
# Row 0: truncated at 3, terminated at 6, open at the end. Row 1: an episode that was left open at 2 (no flag: the
# environment was reset from outside), terminated at the end. Row 2: terminated at 0, truncated at the end.


def handmade(seed: int = 0) -> tuple[Batch, Tensor, Tensor]:
    """The batch, features ``[3, T, 3]`` and the imagined returns ``[3, T]`` of its records."""
    generator = torch.Generator().manual_seed(seed)
    first, terminated, truncated = (torch.tensor(rows, dtype=torch.bool) for rows in (FIRST, ENDS, CUTS))
    reward = torch.randn(3, T, generator=generator).masked_fill(first, 0.0)
    nothing = torch.zeros(3, T, dtype=torch.int64)
    batch = Batch(torch.zeros(3, T, 1), nothing, reward, terminated, truncated, first, nothing)
    return batch, torch.randn(3, T, 3, generator=generator), torch.randn(3, T, generator=generator)


def imagined_from(returns: Tensor) -> Imagined:
    rows = torch.stack([returns.flatten(), 1000 + returns.flatten()])  # later returns are of no use here
    return Imagined(*[rows] * 9)


def brute_force(batch: Batch, boot: Tensor, row: int, t: int) -> float | None:
    """The λ-return of record t: n-step returns along its own episode, up to the last record known of it."""
    first, terminated = batch.first[row].tolist(), batch.terminated[row].tolist()
    last = t
    while last + 1 < T and not first[last + 1]:
        last += 1
    if last == t:
        return None
    steps = []
    for n in range(1, last - t + 1):
        total = sum(GAMMA ** (k - 1) * float(batch.reward[row, t + k]) for k in range(1, n + 1))
        steps.append(total + (0.0 if terminated[t + n] else GAMMA**n * float(boot[row, t + n])))
    shares = [(1 - LAMBDA) * LAMBDA ** (n - 1) for n in range(1, len(steps))] + [LAMBDA ** (len(steps) - 1)]
    return sum(share * step for share, step in zip(shares, steps, strict=True))


def replay_loss(batch: Batch, features: Tensor, boot: Tensor, **kwargs: Any) -> Tensor:
    policy = stub(through_dynamics=False, **kwargs)
    return replay_value_loss(policy, features, batch, imagined_from(boot), GAMMA, LAMBDA)


def test_the_loss_on_real_sequences_is_that_of_a_loop() -> None:
    batch, features, boot = handmade()
    critic, slow = Linear(0.5, 0.0, 0.25), Linear(-1.0, 2.0, 0.5)
    without, with_slow, count = 0.0, 0.0, 0
    for row in range(3):
        for t in range(T - 1):
            target = brute_force(batch, boot, row, t)
            if target is None:
                assert batch.first[row, t + 1]
                continue
            value, other = critic(features[row, t]).item(), slow(features[row, t]).item()
            without += 0.5 * (value - target) ** 2
            with_slow += 0.5 * (value - target) ** 2 + 0.5 * (value - other) ** 2
            count += 1
    assert count == 3 * (T - 1) - 4
    assert replay_loss(batch, features, boot).item() == pytest.approx(without / (3 * (T - 1)), rel=1e-5)
    loss = replay_loss(batch, features, boot, slow_critic=slow)
    assert loss.item() == pytest.approx(with_slow / (3 * (T - 1)), rel=1e-5)


def targets(batch: Batch, boot: Tensor) -> Tensor:
    """What the critic is asked to say of each record ``[3, T − 1]``; NaN where it is asked nothing."""
    value = torch.zeros(3, T, requires_grad=True)
    critic = SimpleNamespace(forward=None, mean=None, loss=lambda v, x: 0.5 * (v[..., 0] - x).square())
    policy = stub(through_dynamics=False, critic=_Callable(critic))
    loss = replay_value_loss(policy, value[..., None], batch, imagined_from(boot), GAMMA, LAMBDA)
    (gradient,) = torch.autograd.grad(loss * 3 * (T - 1), value)  # v − x, with v = 0
    assert gradient[:, -1].tolist() == [0, 0, 0]
    return torch.where(gradient[:, :-1] == 0, torch.nan, -gradient[:, :-1])


class _Callable:
    def __init__(self, namespace: Any) -> None:
        self.loss = namespace.loss

    def __call__(self, features: Tensor) -> Tensor:
        return features


def test_what_follows_a_reset_is_another_episode() -> None:
    batch, _, boot = handmade()
    asked = targets(batch, boot)
    for row in range(3):
        for t in range(T - 1):
            expected = brute_force(batch, boot, row, t)
            assert float(asked[row, t]) == pytest.approx(float("nan") if expected is None else expected, nan_ok=True)
    # The records before a reset lead nowhere: truncated, terminated, left open, terminated
    assert asked.isnan().nonzero().tolist() == [[0, 3], [0, 6], [1, 2], [2, 0]]


def test_terminations_are_worth_nothing_and_truncations_what_is_imagined() -> None:
    batch, _, boot = handmade()
    before = targets(batch, boot)
    moved = boot.clone()
    for row, t in ((0, 6), (1, 8), (2, 0)):  # terminal records
        moved[row, t] += 100
    torch.testing.assert_close(targets(batch, moved), before, equal_nan=True)
    moved = boot.clone()
    moved[0, 3] += 100  # truncated: the record before it is worth γ of that, the one before a share of it
    after = targets(batch, moved)
    assert float(after[0, 2] - before[0, 2]) == pytest.approx(GAMMA * 100, rel=1e-4)
    assert float(after[0, 1] - before[0, 1]) == pytest.approx(GAMMA**2 * LAMBDA * 100, rel=1e-4)
    assert torch.equal(after[0, 4:].isnan(), before[0, 4:].isnan())
    torch.testing.assert_close(after[0, 4:], before[0, 4:], equal_nan=True)
    moved = boot.clone()
    moved[1, 2] += 100  # left open: as if truncated
    assert float(targets(batch, moved)[1, 1] - before[1, 1]) == pytest.approx(GAMMA * 100, rel=1e-4)


def test_a_reset_one_record_early_or_late_is_another_loss() -> None:
    batch, features, boot = handmade()
    right = replay_loss(batch, features, boot).item()
    for shift in (-1, 1):
        wrong = replace(batch, first=batch.first.roll(shift, 1))
        assert abs(replay_loss(wrong, features, boot).item() - right) > 1e-2


def test_the_imagined_returns_are_found_row_by_row() -> None:
    """Row b · T + t of what was dreamed belongs to record t of window b."""
    batch, features, boot = handmade()
    one = replay_loss(batch[torch.tensor([0])], features[:1], boot[:1])
    rows = [replay_loss(batch[torch.tensor([i])], features[i : i + 1], boot[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(replay_loss(batch, features, boot), torch.stack(rows).mean())
    assert torch.equal(one, rows[0])
