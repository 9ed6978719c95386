from __future__ import annotations

import copy
import json
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from imagine_envs.dreams import Dream
from imagine_envs.experience import Batch, Replay
from imagine_envs.world_models import Ensemble, World, fit, fit_model, register_reward, register_termination
from imagine_envs.world_models.stacked_mlp import StackedMLP

OBSERVATION = spaces.Box(np.array([-50, -np.inf, -10], np.float32), np.array([50, np.inf, 20], np.float32))
# Some of what is dreamed from some_observations lies beyond these bounds, and some within.
TIGHT = spaces.Box(np.array([-0.5, -np.inf, 0], np.float32), np.array([0.25, np.inf, np.inf], np.float32))
DISCRETE = spaces.Discrete(3, start=1)
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
SMALL: dict[str, Any] = {"hidden": (8, 6), "arrival_hidden": (5,)}
GOLDEN_LOSSES = [7.546001, 7.351795]
GOLDEN_ERRORS = [2.024561, 2.012322, 1.977276]


def scrambled(
    action_space: spaces.Space[Any] = DISCRETE,
    *,
    members: int = 5,
    elites: int = 3,
    ends: bool = True,
    observation_space: spaces.Box = OBSERVATION,
    **kwargs: Any,
) -> Ensemble:
    """An ensemble in which every number differs from every other, so that no mix-up stays unseen."""
    torch.manual_seed(0)
    model = Ensemble(observation_space, action_space, members=members, elites=elites, **{**SMALL, **kwargs})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.min_log_variance.fill_(-4).add_(torch.randn_like(model.min_log_variance))
        model.input_mean[:3] = torch.randn(3)
        model.input_scale[:3] = 0.5 + torch.rand(3)
        model.target_mean.copy_(torch.randn(4))
        model.target_std.copy_(0.5 + torch.rand(4))
        model.terminal_reward_mean.fill_(-3)
        model.terminal_reward_std.fill_(1.5)
        model.rewards_apart.fill_(ends)
        model.terminates.fill_(ends)
    model.load_state_dict(model.state_dict())  # what is kept beside the buffers follows them
    return model.eval()


def some_observations(rows: int) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))


def some_actions(space: spaces.Space[Any], rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if isinstance(space, spaces.Discrete):
        return torch.randint(int(space.n), (rows,), generator=generator) + int(space.start)
    return torch.as_tensor(BOX.low) + torch.rand(rows, 2, generator=generator) * torch.as_tensor(BOX.high - BOX.low)


def plain_network(stack: Any, member: int, hidden: Tensor) -> Tensor:
    """One member of a stack, layer by layer with the textbook's swish."""
    for layer, (weights, biases) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        hidden = F.linear(hidden, weights[member].T, biases[member, 0])
        if layer < len(stack.weights) - 1:
            hidden = F.silu(hidden)
    return hidden


def plain_gaussian(model: Ensemble, member: int, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of (Δobservation, reward) in the environment's units: ``[B, 4]`` each."""
    if isinstance(model.action_space, spaces.Discrete):
        encoded = torch.eye(3)[action - 1]
    else:
        encoded = torch.stack([action[:, 0] / 2, action[:, 1] / 5 - 1], 1)
    scaled = (observation - model.input_mean[:3]) * model.input_scale[:3]
    mean, log_variance = plain_network(model.dynamics, member, torch.cat([scaled, encoded], 1)).chunk(2, 1)
    high, low = model.max_log_variance[member, 0], model.min_log_variance[member, 0]
    log_variance = high - F.softplus(high - log_variance)
    log_variance = low + F.softplus(log_variance - low)
    return mean * model.target_std + model.target_mean, (log_variance / 2).exp() * model.target_std


def plain_arrival(model: Ensemble, member: int, next_observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What belongs to the observation arrived at: p(end) ``[B]``, the reward if it was the end ``[B]``, masks."""
    scaled = (next_observation - model.input_mean[:3]) * model.input_scale[:3]
    output = plain_network(model.arrival, member, scaled)
    terminal = output[:, 1] * model.terminal_reward_std + model.terminal_reward_mean
    return output[:, 0].sigmoid(), terminal, output[:, 2:].sigmoid()


def plain_step(
    model: Ensemble, member: int, observation: Tensor, action: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean of a member's step: next observation ``[B, 3]``, reward ``[B]``, p(end) ``[B]``, masks."""
    mean, _ = plain_gaussian(model, member, observation, action)
    assert isinstance(model.observation_space, spaces.Box)
    low, high = torch.as_tensor(model.observation_space.low), torch.as_tensor(model.observation_space.high)
    after = torch.maximum(torch.minimum(observation + mean[:, :3], high), low)
    ended, terminal, masks = plain_arrival(model, member, after)
    return after, (1 - ended) * mean[:, 3] + ended * terminal, ended, masks


def drawn(model: Ensemble, members: list[int], after: Tensor, reward: Tensor) -> Tensor:
    """What the members' Gaussians were sampled at, (Δobservation, reward) ``[B, 4]``."""
    arrivals = [plain_arrival(model, m, after[i : i + 1]) for i, m in enumerate(members)]
    ended, terminal, _ = (torch.cat(parts) for parts in zip(*arrivals, strict=True))
    assert ended.max() < 0.98  # what is left of the other reward can be told
    reward = (reward - ended * terminal) / (1 - ended)
    return torch.cat([after - some_observations(len(members)), reward[:, None]], 1)


def imagined(model: Ensemble, rows: int, *, seed: int = 0, **kwargs: Any) -> tuple[Tensor, Any]:
    generator = torch.Generator().manual_seed(seed)
    state = {"observation": some_observations(rows)}
    after, prediction = model.imagine(state, some_actions(model.action_space, rows), generator=generator, **kwargs)
    return after["observation"], prediction


def members_of_rows(model: Ensemble, rows: int, **kwargs: Any) -> Tensor:
    """Which member computed each row, found by its mean (temperature 0): ``[B]``."""
    observation, action = some_observations(rows), some_actions(model.action_space, rows)
    after, _ = imagined(model, rows, temperature=0.0, **kwargs)
    means = [plain_step(model, m, observation, action)[0] for m in range(model.members)]
    distances = torch.stack([(mean - after).abs().amax(1) for mean in means])
    assert (distances.sort(0).values[1] > 1e-3).all()  # no two members say the same
    assert (distances.amin(0) < 1e-5).all()
    return distances.argmin(0)


# --- one step -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradients", [True, False])  # without, other routes are taken
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("networks", "rows"), [(1, 1), (3, 1), (3, 7), (5, 512), (5, 513), (3, 1300)])
def test_stacked_networks_are_plain_networks_side_by_side(
    networks: int, rows: int, threads: int, gradients: bool
) -> None:
    torch.manual_seed(0)
    stack = StackedMLP(networks, [5, 64, 64, 64, 7, 64, 3])
    inputs = torch.randn(networks, rows, 5)
    kept = inputs.clone()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.set_grad_enabled(gradients):
            whole = stack(inputs)
            part = stack(inputs[networks // 2 :], networks // 2)
            one = stack(inputs[:1].expand(networks, -1, -1))  # not contiguous
    finally:
        torch.set_num_threads(before)
    for network in range(networks):
        expected = plain_network(stack, network, inputs[network])
        torch.testing.assert_close(whole[network], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one[network], plain_network(stack, network, inputs[0]), atol=1e-5, rtol=1e-5)
        if network >= networks // 2:
            torch.testing.assert_close(part[network - networks // 2], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(inputs, kept)


def _optimised(model: Ensemble) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with torch.enable_grad():
        torch.cat([parameter.square().flatten() for parameter in model.parameters()]).sum().backward()
    optimizer.step()


def _halved(model: Ensemble) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(0.5)


def _moved(model: Ensemble) -> None:
    for parameter in model.parameters():
        parameter.data = 0.5 * parameter.data


def _replaced(model: Ensemble) -> None:
    for stack in (model.dynamics.weights, model.arrival.weights):
        for index, weights in enumerate(list(stack)):
            stack[index] = torch.nn.Parameter(0.5 * weights)


def _reset(model: Ensemble) -> None:
    torch.manual_seed(1)
    model.reset_parameters()


def _other_numbers() -> dict[str, Tensor]:
    other = scrambled()
    _halved(other)
    return other.state_dict()


CHANGES = {
    "optimizer": _optimised,
    "in place": _halved,
    "memory": _moved,
    "parameters": _replaced,
    "type": lambda model: model.half().float(),
    "reset": _reset,
    "conclude": lambda model: model.conclude(torch.tensor([3.0, 5, 4, 1, 2])),
    "load": lambda model: model.load_state_dict(_other_numbers()),
    "load, assigned": lambda model: model.load_state_dict(_other_numbers(), assign=True),
    "member": lambda model: [_halved(model.member(index)) for index in range(5)],
}


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_a_dream_is_that_of_the_weights_as_they_are_now(change: str, rows: int) -> None:
    def dreamed(model: Ensemble) -> Tensor:
        dreams = [imagined(model, rows, uncertainty=True, seed=seed) for seed in range(10)]  # every elite has its turn
        return torch.stack([torch.cat([after.sum(1), p.reward, p.terminated, p.uncertainty]) for after, p in dreams])

    model = scrambled()
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    before = dreamed(model)
    twins += [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    CHANGES[change](model)
    fresh = scrambled()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(dreamed(model), dreamed(fresh))
    assert (dreamed(model) != before).any(1).all()
    for twin in twins:
        assert torch.equal(dreamed(twin), before)
        CHANGES[change](twin)
        assert torch.equal(dreamed(twin), dreamed(model))


def test_what_dreams_keep_is_not_stored() -> None:
    model = scrambled()
    pickled, names = len(pickle.dumps(model)), model.state_dict().keys()
    with torch.no_grad():
        imagined(model, 9, uncertainty=True)
    assert len(pickle.dumps(model)) == pickled
    assert model.state_dict().keys() == names


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
@pytest.mark.parametrize(("ends", "gradients"), [(True, True), (True, False), (False, True)])
def test_every_row_is_the_prediction_of_the_one_elite_it_was_dealt_to(
    space: spaces.Space[Any], rows: int, ends: bool, gradients: bool
) -> None:
    model = scrambled(space, action_mask=space is DISCRETE, ends=ends)
    observation, action = some_observations(rows), some_actions(space, rows)
    members = members_of_rows(model, rows)
    with torch.set_grad_enabled(gradients):
        after, prediction = imagined(model, rows, temperature=0.0)
    for row, member in enumerate(members.tolist()):
        mean, _ = plain_gaussian(model, member, observation[row : row + 1], action[row : row + 1])
        _, reward, ended, masks = plain_step(model, member, observation[row : row + 1], action[row : row + 1])
        torch.testing.assert_close(after[row], observation[row] + mean[0, :3], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(prediction.reward[row], reward[0] if ends else mean[0, 3], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(prediction.terminated[row], ended[0] * ends, atol=1e-5, rtol=1e-5)
        if space is DISCRETE:
            torch.testing.assert_close(prediction.extras["action_mask"][row], masks[0], atol=1e-5, rtol=1e-5)
    assert prediction.extras.keys() == ({"action_mask"} if space is DISCRETE else set())
    assert prediction.uncertainty is None
    assert after.dtype == prediction.reward.dtype == prediction.terminated.dtype == torch.float32
    assert prediction.reward.shape == prediction.terminated.shape == (rows,)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_large_batch_is_dealt_out_as_a_small_one(gradients: bool) -> None:
    model, rows = scrambled(), 2_000
    observation, action = some_observations(rows), some_actions(DISCRETE, rows)
    with torch.set_grad_enabled(gradients):
        after, _ = imagined(model, rows, temperature=0.0)
    means = [plain_gaussian(model, member, observation, action)[0] for member in range(3)]
    distances = torch.stack([(observation + mean[:, :3] - after).abs().amax(1) for mean in means])
    assert (distances.amin(0) < 1e-5).all()
    assert torch.bincount(distances.argmin(0)).max() == 667


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 60, 61])
@pytest.mark.parametrize("uncertainty", [False, True])
def test_the_elites_get_equal_shares_and_nobody_else_gets_any(rows: int, uncertainty: bool) -> None:
    model = scrambled()
    for seed in range(5):
        counts = torch.bincount(members_of_rows(model, rows, seed=seed, uncertainty=uncertainty), minlength=5)
        assert counts[3:].tolist() == [0, 0]
        assert counts.max() <= -(-rows // 3)


def test_every_row_meets_every_elite_equally_often() -> None:
    model = scrambled()
    met = torch.stack([members_of_rows(model, 4, seed=seed) for seed in range(300)])
    for row in range(4):
        counts = torch.bincount(met[:, row], minlength=3)
        assert counts.min() > 70  # 100 each
    assert torch.bincount(torch.stack([members_of_rows(model, 1, seed=s) for s in range(300)])[:, 0]).min() > 70


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
def test_temperature_scales_the_spread_of_the_same_draw(rows: int) -> None:
    model = scrambled()
    observation, action = some_observations(rows), some_actions(DISCRETE, rows)
    members = members_of_rows(model, rows).tolist()
    gaussians = [plain_gaussian(model, m, observation[i : i + 1], action[i : i + 1]) for i, m in enumerate(members)]
    mean, std = (torch.cat(parts) for parts in zip(*gaussians, strict=True))
    noise = {}
    for temperature in (1.0, 0.25):
        after, prediction = imagined(model, rows, temperature=temperature)
        noise[temperature] = (drawn(model, members, after, prediction.reward) - mean) / std
    torch.testing.assert_close(noise[0.25], 0.25 * noise[1.0], atol=2e-4, rtol=1e-3)
    assert len(noise[1.0].flatten().mul(1e4).round().unique()) == noise[1.0].numel()  # nothing is drawn twice
    if rows == 64:
        assert noise[1.0].mean().abs() < 0.2
        assert noise[1.0].std().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("rows", [1, 6])
def test_the_spread_is_that_of_the_rows_own_member(rows: int) -> None:
    model = scrambled()
    with torch.no_grad():
        for member in range(5):  # so that the bounds decide
            model.max_log_variance[member] = 2.0 * member - 4
            model.min_log_variance[member] = 2.0 * member - 4.01
    observation, action = some_observations(rows), some_actions(DISCRETE, rows)
    gaussians = [plain_gaussian(model, m, observation, action) for m in range(5)]
    noise: dict[int, list[Tensor]] = {0: [], 1: [], 2: []}
    for seed in range(90 // rows):
        after, prediction = imagined(model, rows, seed=seed)
        members = members_of_rows(model, rows, seed=seed).tolist()
        sampled = drawn(model, members, after, prediction.reward)
        for row, member in enumerate(members):
            mean, std = gaussians[member]
            noise[member].append((sampled[row] - mean[row]) / std[row])
    for draws in noise.values():
        assert torch.stack(draws).std().item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_arguments_do_not_change_how_much_is_drawn(rows: int) -> None:
    model, states = scrambled(), []
    for kwargs in ({}, {"temperature": 0.0}, {"uncertainty": True}):
        generator = torch.Generator().manual_seed(0)
        model.imagine(
            {"observation": some_observations(rows)}, some_actions(DISCRETE, rows), generator=generator, **kwargs
        )
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_the_state_is_not_changed_in_place() -> None:
    model, observation = scrambled(), some_observations(4)
    kept, action = observation.clone(), some_actions(DISCRETE, 4)
    model.imagine({"observation": observation}, action, uncertainty=True)
    assert torch.equal(observation, kept)
    assert torch.equal(action, some_actions(DISCRETE, 4))


def test_observing_takes_the_observation_and_decoding_clips_it() -> None:
    model = scrambled()
    assert model.initial(2)["observation"].tolist() == [[0, 0, 0], [0, 0, 0]]
    seen = torch.tensor([[60.0, 1e9, -20.0], [-60.0, -1e9, 1.5]])
    state = model.observe(model.initial(2), torch.ones(2), seen, torch.zeros(2, dtype=torch.bool))
    assert torch.equal(state["observation"], seen)
    assert torch.equal(model.features(state), seen)
    assert model.decode(state).tolist() == [[50, 1e9, -10], [-50, -1e9, 1.5]]


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@torch.no_grad()
def test_a_dream_stays_within_the_space_where_it_has_bounds(rows: int, temperature: float) -> None:
    wide, tight = scrambled(), scrambled(observation_space=TIGHT)
    low, high = torch.as_tensor(TIGHT.low), torch.as_tensor(TIGHT.high)
    touched = torch.zeros(3, dtype=torch.bool)
    for seed in range(64 // rows):
        free, _ = imagined(wide, rows, temperature=temperature, seed=seed)
        after, _ = imagined(tight, rows, temperature=temperature, seed=seed)
        assert torch.equal(after, torch.maximum(torch.minimum(free, high), low))
        assert all(TIGHT.contains(row.numpy()) for row in after)
        touched |= (after != free).any(0)
    assert touched.tolist() == [True, False, True]


@pytest.mark.parametrize("rows", [1, 7])
def test_entries_without_bounds_are_not_touched(rows: int) -> None:
    far, action = torch.tensor([0.0, -3e8, 3e8]).expand(rows, 3), some_actions(DISCRETE, rows)
    afters = []
    for space in (TIGHT, spaces.Box(-np.inf, np.inf, (3,), np.float32)):
        generator = torch.Generator().manual_seed(0)
        model = scrambled(observation_space=space)
        afters.append(model.imagine({"observation": far}, action, generator=generator)[0]["observation"])
    assert torch.equal(afters[0][:, 1:], afters[1][:, 1:])
    assert (afters[0][:, 1:].abs() > 1e8).all()  # of the last entry, only the other side is bounded


def test_what_is_arrived_at_is_judged_as_it_is_kept() -> None:
    wide, tight = scrambled(action_mask=True), scrambled(action_mask=True, observation_space=TIGHT)
    members = members_of_rows(wide, 64).tolist()
    (_, free), (_, prediction) = imagined(wide, 64, temperature=0.0), imagined(tight, 64, temperature=0.0)
    observation, action = some_observations(64), some_actions(DISCRETE, 64)
    steps = [plain_step(tight, m, observation[i : i + 1], action[i : i + 1]) for i, m in enumerate(members)]
    _, reward, ended, masks = (torch.cat(parts) for parts in zip(*steps, strict=True))
    torch.testing.assert_close(prediction.reward, reward, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.terminated, ended, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.extras["action_mask"], masks, atol=1e-5, rtol=1e-5)
    assert (free.terminated - ended).abs().max() > 0.05


@pytest.mark.parametrize("rows", [1, 4])
def test_gradients_flow_from_a_dream_to_its_actions_and_state(rows: int) -> None:
    model, action, observation = scrambled(BOX), some_actions(BOX, rows), some_observations(rows)
    members = members_of_rows(model, rows).tolist()
    action.requires_grad_()
    observation.requires_grad_()
    generator = torch.Generator().manual_seed(0)
    after, prediction = model.imagine({"observation": observation}, action, temperature=0.0, generator=generator)
    steps = [plain_step(model, m, observation[i : i + 1], action[i : i + 1]) for i, m in enumerate(members)]
    plain, reward, ended, _ = (torch.cat(parts) for parts in zip(*steps, strict=True))
    for output, expected in (
        (after["observation"].sum(), plain.sum()),
        (prediction.reward.sum(), reward.sum()),
        (prediction.terminated.sum(), ended.sum()),
    ):
        ours, theirs = (torch.autograd.grad(x, (action, observation), retain_graph=True) for x in (output, expected))
        for gradient, plain_gradient in zip(ours, theirs, strict=True):
            assert gradient.abs().min() > 0
            torch.testing.assert_close(gradient, plain_gradient, atol=1e-5, rtol=1e-4)
    _, sampled = model.imagine({"observation": observation}, action)
    assert torch.autograd.grad(sampled.reward.sum(), action)[0].isfinite().all()


# --- uncertainty ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7])
def test_the_uncertainty_is_the_disagreement_of_all_members(rows: int) -> None:
    model = scrambled()
    means = torch.stack(
        [plain_gaussian(model, m, some_observations(rows), some_actions(DISCRETE, rows))[0] for m in range(5)]
    )
    expected = (means / model.target_std).var(0, correction=0).mean(1).sqrt()
    (after, asked), (after_unasked, unasked) = imagined(model, rows, uncertainty=True), imagined(model, rows)
    torch.testing.assert_close(asked.uncertainty, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after, after_unasked, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(asked.reward, unasked.reward, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(asked.terminated, unasked.terminated, atol=1e-5, rtol=1e-5)
    assert unasked.uncertainty is None


def test_what_never_varies_has_no_part_in_the_uncertainty() -> None:
    model = scrambled()
    means = torch.stack(
        [plain_gaussian(model, m, some_observations(4), some_actions(DISCRETE, 4))[0] for m in range(5)]
    )
    expected = (means / model.target_std).var(0, correction=0)[:, [0, 2]].mean(1).sqrt()
    with torch.no_grad():
        model.target_std[[1, 3]] = 0
    torch.testing.assert_close(imagined(model, 4, uncertainty=True)[1].uncertainty, expected, atol=1e-5, rtol=1e-5)


def test_members_that_agree_are_certain() -> None:
    model = scrambled()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter[:1].expand_as(parameter).clone())
    assert imagined(model, 7, uncertainty=True)[1].uncertainty.abs().max() < 1e-5
    assert not imagined(model.member(2), 7, uncertainty=True)[1].uncertainty.any()


# --- the loss -------------------------------------------------------------------------------------------------------


def random_batch(model: Ensemble, rows: int = 12, length: int = 2, *, resets: bool = False) -> Batch:
    rng = np.random.default_rng(3)
    first = np.zeros((rows, length), bool)
    if resets:
        first[:, 2] = np.arange(rows) % 2 == 0
    actions = some_actions(model.action_space, rows * length)
    actions = actions.reshape(rows, length, *actions.shape[1:])
    actions[torch.from_numpy(first)] = 0
    reward = torch.from_numpy(rng.normal(size=(rows, length)).astype(np.float32))
    return Batch(
        observation=torch.from_numpy(rng.normal(size=(rows, length, 3)).astype(np.float32)),
        action=actions,
        reward=reward.masked_fill(torch.from_numpy(first), 0),
        terminated=torch.from_numpy((rng.random((rows, length)) < 0.3) & ~first),
        truncated=torch.zeros(rows, length, dtype=torch.bool),
        first=torch.from_numpy(first),
        index=torch.arange(rows * length).reshape(rows, length),
        columns={"action_mask": torch.from_numpy(rng.random((rows, length, 3)) < 0.5)},
    )


def plain_loss(model: Ensemble, batch: Batch, *, masks: bool) -> Tensor:
    """The loss, one member and one transition after the other, in the words of the papers."""
    members = []
    for member in range(model.members):
        total, weights = torch.zeros(()), 0.0
        for row in range(batch.shape[0]):
            for t in range(1, batch.shape[1]):
                if batch.first[row, t]:
                    continue
                weight = model._bootstrap_weights(batch.index[row : row + 1, t])[member, 0] if model.bootstrap else 1.0
                weights += float(weight)
                before, after = batch.observation[row, t - 1], batch.observation[row, t]  # type: ignore[index]
                mean, std = plain_gaussian(model, member, before[None], batch.action[row, t][None])
                target = torch.cat([after - before, batch.reward[row, t : t + 1]])
                density = Normal(mean[0] / model.target_std, std[0] / model.target_std)
                nll = -(density.log_prob(target / model.target_std) + 0.5 * math.log(2 * math.pi))
                ended, terminal, valid = plain_arrival(model, member, after[None])
                total = total + weight * nll[:3].sum()
                if batch.terminated[row, t] and model.rewards_apart:
                    error = (terminal[0] - batch.reward[row, t]) / model.terminal_reward_std
                    total = total + weight * 0.5 * error.square()
                else:
                    total = total + weight * nll[3]
                if model.terminates:
                    total = total + weight * F.binary_cross_entropy(ended[0], batch.terminated[row, t].float())
                if masks:
                    seen = batch.columns["action_mask"][row, t].float()
                    total = total + weight * F.binary_cross_entropy(valid[0], seen)
        bound = 0.01 * (model.max_log_variance[member] - model.min_log_variance[member]).sum()
        prior = 0.3 / 2 / model.count * sum(weights[member].square().sum() for weights in model.arrival.weights)
        members.append(total / max(weights, 1.0) + bound + prior)
    return torch.stack(members).mean()


@pytest.mark.parametrize(("bootstrap", "ends", "apart"), [(True, 1, 1), (False, 1, 1), (False, 1, 0), (False, 0, 0)])
@pytest.mark.parametrize(("length", "resets"), [(2, False), (4, False), (4, True)])
def test_the_loss_is_that_of_the_papers(length: int, resets: bool, bootstrap: bool, ends: int, apart: int) -> None:
    model = scrambled(bootstrap=bootstrap, action_mask=True)
    model.terminates.fill_(ends)
    model.rewards_apart.fill_(apart)
    if not apart:
        model.terminal_reward_std.fill_(0)
    model.count.fill_(17)
    batch = random_batch(model, 6, length, resets=resets)
    assert 0 < batch.terminated[:, 1:].sum() < batch.terminated[:, 1:].numel()
    torch.testing.assert_close(model.loss(batch).total, plain_loss(model, batch, masks=True), atol=1e-4, rtol=1e-4)


def test_resets_carry_no_loss() -> None:
    model = scrambled()
    batch = random_batch(model, 6, 4, resets=True)
    wild = batch.map(torch.clone)
    wild.reward[wild.first] = 1e3
    wild.action[wild.first] = 3
    wild.terminated[wild.first] = True
    assert torch.equal(model.loss(batch).total, model.loss(wild).total)
    assert torch.equal(model.validate(batch), model.validate(wild))
    nothing = random_batch(model)
    nothing.first[:, 1] = True
    gradient = torch.autograd.grad(model.loss(nothing).total, list(model.dynamics.parameters()))
    assert not any(part.any() for part in gradient)
    assert not model.validate(nothing).any()


def test_the_actions_of_resets_may_lie_outside_of_the_space() -> None:
    model = scrambled()  # Discrete(3, start=1), and the action of a reset is 0
    batch = random_batch(model, 6, 4, resets=True)
    assert (batch.action[batch.first] == 0).all()
    assert model.loss(batch).total.isfinite()


def test_the_loss_has_metrics_without_graphs() -> None:
    loss = scrambled(action_mask=True).loss(random_batch(scrambled()))
    assert loss.metrics.keys() == {"nll", "mse", "termination", "action_mask"}
    assert not any(value.requires_grad for value in loss.metrics.values())
    assert loss.total.requires_grad
    assert loss.states is None


def test_validation_is_the_mean_squared_error_of_each_member() -> None:
    model = scrambled()
    batch = random_batch(model, 9)
    observation = batch.observation
    assert isinstance(observation, Tensor)
    target = torch.cat([observation[:, 1] - observation[:, 0], batch.reward[:, 1:]], 1)
    for member, error in enumerate(model.validate(batch).tolist()):
        mean, _ = plain_gaussian(model, member, observation[:, 0], batch.action[:, 1])
        squares = ((mean - target) / model.target_std).square()
        assert 0 < batch.terminated[:, 1].sum() < 9
        squares[batch.terminated[:, 1], 3] = 0  # another network's
        expected = squares.mean()
        assert error == pytest.approx(expected.item(), rel=1e-4)


def test_what_never_varies_has_no_part_in_loss_and_validation() -> None:
    model, batch = scrambled(), random_batch(scrambled(), 9)
    parts = []
    for entry in range(4):
        only = copy.deepcopy(model)
        only.target_std[torch.arange(4) != entry] = 0
        parts.append(only.validate(batch))
    torch.testing.assert_close(model.validate(batch), torch.stack(parts).mean(0))
    # The reward of the other steps does not vary, then that of the end, then neither.
    for still, moves_loss in (((3,), (True, False)), ((), (False, True)), ((1, 2, 3), (False, False))):
        model.target_std.fill_(0.8)
        model.target_std[list(still)] = 0
        model.terminal_reward_std.fill_(0.7 if moves_loss[0] else 0.0)
        for ended, moves in zip((True, False), moves_loss, strict=True):
            losses = []
            for reward in (0.0, 1e3):
                paid = batch.map(torch.clone)
                paid.reward[paid.terminated == ended] = reward
                losses.append(model.loss(paid))
            assert torch.equal(losses[0].total, losses[1].total) != moves
            assert torch.equal(losses[0].metrics["mse"], losses[1].metrics["mse"]) != (moves and not ended)


def test_the_reward_of_the_end_and_that_of_the_other_steps_are_learned_apart() -> None:
    model, batch = scrambled(action_mask=True), random_batch(scrambled(), 20)

    def gradients(batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        total, dynamics, arrival = model.loss(batch).total, model.dynamics.parameters(), model.arrival.parameters()
        parts = torch.autograd.grad(total, [*dynamics, *arrival])
        return list(parts[: len(model.dynamics.weights) * 2]), list(parts[len(model.dynamics.weights) * 2 :])

    before = gradients(batch)
    assert 0 < batch.terminated[:, 1].sum() < 20
    for ended in (True, False):
        paid = batch.map(torch.clone)
        paid.reward[paid.terminated == ended] += 7
        for learns, old, new in zip((not ended, ended), before, gradients(paid), strict=True):
            changed = [not torch.equal(a, b) for a, b in zip(old, new, strict=True)]
            assert any(changed) == learns
        assert torch.equal(model.validate(batch), model.validate(paid)) == ended


def test_a_golden_gradient_step() -> None:
    # Changes when anything in the loss, its gradient or the initial weights changes.
    torch.manual_seed(5)
    model = Ensemble(OBSERVATION, DISCRETE, members=3, elites=2, hidden=(8, 8), arrival_hidden=(4,))
    model.terminates.fill_(1)
    model.terminal_reward_mean.fill_(0.3)
    model.terminal_reward_std.fill_(0.6)
    model.rewards_apart.fill_(1)
    batch = random_batch(model, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(2):
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=1e-4)
    assert model.validate(batch).tolist() == pytest.approx(GOLDEN_ERRORS, rel=1e-4)


# --- the bootstrap --------------------------------------------------------------------------------------------------


def test_bootstrap_weights_are_poisson() -> None:
    weights = scrambled(members=7)._bootstrap_weights(torch.arange(20_000))
    assert weights.shape == (7, 20_000)
    for counts in weights:
        for k in range(6):
            expected = math.exp(-1) / math.factorial(k)
            assert (counts == k).float().mean().item() == pytest.approx(expected, abs=0.012)
    correlation = torch.corrcoef(torch.cat([weights, weights.roll(1, 1), weights.roll(7, 1)]))
    assert (correlation - torch.eye(21)).abs().max() < 0.03  # members and neighbours know nothing of each other


def test_bootstrap_weights_belong_to_the_record() -> None:
    model = scrambled()
    index = torch.tensor([0, 5, 2**40, 17, 5])
    weights = model._bootstrap_weights(index)
    assert torch.equal(weights[:, 1], weights[:, 4])
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(model._bootstrap_weights(index[order]), weights[:, order])
    torch.manual_seed(99)
    assert torch.equal(copy.deepcopy(model)._bootstrap_weights(index), weights)


def test_a_member_keeps_its_resampling_when_the_members_are_sorted() -> None:
    model, index = scrambled(), torch.arange(50)
    weights, batch = model._bootstrap_weights(index), random_batch(scrambled())
    errors = torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0])
    order = errors.argsort()
    total = model.loss(batch).total
    model.conclude(errors)
    assert torch.equal(model._bootstrap_weights(index), weights[order])
    torch.testing.assert_close(model.loss(batch).total, total)
    assert torch.equal(model.member(2)._bootstrap_weights(index)[0], weights[order[2]])


# --- members --------------------------------------------------------------------------------------------------------


def test_concluding_sorts_all_of_every_member() -> None:
    model = scrambled(action_mask=True)
    before, batch = copy.deepcopy(model), random_batch(scrambled())
    errors = torch.tensor([0.5, 0.1, 0.9, 0.3, 0.7])
    model.conclude(errors)
    for place, member in enumerate([1, 3, 0, 4, 2]):
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter[place], dict(before.named_parameters())[name][member]), name
    assert torch.equal(model.validate(batch), before.validate(batch)[[1, 3, 0, 4, 2]])
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_member_is_a_model_of_its_own(index: int) -> None:
    model = scrambled(action_mask=True)
    single = model.member(index)
    assert (single.members, single.elites) == (1, 1)
    observation, action = some_observations(7), some_actions(DISCRETE, 7)
    after, prediction = single.imagine({"observation": observation}, action, temperature=0.0)
    plain, reward, ended, masks = plain_step(model, index, observation, action)
    torch.testing.assert_close(after["observation"], plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.reward, reward, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.terminated, ended, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.extras["action_mask"], masks, atol=1e-5, rtol=1e-5)
    batch = random_batch(model)
    torch.testing.assert_close(single.validate(batch)[0], model.validate(batch)[index])


def test_a_member_shares_its_numbers_with_the_ensemble() -> None:
    model = scrambled()
    single = model.member(1)
    names = dict(model.named_parameters())
    for name, parameter in single.named_parameters():
        assert parameter.data_ptr() == names[name][1:2].data_ptr(), name
    before = imagined(single, 3)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    assert not torch.equal(imagined(single, 3)[0], before)


def test_a_member_of_a_world_that_never_terminates_never_terminates() -> None:
    model = scrambled()
    model.terminates.fill_(0)
    model.load_state_dict(model.state_dict())
    assert not imagined(model, 5)[1].terminated.any()
    assert not imagined(model.member(1), 5)[1].terminated.any()


@pytest.mark.parametrize("index", [-1, 5])
def test_a_member_that_does_not_exist(index: int) -> None:
    with pytest.raises(ValueError, match=rf"member\({index}\): this ensemble has members 0 to 4"):
        scrambled().member(index)


# --- what is learned lands on the right step ------------------------------------------------------------------------

REWARDS = torch.tensor([-1.0, 0.5, 2.0])  # of the actions 1, 2, 3
MOVES = torch.tensor([[-0.3, 0.1], [0.0, -0.4], [0.35, 0.2]])
PLANE = spaces.Box(-20, 20, (2,), np.float32)


def exact_replay(steps: int = 1_200, *, masks: bool = False) -> Replay:
    """Random actions that move by MOVES and pay REWARDS; arriving at x > 1 ends the episode and pays 5 − y instead.

    Episodes are cut after ten steps.
    """
    rng = np.random.default_rng(0)
    replay = Replay(PLANE, DISCRETE, columns={"action_mask": ((3,), bool)} if masks else None)

    def add(x: np.ndarray, action: int, reward: float, ended: bool, cut: bool, first: bool) -> None:
        # Action 1 is always valid, action 2 where y > 0, action 3 never.
        columns = {"action_mask": [[True, x[1] > 0, False]]} if masks else {}
        replay.add(x[None], [action], [reward], [ended], [cut], [first], **columns)

    clock, ended, x = 0, True, np.zeros(2, np.float32)
    for _ in range(steps):
        if ended or clock == 10:
            clock, x = 0, rng.uniform(-1, 1, 2).astype(np.float32)
            add(x, 0, 0.0, False, False, True)
        clock += 1
        action = int(rng.integers(1, 4))
        x = (x + MOVES[action - 1].numpy()).astype(np.float32)
        ended = bool(x[0] > 1)
        add(x, action, float(5 - x[1] if ended else REWARDS[action - 1]), ended, clock == 10, False)
    return replay


@pytest.fixture(scope="module")
def exact_model() -> Ensemble:
    torch.manual_seed(0)
    replay = exact_replay(masks=True)
    model = Ensemble.for_replay(replay, members=3, elites=2, hidden=(24, 24), arrival_hidden=(24, 24))
    fit_model(model, replay, max_epochs=300, learning_rate=5e-3, seed=0)
    return model


@torch.no_grad()
def test_learned_rewards_and_moves_belong_to_the_action_taken(exact_model: Ensemble) -> None:
    action = torch.tensor([1, 2, 3]).repeat(20)
    observation = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) * 1.4 - 1  # far from the end
    after, prediction = exact_model.imagine({"observation": observation}, action)
    torch.testing.assert_close(prediction.reward, REWARDS[action - 1], atol=0.2, rtol=0)
    torch.testing.assert_close(after["observation"] - observation, MOVES[action - 1], atol=0.06, rtol=0)


@torch.no_grad()
def test_learned_termination_belongs_to_the_observation_arrived_at(exact_model: Ensemble) -> None:
    observation = torch.stack([torch.tensor([0.85, -0.9]).lerp(torch.tensor([0.95, 0.9]), i / 9) for i in range(10)])
    for action, ends in ((3, 1.0), (1, 0.0)):  # to x ≈ 1.25, to x ≈ 0.6
        for _ in range(3):
            after, prediction = exact_model.imagine({"observation": observation}, torch.full((10,), action))
            torch.testing.assert_close(prediction.terminated, torch.full((10,), ends), atol=0.25, rtol=0)
            pay = 5 - after["observation"][:, 1] if ends else REWARDS[action - 1].expand(10)
            torch.testing.assert_close(prediction.reward, pay, atol=0.6, rtol=0)


@torch.no_grad()
def test_learned_masks_belong_to_the_observation_arrived_at(exact_model: Ensemble) -> None:
    assert exact_model.action_mask
    observation = torch.tensor([[0.0, 0.25], [-0.5, 0.2]])  # action 2 leads to y < 0, action 3 stays in y > 0
    for action, second in ((2, 0.0), (3, 1.0)):
        _, prediction = exact_model.imagine({"observation": observation}, torch.full((2,), action))
        expected = torch.tensor([1.0, second, 0.0]).expand(2, 3)
        torch.testing.assert_close(prediction.extras["action_mask"], expected, atol=0.3, rtol=0)


# --- statistics of the data -----------------------------------------------------------------------------------------


def box_replay(space: spaces.Box, *, reward: float | None = None, steps: int = 40) -> Replay:
    """Actions of a Box, no termination; the reward is the first action entry or a constant."""
    rng = np.random.default_rng(0)
    replay = Replay(PLANE, space)
    replay.add_reset(rng.normal(size=(1, 2)))
    for _ in range(steps):
        low, high = np.maximum(space.low, -50), np.minimum(space.high, 150)
        action = rng.uniform(low, high).astype(space.dtype)
        paid = float(action[0]) if reward is None else reward
        replay.add(rng.normal(size=(1, 2)), action[None], [paid], [False], [False], [False])
    return replay


def prepared(replay: Replay, **kwargs: Any) -> Ensemble:
    model = Ensemble.for_replay(replay, **{"members": 2, "elites": 2, **SMALL, **kwargs})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.prepare(replay)
    return model


def test_statistics_are_those_of_transitions() -> None:
    replay = exact_replay(100)
    model, data = prepared(replay), replay.transitions()
    before = data.observation[:, 0]  # type: ignore[index]
    torch.testing.assert_close(model.input_mean, torch.cat([before.mean(0), torch.zeros(3)]))
    torch.testing.assert_close(model.input_scale, torch.cat([1 / before.std(0, correction=0), torch.ones(3)]))
    delta = data.observation[:, 1] - before  # type: ignore[index]
    ended, reward = data.terminated[:, 1], data.reward[:, 1]
    assert 3 < ended.sum() < 30
    torch.testing.assert_close(model.target_mean, torch.cat([delta.mean(0), reward[~ended].mean()[None]]))
    std = torch.cat([delta.std(0, correction=0), reward[~ended].std(0, correction=0)[None]])
    torch.testing.assert_close(model.target_std, std)
    torch.testing.assert_close(model.terminal_reward_mean, reward[ended].mean())
    torch.testing.assert_close(model.terminal_reward_std, reward[ended].std(correction=0))
    assert model.count == 100


def test_the_statistics_of_the_terminal_reward_are_those_of_the_ends() -> None:
    replay = Replay(PLANE, DISCRETE)
    rewards = [1.0, 30.0, -2.0, 5.0, 50.0, 4.0, 100.0]
    ends = [False, True, False, False, True, False, True]
    for reward, end, first in zip(rewards, ends, [True, *ends[:-1]], strict=True):
        if first:
            replay.add_reset([[0.0, 0.0]])
        replay.add([[1.0, 1.0]], [1], [reward], [end], [False], [False])
    model = prepared(replay)
    assert model.terminal_reward_mean.item() == pytest.approx(60)
    assert model.terminal_reward_std.item() == pytest.approx(np.std([30, 50, 100]))
    assert model.target_mean[2].item() == pytest.approx(2)
    assert model.target_std[2].item() == pytest.approx(np.std([1, -2, 5, 4]))
    assert model.terminal_reward_mean.shape == model.terminal_reward_std.shape == ()


@pytest.mark.parametrize("reward", [1.0, -0.1, 0.0, 1e-8, 123456.7])
def test_a_constant_reward_is_predicted_exactly(reward: float) -> None:
    model = prepared(box_replay(spaces.Box(-1, 1, (1,)), reward=reward))
    _, prediction = model.imagine({"observation": torch.randn(50, 2)}, torch.rand(50, 1), uncertainty=True)
    assert (prediction.reward == np.float32(reward)).all()
    assert prediction.uncertainty is not None
    assert prediction.uncertainty.isfinite().all()


def test_cartpoles_reward_is_exactly_one(cartpole_world: World) -> None:
    dream = Dream(cartpole_world)
    _, step = dream.step(dream.reset(100), torch.zeros(100, dtype=torch.int64))
    assert (step.reward == 1).all()


@pytest.mark.parametrize(
    ("space", "encode"),
    [
        (spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32)), lambda a: (a - [0, 5]) / [2, 5]),
        (spaces.Box(-1, 1, (2,), np.float32), lambda a: a),
        (spaces.Box(np.array([-2.0, 0]), np.array([2.0, 10]), dtype=np.float64), lambda a: (a - [0, 5]) / [2, 5]),
    ],
    ids=["asymmetric", "unit", "float64"],
)
def test_bounded_actions_are_scaled_by_their_space(space: spaces.Box, encode: Any) -> None:
    replay = box_replay(space)
    model, actions = prepared(replay), replay.transitions().action[:, 1]
    inputs = model._inputs(model._raw_inputs(torch.zeros(len(actions), 2), actions))
    np.testing.assert_allclose(inputs[:, 2:].numpy(), encode(actions.numpy()), atol=1e-6)
    assert inputs.dtype == torch.float32
    assert model.imagine({"observation": torch.zeros(3, 2)}, torch.zeros(3, 2))[0]["observation"].dtype == torch.float32


def test_actions_without_bounds_are_scaled_by_the_data() -> None:
    low, high = np.array([-np.inf, -2, 0], np.float32), np.array([np.inf, 2, np.inf], np.float32)
    replay = box_replay(spaces.Box(low, high))
    model, actions = prepared(replay), replay.transitions().action[:, 1]
    inputs = model._inputs(model._raw_inputs(torch.zeros(len(actions), 2), actions))[:, 2:]
    torch.testing.assert_close(inputs[:, 1], actions[:, 1] / 2)
    for entry in (0, 2):
        torch.testing.assert_close(inputs[:, entry].mean(), torch.zeros(()), atol=1e-5, rtol=0)
        torch.testing.assert_close(inputs[:, entry].std(correction=0), torch.ones(()), atol=1e-5, rtol=0)


def test_an_action_or_observation_that_never_varies_makes_no_nan() -> None:
    space = spaces.Box(np.array([-1, 3], np.float32), np.array([1, 3], np.float32))
    replay = Replay(PLANE, space)
    replay.add_reset([[1.0, 7.0]])
    for step in range(20):
        replay.add([[1.0 + step, 7.0]], [[step / 20, 3.0]], [1.0], [False], [False], [False])
    model = prepared(replay)
    loss = model.loss(replay.transitions())
    assert loss.total.isfinite()
    after, _ = model.imagine({"observation": torch.tensor([[4.0, 7.0]])}, torch.tensor([[0.5, 3.0]]))
    assert after["observation"][0, 1] == 7  # its difference is always zero
    assert after["observation"].isfinite().all()


# --- what the end pays ----------------------------------------------------------------------------------------------

ROAD = spaces.Box(np.array([-1.2, -np.inf], np.float32), np.array([0.6, np.inf], np.float32))
THRUST = spaces.Box(-1, 1, (1,), np.float32)


@register_termination("test-ensemble-goal")
def _goal(observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
    return next_observation[:, 0] >= 0.45


def road_replay(steps: int = 800) -> Replay:
    """MountainCarContinuous without the mountain: −0.1·a² a step and +100 on arriving at x ≥ 0.45, which is the end."""
    rng = np.random.default_rng(0)
    replay, ended = Replay(ROAD, THRUST), True
    x = np.zeros(2, np.float32)
    for _ in range(steps):
        if ended:
            x = np.array([rng.uniform(-1, 0.4), rng.normal()], np.float32)
            replay.add_reset(x[None])
        action = rng.uniform(-1, 1, 1).astype(np.float32)
        x = np.array([np.clip(x[0] + 0.2 * action[0] + 0.02, -1.2, 0.6), rng.normal()], np.float32)
        ended = bool(x[0] >= 0.45)
        reward = -0.1 * float(action[0]) ** 2 + 100 * ended
        replay.add(x[None], action[None], [reward], [ended], [False], [False])
    return replay


@pytest.mark.parametrize("termination", [None, "test-ensemble-goal"], ids=["learned", "known"])
@torch.no_grad()
def test_a_terminal_reward_is_paid_at_the_end_and_nowhere_else(termination: str | None) -> None:
    replay = road_replay()
    ends = int(replay.transitions().terminated.sum())
    assert 20 < ends < 120
    torch.manual_seed(0)
    model = Ensemble.for_replay(
        replay, members=3, elites=2, hidden=(24, 24), arrival_hidden=(16,), termination=termination
    )
    with torch.enable_grad():
        fit_model(model, replay, max_epochs=100, learning_rate=1e-2, batch_size=128, seed=0)
    thrust = torch.linspace(-1, 1, 21)[:, None]
    certain = 0.05 if termination else 2.5  # a learned termination is never quite sure
    for x in (-0.9, -0.5, 0.0):
        observation = torch.tensor([[x, 0.0]]).expand(21, 2)
        _, prediction = model.imagine({"observation": observation}, thrust)
        assert prediction.terminated.max() < 0.025
        torch.testing.assert_close(prediction.reward, -0.1 * thrust[:, 0] ** 2, atol=certain, rtol=0)
    thrust = torch.linspace(0.6, 1, 21)[:, None]
    observation = torch.tensor([[0.42, 0.0]]).expand(21, 2)  # to x ≥ 0.56
    _, prediction = model.imagine({"observation": observation}, thrust, temperature=0.0)
    assert prediction.terminated.min() > 0.7
    torch.testing.assert_close(prediction.reward, 100 * prediction.terminated, atol=0.2, rtol=0)


@pytest.mark.parametrize(
    ("reward", "terminal"),
    [(-1.0, 0.0), (1.0, 1.0), (-0.1, 100.0), (0.0, -123456.7)],
    ids=["acrobot", "cartpole", "goal", "crash"],
)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rows", [1, 40])
@torch.no_grad()
def test_constant_rewards_are_exact_before_the_end_and_at_it(
    reward: float, terminal: float, known: bool, rows: int
) -> None:
    replay, rng = Replay(ROAD, THRUST), np.random.default_rng(0)
    for _ in range(5):
        replay.add_reset(rng.uniform(-1, 0, (1, 2)))
        for step in range(4):
            ended = step == 3
            paid = terminal if ended else reward
            replay.add(rng.uniform(-1, 0, (1, 2)), rng.uniform(-1, 1, (1, 1)), [paid], [ended], [False], [False])
    model = prepared(replay, termination="test-ensemble-goal" if known else None)
    observation, thrust = torch.zeros(rows, 2), torch.rand(rows, 1)
    for ended, paid in ((True, terminal), (False, reward)):
        model.target_mean[0] = 10.0 if ended else -10.0  # beyond the goal, or far from it
        model.arrival.biases[-1][..., 0] = 200.0 if ended else -200.0
        _, prediction = model.imagine({"observation": observation}, thrust, uncertainty=True)
        assert (prediction.terminated == float(ended)).all()
        assert (prediction.reward == np.float32(paid)).all()
    model.arrival.biases[-1][..., 0] = 0.5  # in doubt, it is the expectation
    _, prediction = model.imagine({"observation": observation}, thrust)
    if not known:
        assert ((prediction.terminated > 0.3) & (prediction.terminated < 0.9)).all()
    expected = prediction.terminated * terminal + (1 - prediction.terminated) * reward
    torch.testing.assert_close(prediction.reward, expected)
    if reward == terminal:
        assert (prediction.reward == reward).all()


def test_data_in_which_every_transition_terminates() -> None:
    replay, rng = Replay(PLANE, THRUST), np.random.default_rng(0)
    for _ in range(200):
        replay.add_reset(rng.uniform(-1, 1, (1, 2)))
        thrust = rng.uniform(-1, 1)
        replay.add(rng.uniform(-1, 1, (1, 2)), [[thrust]], [30 + 2 * thrust], [True], [False], [False])
    torch.manual_seed(0)
    model = Ensemble.for_replay(replay, members=2, elites=2, hidden=(16,), arrival_hidden=(5,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = fit_model(model, replay, max_epochs=60, learning_rate=1e-2, batch_size=40, patience=60, seed=0)
    assert np.isfinite(report.errors).all()
    rewards = replay.transitions().reward[:, 1]
    torch.testing.assert_close(model.target_mean[2], rewards.mean())
    torch.testing.assert_close(model.target_std[2], rewards.std(correction=0))
    observation, action = torch.rand(50, 2) * 1.6 - 0.8, torch.linspace(-1, 1, 50)[:, None]
    _, prediction = model.imagine({"observation": observation}, action, temperature=0.0, uncertainty=True)
    assert prediction.terminated.min() > 0.9
    torch.testing.assert_close(prediction.reward, 30 + 2 * action[:, 0], atol=0.4, rtol=0)  # the action's, too
    assert prediction.uncertainty is not None
    assert prediction.uncertainty.isfinite().all()


def test_rewards_are_learned_apart_where_some_steps_end_an_episode_and_others_do_not() -> None:
    def replay(*ends: bool) -> Replay:
        data = Replay(PLANE, DISCRETE)
        for step, ended in enumerate(ends):
            data.add_reset([[0.0, 0.0]])
            data.add([[1.0, 1.0]], [1], [float(step)], [ended], [False], [False])
        return data

    model = prepared(replay(False, True, True))
    assert (model.terminal_reward_mean, model.terminal_reward_std) == (1.5, 0.5)
    assert (model.target_mean[2], model.target_std[2]) == (0, 0)
    for ends in ((True, True, True), (False, False, False)):  # what was learned apart before is forgotten
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.prepare(replay(*ends))
        assert (model.terminal_reward_mean, model.terminal_reward_std, model.target_mean[2]) == (0, 0, 1)
        with torch.no_grad():
            model.arrival.biases[-1][..., :2] = torch.tensor([200.0, 1e6])
            model.target_std[2] = 0
        _, prediction = model.imagine({"observation": torch.zeros(4, 2)}, torch.ones(4, dtype=torch.int64))
        assert (prediction.reward == 1).all()
        batch = replay(*ends).transitions()
        before = model.loss(batch).total
        with torch.no_grad():
            model.arrival.biases[-1][..., 1] = -3.0
        assert torch.equal(model.loss(batch).total, before)


# --- termination ----------------------------------------------------------------------------------------------------


def test_data_without_a_termination_is_said_aloud_once() -> None:
    replay = box_replay(spaces.Box(-1, 1, (1,)))
    model = Ensemble.for_replay(replay, members=2, elites=1, **SMALL)
    with pytest.warns(UserWarning, match="none of the 40 transitions terminates: this world will never") as caught:
        world = fit(model, replay, max_epochs=80, seed=0)
    assert len([w for w in caught if "never terminate" in str(w.message)]) == 1
    with torch.no_grad():
        for parameter in model.arrival.parameters():
            parameter.fill_(100)  # whatever the network says
        dream = Dream(world, horizon=50)
        state = dream.reset(20, seed=0)
        for _ in range(20):
            state, step = dream.step(state, torch.zeros(20, 1))
            assert not step.terminated.any()


@pytest.mark.parametrize("known", [False, True])
def test_data_with_a_termination_or_a_known_one_raises_no_warning(
    known: bool, recwarn: pytest.WarningsRecorder
) -> None:
    replay = box_replay(spaces.Box(-1, 1, (1,))) if known else exact_replay(30)
    kwargs = {"termination": "CartPole-v1"} if known else {}
    Ensemble.for_replay(replay, members=2, elites=1, **SMALL, **kwargs).prepare(replay)
    assert not recwarn


def test_a_world_forgets_that_it_terminated_when_the_data_does_not() -> None:
    model = prepared(exact_replay(30))
    assert imagined_termination(model).all()
    replay = exact_replay(30)
    quiet = Replay(PLANE, DISCRETE)
    data = replay.sequences(len(replay))
    quiet.extend(
        data.observation[0].numpy(),  # type: ignore[index]
        data.action[0].clamp_min(1).numpy(),
        data.reward[0].numpy(),
        np.zeros(len(replay), bool),
        np.zeros(len(replay), bool),
        data.first[0].numpy(),
    )
    with pytest.warns(UserWarning, match="never terminate"):
        model.prepare(quiet)
    assert not imagined_termination(model).any()
    model.load_state_dict(prepared(replay).state_dict())
    assert imagined_termination(model).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_what_a_copy_loads_is_its_own(duplicate: Any) -> None:
    model = scrambled(ends=False)
    twin = duplicate(model)
    assert torch.equal(imagined(twin, 5)[0], imagined(model, 5)[0])
    twin.load_state_dict(scrambled(ends=True).state_dict())
    assert (imagined(twin, 5)[1].terminated > 0).all()
    assert not imagined(model, 5)[1].terminated.any()


def imagined_termination(model: Ensemble) -> Tensor:
    return model.imagine({"observation": torch.zeros(4, 2)}, torch.ones(4, dtype=torch.int64))[1].terminated


# --- known functions ------------------------------------------------------------------------------------------------


@register_reward("test-ensemble")
def _known_reward(observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
    return 100 * action + 10 * observation[:, 0] + next_observation[:, 0]


@register_termination("test-ensemble")
def _known_termination(observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
    return next_observation[:, 1] > observation[:, 0]


@pytest.mark.parametrize("rows", [1, 9])
def test_known_functions_are_used_in_place_of_learned_ones(rows: int) -> None:
    plain, model = scrambled(), scrambled(reward="test-ensemble", termination="test-ensemble")
    observation, action = some_observations(rows), some_actions(DISCRETE, rows)
    (after, prediction), (after_plain, _) = imagined(model, rows), imagined(plain, rows)
    assert torch.equal(after, after_plain)
    torch.testing.assert_close(prediction.reward, 100 * action + 10 * observation[:, 0] + after[:, 0])
    assert torch.equal(prediction.terminated, (after[:, 1] > observation[:, 0]).float())
    if rows > 1:
        assert 0 < prediction.terminated.sum() < rows


@pytest.mark.parametrize("ends", [True, False])
def test_a_known_termination_decides_what_is_paid_at_the_end(ends: bool) -> None:
    model = scrambled(termination="test-ensemble", ends=ends)
    after, prediction = imagined(model, 9, temperature=0.0)
    mean = torch.zeros(9, 4)
    for row, member in enumerate(members_of_rows(model, 9).tolist()):
        observation, action = some_observations(9)[row : row + 1], some_actions(DISCRETE, 9)[row : row + 1]
        mean[row] = plain_gaussian(model, member, observation, action)[0][0]
        if ends and after[row, 1] > observation[0, 0]:
            mean[row, 3] = plain_arrival(model, member, after[row : row + 1])[1][0]
    torch.testing.assert_close(prediction.reward, mean[:, 3], atol=1e-5, rtol=1e-5)
    assert 0 < prediction.terminated.sum() < 9


def test_a_known_termination_works_beside_learned_masks_and_without_terminations_in_the_data() -> None:
    model = scrambled(termination="test-ensemble", action_mask=True)
    model.terminates.fill_(0)
    model.load_state_dict(model.state_dict())
    after, prediction = imagined(model, 9)
    assert torch.equal(prediction.terminated, (after[:, 1] > some_observations(9)[:, 0]).float())
    assert prediction.extras["action_mask"].shape == (9, 3)
    assert torch.equal(
        imagined(model.member(0), 9)[1].terminated.bool(), imagined(model.member(0), 9)[1].terminated > 0
    )


@pytest.mark.parametrize(
    ("kwargs", "computed"),
    [
        ({}, True),
        ({"reward": "test-ensemble"}, True),
        ({"termination": "test-ensemble"}, True),
        ({"reward": "test-ensemble", "termination": "test-ensemble"}, False),
        ({"reward": "test-ensemble", "termination": "test-ensemble", "action_mask": True}, True),
    ],
)
def test_the_arrival_is_computed_only_where_something_of_it_is_asked(kwargs: dict[str, Any], computed: bool) -> None:
    model, calls = scrambled(**kwargs), []
    model.arrival.register_forward_hook(lambda *_: calls.append(1))
    imagined(model, 5)
    assert bool(calls) == computed


# --- construction ---------------------------------------------------------------------------------------------------


def test_hyperparameters_build_the_model_again() -> None:
    model = scrambled(
        bootstrap=False, reward="test-ensemble", termination="test-ensemble", action_mask=True, hidden=(8, 6, 4)
    )
    kwargs = json.loads(json.dumps(model.hyperparameters()))
    again = Ensemble(OBSERVATION, DISCRETE, **kwargs)
    assert again.hyperparameters() == model.hyperparameters()
    assert kwargs == {
        "members": 5,
        "elites": 3,
        "hidden": [8, 6, 4],
        "arrival_hidden": [5],
        "bootstrap": False,
        "reward": "test-ensemble",
        "termination": "test-ensemble",
        "action_mask": True,
    }
    again.load_state_dict(model.state_dict())
    (after, prediction), (after_again, prediction_again) = imagined(model, 7), imagined(again, 7)
    assert torch.equal(after, after_again)
    assert torch.equal(prediction.extras["action_mask"], prediction_again.extras["action_mask"])


def test_resetting_draws_new_weights_as_linear_layers_do() -> None:
    torch.manual_seed(0)
    model = Ensemble(OBSERVATION, DISCRETE, members=7, elites=5, hidden=(100, 100))
    before = copy.deepcopy(model)
    model.reset_parameters()
    for (name, new), old in zip(model.dynamics.named_parameters(), before.dynamics.parameters(), strict=True):
        assert not torch.equal(new, old), name
    for layer, width in enumerate((6, 100, 100)):
        bound = 1 / math.sqrt(width)
        for values in (model.dynamics.weights[layer], model.dynamics.biases[layer]):
            assert 0.9 * bound < values.abs().max() <= bound
            assert values.mean().abs() < 0.2 * bound
    assert len({weights.sum().item() for weights in model.dynamics.weights[1]}) == 7
    torch.manual_seed(0)
    again = Ensemble(OBSERVATION, DISCRETE, members=7, elites=5, hidden=(100, 100))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), before.parameters(), strict=True))


def test_masks_are_predicted_where_the_replay_has_them() -> None:
    with_masks, without = exact_replay(5, masks=True), exact_replay(5)
    assert Ensemble.for_replay(with_masks, **SMALL).action_mask
    assert not Ensemble.for_replay(with_masks, action_mask=False, **SMALL).action_mask
    assert not Ensemble.for_replay(without, **SMALL).action_mask
    with pytest.raises(ValueError, match="action_mask=True needs a replay with an action_mask column"):
        Ensemble.for_replay(without, action_mask=True, **SMALL).prepare(without)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "kwargs", "message"),
    [
        (spaces.Discrete(3), DISCRETE, {}, r"flat Box observation space, not Discrete\(3\)"),
        (spaces.Box(0, 255, (4, 4, 3), np.uint8), DISCRETE, {}, "flat Box observation space, not Box"),
        (spaces.Dict({"a": OBSERVATION}), DISCRETE, {}, "flat Box observation space, not Dict"),
        (OBSERVATION, spaces.MultiDiscrete([2, 2]), {}, "Discrete or a flat Box action space, not MultiDiscrete"),
        (OBSERVATION, spaces.Box(-1, 1, (2, 2)), {}, "Discrete or a flat Box action space, not Box"),
        (OBSERVATION, DISCRETE, {"elites": 8}, "elites=8 must lie between 1 and members=7"),
        (OBSERVATION, DISCRETE, {"elites": 0}, "elites=0 must lie between 1 and members=7"),
        (OBSERVATION, DISCRETE, {"members": 0, "elites": 0}, "elites=0 must lie between 1 and members=0"),
        (OBSERVATION, DISCRETE, {"hidden": ()}, r"hidden=\(\) must name at least one layer"),
        (OBSERVATION, DISCRETE, {"hidden": (8, 0)}, r"hidden=\(8, 0\) must name"),
        (OBSERVATION, DISCRETE, {"arrival_hidden": ()}, r"arrival_hidden=\(\) must name"),
        (OBSERVATION, BOX, {"action_mask": True}, "action_mask=True needs a Discrete action space"),
        (OBSERVATION, DISCRETE, {"reward": "no such"}, "no reward function is known as 'no such'"),
        (OBSERVATION, DISCRETE, {"termination": "no such"}, "no termination function is known as 'no such'"),
    ],
)
def test_what_an_ensemble_cannot_be(observation_space: Any, action_space: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(observation_space, action_space, **kwargs)


def test_integer_observations_are_learned_as_numbers() -> None:
    replay = Replay(spaces.Box(0, 255, (2,), np.uint8), spaces.Discrete(2))
    replay.add_reset(np.array([[250, 3]], np.uint8))
    for step in range(10):
        replay.add(np.array([[step, 200]], np.uint8), [0], [0.0], [step == 9], [False], [False])
    model = prepared(replay)
    assert model.target_mean[0] == pytest.approx((9 - 250) / 10)  # not wrapped around
    assert model.loss(replay.transitions()).total.isfinite()
