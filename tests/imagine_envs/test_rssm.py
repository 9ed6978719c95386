from __future__ import annotations

import copy
import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tiny_rssm import BOX, DISCRETE, IMAGE, TINY, VECTOR, generator, tiny, windows
from torch import Tensor
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn import functional as F

from imagine_envs.dreams import Dream, DreamVectorEnv, Filter
from imagine_envs.experience import Batch, Replay
from imagine_envs.spaces import map_observation
from imagine_envs.world_models import RSSM, State, World, fit, make_model
from imagine_envs.world_models.rssm.architecture import PRESETS, SIZES, Architecture, architecture_of
from imagine_envs.world_models.rssm.latents import CategoricalLatent
from imagine_envs.world_models.rssm.rssm import Representation

REPRESENTATIONS = get_args(Representation)
both_presets = pytest.mark.parametrize("preset", ["v3", "v1"])
every_representation = pytest.mark.parametrize("representation", REPRESENTATIONS)


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[RSSM, Tensor], None]:
    """Makes a model draw this noise ``[T, B, …]``: a sequence all of it, single steps one after another."""

    def use(model: RSSM, values: Tensor) -> None:
        steps = iter(values)

        def draw(shape: tuple[int, ...], *_: Any) -> Tensor:
            return values if len(shape) == 2 else next(steps)

        monkeypatch.setattr(model.latent, "noise", draw)

    return use


def noise_of(model: RSSM, length: int, rows: int, seed: int = 0) -> Tensor:
    return model.latent.noise((length, rows), torch.device("cpu"), generator(seed))


def followed(model: RSSM, batch: Batch, first: Tensor, state: State | None = None) -> State:
    """The states of ``observe``, step by step: ``[B, T, …]``."""
    state = model.initial(batch.shape[0]) if state is None else state
    states = []
    for t in range(batch.shape[1]):
        observation = map_observation(lambda value, t=t: value[:, t], batch.observation)
        state = model.observe(state, batch.action[:, t], observation, first[:, t])
        states.append(state)
    return {name: torch.stack([state[name] for state in states], 1) for name in states[0]}


def same(one: State, other: State, *, atol: float = 1e-5) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=atol) for name in one)


def states_of(model: RSSM, batch: Batch, seed: int = 0) -> State:
    states = model.loss(batch, generator=generator(seed)).states
    assert states is not None
    return states


def from_start(batch: Batch) -> Tensor:
    """The flags of a batch whose windows begin from an empty state."""
    first = batch.first.clone()
    first[:, 0] = True
    return first


# --- filtering ------------------------------------------------------------------------------------------------------

RESETS = [(0, 3), (1, 0), (2, 1), (2, 5)]


@both_presets
@pytest.mark.parametrize("space", [VECTOR, IMAGE], ids=["vector", "image"])
@pytest.mark.parametrize("actions", [BOX, DISCRETE], ids=["box", "discrete"])
def test_observing_step_by_step_gives_the_states_of_the_loss(
    preset: str, space: spaces.Box, actions: spaces.Space[Any], noise: Callable[[RSSM, Tensor], None]
) -> None:
    model = tiny(space, actions, preset=preset)
    batch = windows(first=RESETS, observation_space=space, action_space=actions)
    noise(model, noise_of(model, 6, 3))
    states = states_of(model, batch)
    assert {name: value.shape for name, value in states.items()} == {
        "deter": (3, 6, model.architecture.deter),
        "stoch": (3, 6, model.latent.width),
    }
    garbage = {name: 100 * torch.randn_like(value) for name, value in model.initial(3).items()}
    # Whatever came before the window, and whatever the actions of resets are said to be.
    odd = replace(batch, action=torch.where(batch.first[..., None], 1, batch.action)) if actions is BOX else batch
    noise(model, noise_of(model, 6, 3))
    assert same(followed(model, odd, from_start(batch), garbage), states)


@both_presets
@pytest.mark.parametrize("off", [-1, 1])
def test_a_reset_one_step_early_or_late_is_another_world(
    preset: str, off: int, noise: Callable[[RSSM, Tensor], None]
) -> None:
    model, batch, at = tiny(preset=preset), windows(first=[(0, 3)]), 3
    noise(model, noise_of(model, 6, 3))
    states = states_of(model, batch)
    wrong = from_start(batch)
    wrong[0, at], wrong[0, at + off] = False, True
    noise(model, noise_of(model, 6, 3))
    astray = followed(model, batch, wrong)
    apart = (states["deter"] - astray["deter"]).abs().amax(-1) > 1e-3
    assert apart[0].tolist() == [t >= min(at, at + off) for t in range(6)]
    assert not apart[1:].any()


@both_presets
def test_a_state_begins_at_the_reset_as_if_nothing_had_been_before(
    preset: str, noise: Callable[[RSSM, Tensor], None]
) -> None:
    model = tiny(preset=preset)
    batch = windows(first=[(row, 2) for row in range(3)])
    values = noise_of(model, 6, 3)
    noise(model, values)
    states = states_of(model, batch)
    noise(model, values[2:])
    alone = states_of(model, batch.map(lambda value: value[:, 2:]))
    assert same({name: value[:, 2:] for name, value in states.items()}, alone)


@both_presets
def test_no_information_leaks_over_a_reset(preset: str) -> None:
    model = tiny(preset=preset)

    def influence(batch: Batch) -> Tensor:
        """Whether states from record 3 on depend on the observation and the action of each record: ``[2, B, T]``."""
        observation = batch.observation.clone().requires_grad_()  # type: ignore[union-attr]
        action = batch.action.clone().requires_grad_()
        states = states_of(model, replace(batch, observation=observation, action=action))
        sum((value[:, 3:] * torch.linspace(1, 2, value.shape[-1])).sum() for value in states.values()).backward()  # type: ignore[union-attr]
        assert observation.grad is not None
        assert action.grad is not None
        return torch.stack([(gradient != 0).any(-1) for gradient in (observation.grad, action.grad)])

    observed, acted = influence(windows(first=[(1, 3), (2, 2)]))
    assert observed.tolist() == [[True] * 6, [False] * 3 + [True] * 3, [False] * 2 + [True] * 4]
    # Nor does the action that is said to have led to a reset, or to a window's first record.
    assert acted.tolist() == [
        [False] + [True] * 5,
        [False] * 4 + [True] * 2,
        [False] * 3 + [True] * 3,
    ]


@both_presets
def test_an_action_counts_in_the_record_that_it_led_to(preset: str) -> None:
    model, batch = tiny(preset=preset), windows()
    for t in (1, 4):
        action = batch.action.clone()
        action[:, t] += 1
        one, other = states_of(model, batch), states_of(model, replace(batch, action=action))
        changed = (one["deter"] != other["deter"]).any(-1)
        assert changed.tolist() == [[step >= t for step in range(6)]] * 3


@both_presets
def test_an_observation_counts_in_its_own_record(preset: str) -> None:
    """It changes the posterior of its record, but not what is remembered there: the prior has not seen it."""
    model, batch = tiny(preset=preset), windows()
    observation = batch.observation.clone()  # type: ignore[union-attr]
    observation[:, 2] = 5 - observation[:, 2]
    one, other = states_of(model, batch), states_of(model, replace(batch, observation=observation))
    for name, begin in (("deter", 3), ("stoch", 2)):
        changed = (one[name] != other[name]).any(-1).any(0)
        assert not changed[:begin].any()
        assert changed[begin]


@both_presets
def test_rows_know_nothing_of_each_other(preset: str, noise: Callable[[RSSM, Tensor], None]) -> None:
    model, batch = tiny(preset=preset), windows(rows=5, first=[(0, 3), (3, 2)])
    values, order = noise_of(model, 6, 5), torch.tensor([3, 0, 4, 1, 2])
    noise(model, values)
    whole = model.loss(batch)
    noise(model, values[:, order])
    permuted = model.loss(batch[order])
    assert whole.states is not None
    assert permuted.states is not None
    assert same({name: value[order] for name, value in whole.states.items()}, permuted.states)
    assert whole.total.item() == pytest.approx(permuted.total.item(), rel=1e-5)

    other = batch.observation.clone()  # type: ignore[union-attr]
    other[0] = 9
    noise(model, values)
    changed = model.loss(replace(batch, observation=other)).states
    assert changed is not None
    assert same({k: v[1:] for k, v in whole.states.items()}, {k: v[1:] for k, v in changed.items()})
    assert not same({k: v[:1] for k, v in whole.states.items()}, {k: v[:1] for k, v in changed.items()})


@both_presets
def test_the_mode_of_the_posterior_needs_no_luck(preset: str) -> None:
    model, batch = tiny(preset=preset), windows()
    arguments: Any = model.initial(3), batch.action[:, 0], batch.observation[:, 0], batch.first[:, 0]  # type: ignore[index]
    modes = [model.observe(*arguments, sample=False, generator=generator(seed)) for seed in (0, 1)]
    samples = [model.observe(*arguments, generator=generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(modes[0]["stoch"], modes[1]["stoch"])
    assert torch.equal(samples[0]["stoch"], samples[1]["stoch"])
    assert not torch.equal(samples[0]["stoch"], samples[2]["stoch"])
    # As many numbers are drawn, so that nothing else changes.
    states = []
    for sample in (True, False):
        source = generator()
        model.observe(*arguments, sample=sample, generator=source)
        states.append(source.get_state())
    assert torch.equal(states[0], states[1])


@both_presets
def test_states_are_never_changed_in_place(preset: str) -> None:
    model, batch = tiny(preset=preset), windows()
    state = {name: torch.randn_like(value) for name, value in model.initial(3).items()}
    kept = {name: value.clone() for name, value in state.items()}
    model.observe(state, batch.action[:, 1], batch.observation[:, 1], torch.tensor([True, False, True]))  # type: ignore[index]
    model.imagine(state, batch.action[:, 1])
    model.decode(state)
    assert same(state, kept, atol=0)
    before = batch.map(Tensor.clone)
    model.loss(batch)
    for item in fields(Batch):
        if item.name != "columns":
            assert torch.equal(getattr(batch, item.name), getattr(before, item.name)), item.name


# --- the loss, worked by hand ---------------------------------------------------------------------------------------


def constant_kl(preset: str, **architecture: Any) -> tuple[RSSM, float]:
    """A model whose posterior and prior are the same in every record, and KL(posterior ‖ prior) by hand."""
    if preset == "v3":
        # Class-major; softmax of the two variables: (¾, ¼) and (½, ½), with 1 % uniform (0.7475, 0.2525).
        posterior, prior = [math.log(3), 0.0, 0.0, 0.0], [0.0] * 4
        shape = {"stoch": 2, "classes": 2, **architecture}
        divergence = 0.7475 * math.log(0.7475 / 0.5) + 0.2525 * math.log(0.2525 / 0.5)  # 0.1280
    else:
        # N(1, 2²) and N(0, 1²) in one entry, the same N(0, 1) in the other.
        one, two = (math.log(math.expm1(std - 0.1)) for std in (1.0, 2.0))
        posterior, prior = [1.0, 0.0, two, one], [0.0, 0.0, one, one]
        shape = {"stoch": 2, **architecture}
        divergence = math.log(1 / 2) + (4 + 1) / 2 - 0.5  # 1.3069
    model = tiny(preset=preset, representation="reward", architecture=shape)
    with torch.no_grad():
        for layer, bias in ((model.posterior_out, posterior), (model.prior_out, prior)):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(bias))
    return model, divergence


@pytest.mark.parametrize(("preset", "rest"), [("v3", 0.1), ("v1", 1.0)])
def test_the_two_divergences_and_their_weights(preset: str, rest: float) -> None:
    model, divergence = constant_kl(preset, free_nats=0.0)
    metrics = model.loss(windows(), generator=generator()).metrics
    assert metrics["kl"].item() == pytest.approx(divergence, rel=1e-4)
    assert metrics["dynamics"].item() == pytest.approx(divergence, rel=1e-4)
    assert metrics["representation"].item() == pytest.approx(rest * divergence, rel=1e-4)

    model, divergence = constant_kl(preset, free_nats=0.0, dynamics_scale=0.5, representation_scale=3.0)
    metrics = model.loss(windows(), generator=generator()).metrics
    assert metrics["dynamics"].item() == pytest.approx(0.5 * divergence, rel=1e-4)
    assert metrics["representation"].item() == pytest.approx(3 * divergence, rel=1e-4)


@pytest.mark.parametrize(("preset", "free", "rest"), [("v3", 1.0, 0.1), ("v1", 3.0, 3.0)])
def test_what_is_free_costs_that_much_and_teaches_nothing(preset: str, free: float, rest: float) -> None:
    model, divergence = constant_kl(preset)
    assert divergence < free
    loss = model.loss(windows(length=1), generator=generator())
    assert loss.metrics["dynamics"].item() == pytest.approx(free)
    assert loss.metrics["representation"].item() == pytest.approx(rest)
    loss.total.backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def taught(model: RSSM, batch: Batch) -> set[str]:
    """The modules that the loss has a gradient for."""
    model.zero_grad()
    model.loss(batch, generator=generator()).total.backward()
    return {
        name.partition(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and (parameter.grad != 0).any()
    }


@both_presets
def test_each_divergence_teaches_its_own_side(preset: str) -> None:
    """In windows of one record nothing but the KL has a gradient, and no later record hides where it goes."""
    batch = windows(length=1)
    kwargs: dict[str, Any] = {"preset": preset, "representation": "reward"}
    shape = {"free_nats": 0.0, "dynamics_scale": 1.0, "representation_scale": 0.0}
    dynamics = taught(tiny(**kwargs, architecture=shape), batch)
    shape = {"free_nats": 0.0, "dynamics_scale": 0.0, "representation_scale": 1.0}
    representation = taught(tiny(**kwargs, architecture=shape), batch)
    assert dynamics == {"prior", "prior_out", "cell"}
    norm = {"posterior_norm"} if preset == "v3" else set()
    assert representation == norm | {"posterior_deter", "posterior_embedding", "posterior_out", "encoder", "cell"}
    shape = {"free_nats": 0.0, "dynamics_scale": 0.0, "representation_scale": 0.0}
    assert taught(tiny(**kwargs, architecture=shape), batch) == set()


@both_presets
def test_the_gradients_of_both_divergences_by_hand(preset: str) -> None:
    """The prior learns KL(sg(q) ‖ p) with the one weight, the posterior KL(q ‖ sg(p)) with the other."""
    scales = {"dynamics_scale": 0.7, "representation_scale": 0.2, "free_nats": 0.0}
    model, _ = constant_kl(preset, **scales)
    model.loss(windows(length=1), generator=generator()).total.backward()
    posterior = model.posterior_out.bias.detach().clone().requires_grad_()
    prior = model.prior_out.bias.detach().clone().requires_grad_()
    if preset == "v3":
        p, q = (0.99 * v.reshape(2, 2).softmax(0) + 0.005 for v in (posterior, prior))
        (p * (p.log() - q.log())).sum().backward()
    else:
        p, q = (Normal(v[:2], F.softplus(v[2:]) + 0.1) for v in (posterior, prior))  # type: ignore[assignment]
        kl_divergence(p, q).sum().backward()
    assert prior.grad is not None
    assert posterior.grad is not None
    assert prior.grad.abs().max() > 0.01
    assert torch.allclose(model.prior_out.bias.grad, 0.7 * prior.grad, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(model.posterior_out.bias.grad, 0.2 * posterior.grad, atol=1e-6)  # type: ignore[arg-type]


def moments(parameters: Tensor) -> Normal:
    mean, raw = parameters.chunk(2, -1)
    return Normal(mean, F.softplus(raw) + 0.1)


@both_presets
@every_representation
@pytest.mark.parametrize(("average", "quantile"), [(True, 0.1), (True, 0.9), (False, 0.3), (False, 0.7)])
def test_every_term_of_the_loss(preset: str, representation: str, average: bool, quantile: float) -> None:
    """From the parameters and states that a pass leaves behind, everything is worked out again, record by record."""
    space = spaces.Dict({"place": VECTOR, "kind": DISCRETE, "view": IMAGE})
    batch = windows(first=RESETS, observation_space=space)
    free = 0.0
    for _ in range(2):  # once more with free nats that some records exceed and others do not
        shape = {"free_average": average, "free_nats": free}
        model = tiny(space, preset=preset, representation=representation, architecture=shape)
        seen: dict[str, list[Tensor]] = {name: [] for name in ("posterior_out", "prior_out", "matcher")}
        for name, outputs in seen.items():
            if hasattr(model, name):
                getattr(model, name).register_forward_hook(lambda *said, outputs=outputs: outputs.append(said[-1]))
        loss = model.loss(batch, generator=generator())
        posterior, prior = (value.detach() for value in (torch.stack(seen["posterior_out"], 1), seen["prior_out"][0]))
        if isinstance(model.latent, CategoricalLatent):
            p, q = (Categorical(model.latent.probability(value).transpose(-1, -2)) for value in (posterior, prior))
            divergence = kl_divergence(p, q).sum(-1)
        else:
            divergence = kl_divergence(moments(posterior), moments(prior)).sum(-1)
        free = divergence.quantile(quantile).item()
    assert divergence.shape == (3, 6)
    assert divergence.min() < free < divergence.max()
    if average:
        assert (divergence.mean() > free) == (quantile < 0.5)
        beyond = max(divergence.mean(), torch.tensor(free))
    else:
        beyond = torch.tensor([max(value, free) for value in divergence.flatten().tolist()]).mean()
    assert loss.states is not None
    features = torch.cat([loss.states["deter"], loss.states["stoch"]], -1)
    expected = {
        "dynamics": model.architecture.dynamics_scale * beyond,
        "representation": model.architecture.representation_scale * beyond,
    }
    if representation == "reconstruction":
        errors = []
        for row in range(3):
            for t in range(6):
                one = {key: value[row : row + 1, t] for key, value in batch.observation.items()}  # type: ignore[union-attr]
                errors.append(model.decoder.loss(model.decoder(features[row, t][None]), one))
        expected["observation"] = torch.cat(errors).mean()
    elif representation == "contrastive":
        flat, mean = features.reshape(18, -1), seen["matcher"][0]
        costs = []
        for i in range(18):
            log_q = torch.stack([Normal(mean[j], 1.0).log_prob(flat[i]).sum() for j in range(18)])
            costs.append(log_q.logsumexp(0) - log_q[i])
        expected["observation"] = torch.stack(costs).mean()
    rewards, ends = [], []
    for row in range(3):
        for t in range(1, 6):
            if (row, t) not in RESETS:
                rewards.append(model.reward.loss(model.reward(features[row, t]), batch.reward[row, t]))
                chance = model.termination(features[row, t])[0].sigmoid()
                ends.append(-(chance if batch.terminated[row, t] else 1 - chance).log())
    assert len(rewards) == 15 - 3
    expected["reward"], expected["termination"] = torch.stack(rewards).mean(), torch.stack(ends).mean()

    assert set(loss.metrics) == {*expected, "kl"}
    for name, value in expected.items():
        assert loss.metrics[name].item() == pytest.approx(value.item(), rel=1e-4), name
    assert loss.metrics["kl"].item() == pytest.approx(divergence.mean().item(), rel=1e-4)
    assert loss.total.item() == pytest.approx(sum(value.item() for value in expected.values()), rel=1e-4)
    assert not any(value.requires_grad for value in loss.metrics.values())


@both_presets
@pytest.mark.parametrize("name", ["reward", "terminated"])
def test_resets_and_beginnings_carry_no_reward_and_no_termination(preset: str, name: str) -> None:
    model, batch = tiny(preset=preset), windows(first=RESETS)
    usual = model.loss(batch, generator=generator()).total

    def changed(row: int, t: int) -> bool:
        values = getattr(batch, name).clone()
        values[row, t] = not values[row, t] if name == "terminated" else values[row, t] + 5
        total = model.loss(replace(batch, **{name: values}), generator=generator()).total
        return not torch.equal(total, usual)

    expected = {(row, t) for row in range(3) for t in range(1, 6)} - set(RESETS)
    assert {(row, t) for row in range(3) for t in range(6) if changed(row, t)} == expected


def test_windows_without_a_single_step_have_a_finite_loss() -> None:
    loss = tiny().loss(windows(length=1), generator=generator())
    assert (loss.metrics["reward"], loss.metrics["termination"]) == (0, 0)
    assert loss.total.isfinite()


def test_only_the_reconstruction_is_shown_to_the_decoder_and_only_the_match_to_the_matcher() -> None:
    batch = windows(first=RESETS)
    common = {"encoder", "cell", "posterior_deter", "posterior_embedding", "posterior_norm", "posterior_out", "prior"}
    common |= {"prior_out", "reward", "termination"}
    extra = {"reconstruction": {"decoder"}, "reward": set(), "contrastive": {"matcher"}}
    for representation, own in extra.items():
        model = tiny(representation=representation)
        assert taught(model, batch) == common | own
        assert {name for name, _ in model.named_children()} - {"actions"} == common | own


def test_early_stopping_judges_by_the_loss_with_the_same_luck_every_time() -> None:
    model, batch = tiny(), windows(rows=150, length=3)
    found = model.validate(batch)
    assert found.shape == (1,)
    assert not found.requires_grad
    torch.manual_seed(99)
    assert torch.equal(found, model.validate(batch))
    source = generator(0)
    total = 0.0
    for rows in torch.arange(150).split(64):
        total += model.loss(batch[rows], generator=source).total.item() * len(rows)
    assert found.item() == pytest.approx(total / 150, rel=1e-5)


# --- a world small enough to be learned exactly ---------------------------------------------------------------------

REWARDS = np.array([[1.0, -1.0], [0.0, 2.0], [-2.0, 1.0]])  # of the observation that the action was taken in


def game(steps: int, seed: int) -> Replay:
    """The reward is that of (previous observation, action); action 0 in observation 2 ends it; all else is chance."""
    rng = np.random.default_rng(seed)
    replay = Replay(spaces.Discrete(3), spaces.Discrete(2))
    observation = int(rng.integers(3))
    replay.add_reset([observation])
    for _ in range(steps):
        action = int(rng.integers(2))
        reward, ended = REWARDS[observation, action], observation == 2 and action == 0
        observation = int(rng.integers(3))
        replay.add([observation], [action], [reward], [ended], [False], [False])
        if ended:
            observation = int(rng.integers(3))
            replay.add_reset([observation])
    return replay


def learned(preset: str, shift: int) -> dict[str, float]:
    """Mean errors on fresh windows, filtered and dreamed, of a model that was told the actions ``shift`` too late."""

    def told(batch: Batch) -> Batch:
        return replace(batch, action=batch.action.roll(shift, 1))

    torch.manual_seed(0)
    shape = {**TINY[preset], "units": 16}
    model = RSSM(spaces.Discrete(3), spaces.Discrete(2), preset=preset, architecture=shape)
    replay, rng, source = game(1500, 0), np.random.default_rng(0), generator()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        model.loss(told(replay.sample(64, 3, rng)), generator=source).total.backward()
        optimizer.step()
    with torch.no_grad():
        batch = told(game(600, 1).sequences(4))
        states = states_of(model, batch)
        known = ~batch.first
        filtered = model.predict(model.features(states))
        before = {name: value[:, :-1].flatten(0, 1) for name, value in states.items()}
        dreamed = model.imagine(before, batch.action[:, 1:].flatten(), generator=source)[1]
        arrived = {name: getattr(batch, name)[:, 1:].flatten().float() for name in ("reward", "terminated")}
        counts = known[:, 1:].flatten()

        def error(prediction: Tensor, name: str) -> float:
            return (prediction - arrived[name])[counts].abs().mean().item()

        return {
            "filtered reward": error(filtered.reward[:, 1:].flatten(), "reward"),
            "filtered end": error(filtered.terminated[:, 1:].flatten(), "terminated"),
            "dreamed reward": error(dreamed.reward, "reward"),
            "dreamed end": error(dreamed.terminated, "terminated"),
        }


@both_presets
def test_what_follows_from_an_observation_and_an_action_is_learned(preset: str) -> None:
    errors = learned(preset, 0)
    assert max(errors["filtered reward"], errors["dreamed reward"]) < 0.2
    assert max(errors["filtered end"], errors["dreamed end"]) < 0.02


def test_it_is_not_learned_when_actions_come_one_record_late() -> None:
    errors = learned("v3", 1)
    assert min(errors["filtered reward"], errors["dreamed reward"]) > 0.8
    assert min(errors["filtered end"], errors["dreamed end"]) > 0.1


# --- dreaming -------------------------------------------------------------------------------------------------------


def some_state(model: RSSM, rows: int = 4, seed: int = 3) -> State:
    source = generator(seed)
    parameters = torch.randn(rows, model.latent.parameters, generator=source)
    stoch = model.latent.sample(parameters, model.latent.noise((rows,), torch.device("cpu"), source))
    return {"deter": torch.randn(rows, model.architecture.deter, generator=source).tanh(), "stoch": stoch.detach()}


@both_presets
def test_a_dream_is_the_cell_the_prior_and_the_heads(preset: str, noise: Callable[[RSSM, Tensor], None]) -> None:
    model = tiny(preset=preset)
    state, action = some_state(model), torch.rand(4, 2) * 4 - 2
    values = noise_of(model, 1, 4)
    noise(model, values)
    after, prediction = model.imagine(state, action)
    encoded = action / 2  # a Box from −2 to 2
    deter = model.cell(state["deter"], state["stoch"], model.cell.embed_action(encoded))
    parameters = model.prior_out(model.prior(deter))
    assert torch.allclose(after["deter"], deter, atol=1e-6)
    assert torch.allclose(after["stoch"], model.latent.sample(parameters, values[0]), atol=1e-6)
    features = torch.cat([after["deter"], after["stoch"]], -1)
    assert torch.equal(model.features(after), features)
    assert features.shape == (4, model.num_features)
    assert torch.allclose(prediction.reward, model.reward.mean(model.reward(features)))
    assert torch.allclose(prediction.terminated, model.termination(features)[:, 0].sigmoid())
    assert (prediction.reward.shape, prediction.terminated.shape) == ((4,), (4,))
    assert prediction.uncertainty is None
    assert prediction.extras == {}
    assert same(model.dream(state, encoded, values[0]), after)


@both_presets
def test_the_dream_follows_the_prior_that_the_loss_has_taught(preset: str) -> None:
    """What filters a record and what dreams it share the deterministic state, whatever is then observed."""
    model, batch = tiny(preset=preset), windows()
    states = states_of(model, batch)
    before = {name: value[:, 2] for name, value in states.items()}
    after, _ = model.imagine(before, batch.action[:, 3], generator=generator())
    assert torch.allclose(after["deter"], states["deter"][:, 3], atol=1e-5)


@both_presets
def test_a_dream_never_decodes(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(IMAGE, preset=preset)

    def forbidden(*_: Any) -> None:
        raise AssertionError("nobody looks")

    for part in ("decoder", "encoder"):
        monkeypatch.setattr(getattr(model, part), "forward", forbidden)
    model.imagine(some_state(model), torch.zeros(4, 2))
    with pytest.raises(AssertionError, match="nobody looks"):
        model.decode(some_state(model))


@both_presets
def test_dreams_are_differentiable(preset: str) -> None:
    model = tiny(preset=preset)
    state = {name: value.requires_grad_() for name, value in some_state(model).items()}
    action = torch.zeros(4, 2, requires_grad=True)
    after, _ = model.imagine(state, action, generator=generator())
    after, prediction = model.imagine(after, action.detach(), generator=generator(1))
    (prediction.reward + prediction.terminated).sum().backward()
    for tensor in (action, *state.values()):
        assert tensor.grad is not None
        assert (tensor.grad.abs().sum(1) > 0).all()  # every row has its own


@both_presets
def test_rows_of_a_dream_know_nothing_of_each_other(preset: str) -> None:
    model = tiny(preset=preset)
    state = {name: value.requires_grad_() for name, value in some_state(model).items()}
    after, prediction = model.imagine(state, torch.zeros(4, 2), generator=generator())
    (after["stoch"][1].square().sum() + prediction.reward[1]).backward()
    for tensor in state.values():
        assert tensor.grad is not None
        assert (tensor.grad.abs().sum(1) > 0).tolist() == [False, True, False, False]


@both_presets
def test_no_temperature_changes_what_is_drawn(preset: str) -> None:
    model, state, action = tiny(preset=preset), None, torch.zeros(200, 2)
    state = some_state(model, 200)
    left, dreamed = [], {}
    for temperature in (0.0, 0.3, 1.0, 2.0):
        source = generator()
        dreamed[temperature] = model.imagine(state, action, temperature=temperature, generator=source)[0]["stoch"]
        left.append(source.get_state())
    assert all(torch.equal(one, left[0]) for one in left)
    mode, usual = dreamed[0.0], dreamed[1.0]
    again = model.imagine(state, action, temperature=0.0, generator=generator(5))[0]["stoch"]
    assert torch.equal(mode, again)
    assert not torch.equal(usual, model.imagine(state, action, generator=generator(5))[0]["stoch"])
    if preset == "v1":  # the same noise, scaled
        assert torch.allclose(dreamed[2.0] - mode, 2 * (usual - mode), atol=1e-5)
        assert torch.allclose(dreamed[0.3] - mode, 0.3 * (usual - mode), atol=1e-5)
    else:  # the cooler, the more often the mode
        agreement = [(dreamed[t] * mode).sum().item() for t in (0.0, 0.3, 1.0, 2.0)]
        assert agreement == sorted(agreement, reverse=True)
        assert agreement[0] == 800 > agreement[1] > agreement[2] > agreement[3]


def test_it_has_no_uncertainty_and_no_members() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="uncertainty=True was asked of an RSSM, which has none"):
        model.imagine(some_state(model), torch.zeros(4, 2), uncertainty=True)
    with pytest.raises(ValueError, match="no ensemble"):
        model.member(0)


def test_what_is_decoded_are_observations() -> None:
    space = spaces.Dict({"view": IMAGE, "kind": DISCRETE, "place": spaces.Box(-0.1, 0.1, (2,))})
    model = tiny(space)
    shown = model.decode(some_state(model, 50))
    assert isinstance(shown, dict)
    assert (shown["view"].shape, shown["view"].dtype) == ((50, 8, 8, 3), torch.uint8)
    assert set(shown["kind"].tolist()) <= {-1, 0, 1}
    assert shown["place"].abs().max() <= 0.1 + 1e-7
    model = tiny(VECTOR, preset="v1")
    far = {name: 1e4 * value for name, value in some_state(model, 50).items()}
    assert model.decode(far).abs().max() == 10  # type: ignore[union-attr]


@pytest.mark.parametrize("representation", ["reward", "contrastive"])
def test_what_was_never_reconstructed_cannot_be_decoded(representation: Any) -> None:
    model = tiny(representation=representation)
    assert not model.can_decode
    with pytest.raises(NotImplementedError, match="a RSSM world has no decoder: its dreams are latent only"):
        model.decode(some_state(model))


# --- built from arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_of_dreamer_v3(size: str) -> None:
    shape = architecture_of("v3", size)
    deter, hidden, classes, depth, units = SIZES[size]
    assert (shape.deter, shape.hidden, shape.classes, shape.depth, shape.units) == (
        deter,
        hidden,
        classes,
        depth,
        units,
    )
    assert hidden == deter // 8 == units == 16 * depth  # their proportions
    assert (shape.stoch, shape.blocks, shape.free_nats, shape.free_average) == (32, 8, 1.0, False)
    assert (shape.dynamics_scale, shape.representation_scale) == (1.0, 0.1)


def test_the_presets_are_those_of_the_papers() -> None:
    assert architecture_of("v3") == architecture_of("v3", "1m") == PRESETS["v3"]
    v1 = architecture_of("v1")
    assert (v1.deter, v1.stoch, v1.classes, v1.units, v1.activation, v1.free_nats) == (200, 30, 0, 400, "elu", 3.0)
    assert v1.free_average
    assert not v1.squash
    model = RSSM(VECTOR, BOX, preset="v1")
    assert model.num_features == 230
    assert RSSM(VECTOR, BOX).num_features == 512 + 32 * 4


KWARGS: list[dict[str, Any]] = [
    {},
    {"preset": "v1"},
    {"size": "1m", "representation": "contrastive", "sequence_length": 7},
    {"preset": "v1", "representation": "reward", "architecture": TINY["v1"]},
    {"architecture": {**TINY["v3"], "multipliers": (1, 2), "free_nats": 0.5, "activation": "elu"}},
    {"architecture": {**TINY["v3"], "blocks": 1, "classes": 0, "norm": False, "squash": False}},
]


@pytest.mark.parametrize("kwargs", KWARGS, ids=str)
def test_hyperparameters_survive_json(kwargs: dict[str, Any]) -> None:
    model = RSSM(IMAGE, DISCRETE, **kwargs)
    again = RSSM(IMAGE, DISCRETE, **json.loads(json.dumps(model.hyperparameters())))
    assert again.architecture == model.architecture
    assert again.hyperparameters() == model.hyperparameters()
    assert again.sequence_length == model.sequence_length
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (model, again)]
    assert shapes[0] == shapes[1]
    again.load_state_dict(model.state_dict())
    batch = windows(observation_space=IMAGE, action_space=DISCRETE)
    losses = [one.loss(batch, generator=generator()).total for one in (model, again)]
    assert torch.equal(losses[0], losses[1])


def test_errors_of_vectors_weigh_vector_scale() -> None:
    once, thrice = (tiny(vector_scale=scale).loss(windows(), generator=generator()) for scale in (1.0, 3.0))
    torch.testing.assert_close(thrice.metrics["observation"], 3 * once.metrics["observation"])
    torch.testing.assert_close(thrice.total - once.total, 2 * once.metrics["observation"])


def test_every_attribute_of_an_architecture_can_be_changed() -> None:
    odd = {"blocks": 4, "prior_layers": 1, "codec_layers": 1, "reward_layers": 2, "termination_layers": 0}
    odd |= {"stoch": 3, "deter": 8, "representation_scale": 0.25}
    model = tiny(architecture=odd)
    assert {name: getattr(model.architecture, name) for name in odd} == odd
    assert {item.name for item in fields(Architecture)} >= set(odd)
    assert model.loss(windows(), generator=generator()).total.isfinite()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"preset": "v2"}, "preset='v2' must be one of 'v1', 'v3'"),
        ({"size": "2m"}, "size='2m' must be one of '1m', '12m'"),
        ({"preset": "v1", "size": "1m"}, "size='1m' was given, but preset='v1' brings its own sizes"),
        (
            {"representation": "pixels"},
            "representation='pixels' must be one of 'reconstruction', 'reward', 'contrastive'",
        ),
        ({"sequence_length": 1}, "sequence_length=1 must be at least 2"),
        ({"architecture": {"deeper": 3}}, "an RSSM has no 'deeper'; one of deter, stoch"),
        ({"architecture": {"size": "12m"}}, "an RSSM has no 'size'; one of"),
        ({"architecture": {"preset": "v1"}}, "an RSSM has no 'preset'; one of"),
        ({"architecture": {"deter": 0}}, "deter=0 must be an integer of at least 1"),
        ({"architecture": {"units": 2.5}}, "units=2.5 must be an integer of at least 1"),
        ({"architecture": {"codec_layers": -1}}, "codec_layers=-1 must be an integer of at least 0"),
        ({"architecture": {"deter": 20}}, "deter=20 must be a multiple of blocks=8"),
        ({"architecture": {"classes": 1}}, "classes=1 must be 0 (Gaussian) or at least 2"),
        ({"architecture": {"activation": "tanh"}}, "activation='tanh' must be one of 'elu', 'relu', 'silu'"),
        ({"architecture": {"multipliers": []}}, "multipliers=() must be positive integers"),
        ({"architecture": {"multipliers": [1, 0]}}, "multipliers=(1, 0) must be positive integers"),
        ({"architecture": {"free_nats": -1.0}}, "free_nats=-1.0 must not be negative"),
        ({"vector_scale": -1.0}, "vector_scale=-1.0 must not be negative"),
        ({"architecture": {"dynamics_scale": math.nan}}, "dynamics_scale=nan must not be negative"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_arguments_get_one_clear_message(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        RSSM(VECTOR, BOX, **kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (spaces.MultiBinary(3), BOX, "an RSSM needs observations of Box or Discrete"),
        (spaces.Dict({"a": VECTOR, "b": spaces.MultiDiscrete([2, 3])}), BOX, "an RSSM needs observations of Box or"),
        (VECTOR, spaces.MultiDiscrete([2, 3]), "Discrete or Box was expected"),
        (spaces.Box(0, 255, (63, 64, 3), np.uint8), BOX, "cannot take images of 63 × 64 pixels"),
    ],
    ids=["multibinary", "dict", "actions", "image"],
)
def test_spaces_that_it_cannot_take(observations: Any, actions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        RSSM(observations, actions)


# --- fitted, saved, dreamed -----------------------------------------------------------------------------------------

fitting: dict[str, Any] = {"max_epochs": 2, "validate_every": 1, "batch_size": 8}


def fitted(replay: Replay, seed: int = 0, **kwargs: Any) -> World:
    torch.manual_seed(0)
    preset = kwargs.setdefault("preset", "v3")
    model = make_model("rssm", replay, sequence_length=8, architecture=TINY[preset], **kwargs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "none of the .* transitions terminates")
        return fit(model, replay, seed=seed, **fitting)


def pictures(steps: int = 80) -> Replay:
    """A bright pixel walks along; episodes of nine steps; a Dict of a picture and a number."""
    space = spaces.Dict({"view": IMAGE, "place": spaces.Discrete(8, start=1)})
    replay, rng = Replay(space, DISCRETE, num_envs=2), np.random.default_rng(0)
    replay.max_episode_steps = 9
    place = np.zeros(2, int)

    def seen() -> dict[str, Any]:
        view = np.zeros((2, 8, 8, 3), np.uint8)
        view[np.arange(2), place] = 255
        return {"view": view, "place": place + 1}

    for step in range(steps):
        if step % 10 == 0:
            place = rng.integers(0, 8, 2)
            replay.add_reset(seen())
            continue
        action = rng.integers(-1, 2, 2)
        place = (place + action) % 8
        replay.add(
            seen(), action, action.astype(float), np.full(2, step % 10 == 9), np.zeros(2, bool), np.zeros(2, bool)
        )
    return replay


def dreamed(world: World, **kwargs: Any) -> list[Tensor]:
    """Everything that 5 rows say in 6 steps, restarts included."""
    observation: Any = "decoded" if world.model.can_decode else "latent"
    dream = Dream(world, observation=observation, horizon=4, **kwargs)
    said: list[Tensor] = []
    with torch.no_grad():
        state = dream.reset(5, seed=3)
        for t in range(6):
            if isinstance(world.action_space, spaces.Discrete):
                action = torch.arange(5) % int(world.action_space.n) + int(world.action_space.start)
            else:
                action = torch.linspace(-1, 1, 5)[:, None].expand(5, *world.action_space.shape)  # type: ignore[misc]
            state, step = dream.step(state, action)
            shown = dream.observation(state)
            said += [*state.model.values(), step.reward, step.terminated, step.truncated]
            said += list(shown.values()) if isinstance(shown, dict) else [shown]
            state = dream.restart(state, step.terminated | step.truncated | (torch.arange(5) == t))
    return said


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


@both_presets
@every_representation
def test_a_world_of_every_representation_comes_back_from_disk(
    preset: str, representation: Any, tmp_path: Path, cartpole_replay: Replay
) -> None:
    world = fitted(cartpole_replay, preset=preset, representation=representation)
    assert world.model.can_decode == (representation == "reconstruction")
    world.save(tmp_path / "w")
    again = World.load(tmp_path / "w")
    assert again.digest == world.digest
    assert again.model.hyperparameters() == world.model.hyperparameters()
    assert again.model.state_dict().keys() == world.model.state_dict().keys()
    assert all(torch.equal(again.starts[name], world.starts[name]) for name in world.starts)
    assert equal(dreamed(world), dreamed(again))
    if representation != "reconstruction":
        with pytest.raises(ValueError, match="a world of family 'rssm' cannot decode: ask for observation='latent'"):
            Dream(again)


def test_a_world_of_pictures_in_a_dict(tmp_path: Path) -> None:
    replay = pictures()
    world = fitted(replay)
    world.save(tmp_path / "w")
    again = World.load(tmp_path / "w")
    assert equal(dreamed(world), dreamed(again))
    envs = DreamVectorEnv(again, num_envs=3)
    observations, _ = envs.reset(seed=0)
    for _ in range(12):
        assert envs.observation_space.contains(observations)
        observations, rewards, *_ = envs.step(envs.action_space.sample())
        assert rewards.dtype == np.float32


@pytest.mark.parametrize("space", ["cartpole", "pendulum"])
def test_a_fit_is_decided_by_its_seed(space: str, request: pytest.FixtureRequest) -> None:
    replay: Replay = request.getfixturevalue(f"{space}_replay")
    worlds = [fitted(replay, seed=seed) for seed in (0, 0, 1)]
    assert worlds[0].digest == worlds[1].digest != worlds[2].digest
    assert equal(dreamed(worlds[0]), dreamed(worlds[1]))
    reports = [world.report for world in worlds]
    assert reports[0] is not None
    assert reports[1] is not None
    assert reports[0].history == reports[1].history
    assert len(reports[0].errors) == 1


def test_a_fit_improves_what_was_held_out(cartpole_replay: Replay) -> None:
    torch.manual_seed(0)
    model = RSSM.for_replay(cartpole_replay, sequence_length=8, architecture=TINY["v3"])
    untrained = copy.deepcopy(model)
    report = fit(
        model, cartpole_replay, seed=0, max_epochs=15, validate_every=1, batch_size=8, learning_rate=3e-3
    ).report
    assert report is not None
    rows = torch.arange(20)
    batch = cartpole_replay.sequences(8)[rows]
    assert model.validate(batch) < 0.8 * untrained.validate(batch)
    assert report.errors[0] == pytest.approx(min(row[2] for row in report.history))


def test_worlds_begin_from_filtered_contexts(cartpole_replay: Replay) -> None:
    """A start is what the filter makes of the last records, resets included, up to the context's own."""
    world = fitted(cartpole_replay)
    contexts = world.contexts
    assert contexts.first.shape[1] == 16
    for row in (0, len(contexts) // 2, len(contexts) - 1):
        begin = int(contexts.first[row].nonzero().max()) if contexts.first[row].any() else 0
        state = world.model.initial(1)
        for t in range(begin, 16):
            state = world.model.observe(
                state,
                contexts.action[row : row + 1, t],
                contexts.observation[row : row + 1, t],  # type: ignore[index]
                torch.tensor([t == begin]),
                sample=False,
            )
        assert same(state, {name: value[row : row + 1] for name, value in world.starts.items()})


def test_a_world_without_terminations_never_terminates(pendulum_replay: Replay, cartpole_replay: Replay) -> None:
    model = RSSM.for_replay(pendulum_replay, architecture=TINY["v3"])
    with pytest.warns(UserWarning, match="none of the 450 transitions terminates: this world will never terminate"):
        model.prepare(pendulum_replay)
    assert (model.imagine(some_state(model), torch.zeros(4, 1))[1].terminated == 0).all()
    batch = pendulum_replay.sequences(8)
    loss = model.loss(batch, generator=generator())
    assert loss.metrics["termination"] == 0
    loss.total.backward()
    assert all((p.grad == 0).all() for p in model.termination.parameters() if p.grad is not None)
    assert float(RSSM.for_replay(pendulum_replay, architecture=TINY["v3"]).terminates) == 1  # it may be told otherwise

    ends = RSSM.for_replay(cartpole_replay, architecture=TINY["v3"])
    ends.terminates.zero_()
    ends.prepare(cartpole_replay)
    assert ends.terminates == 1
    assert (ends.imagine(some_state(ends), torch.zeros(4, dtype=torch.int64))[1].terminated > 0).all()


def test_the_units_are_those_of_the_data_and_are_saved(cartpole_replay: Replay, tmp_path: Path) -> None:
    model = RSSM.for_replay(cartpole_replay, architecture=TINY["v3"])
    model.prepare(cartpole_replay)
    every = cartpole_replay.windows(cartpole_replay.scalars()["index"], 1).observation[:, 0]  # type: ignore[index]
    for standard in (model.encoder.standard, model.decoder.standard):
        torch.testing.assert_close(standard("", every).mean(0), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(standard("", every).std(0, correction=0), torch.ones(4))
    # Not every record of a long replay is looked at.
    with mock.patch("imagine_envs.world_models.rssm.rssm._MOST_RECORDS", 7):
        model.prepare(cartpole_replay)
    few = every[:: -(-len(every) // 7)]
    torch.testing.assert_close(model.encoder.standard("", few).mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    fitted(cartpole_replay).save(tmp_path / "world")
    loaded = World.load(tmp_path / "world").model
    torch.testing.assert_close(loaded.encoder.standard("", every).mean(0), torch.zeros(4), atol=0.3, rtol=0)  # type: ignore[operator]
    assert not torch.equal(loaded.encoder.standard("", every), every)  # type: ignore[operator]


def test_too_short_a_replay_is_refused() -> None:
    replay = game(30, 0)
    with pytest.raises(ValueError, match="length is 64, but the longest of 1 streams has"):
        fit(RSSM.for_replay(replay, architecture=TINY["v3"]), replay, seed=0)


def test_the_filter_of_a_real_environment_is_the_filter_of_the_loss(cartpole_replay: Replay) -> None:
    world = fitted(cartpole_replay)
    batch = cartpole_replay.sequences(20)[:2]
    follow, model = Filter(world, 2, seed=5), world.model
    follow.reset(batch.observation[:, 0].numpy())  # type: ignore[index]
    for t in range(1, 20):
        features = follow.step(batch.observation[:, t].numpy(), batch.action[:, t].numpy(), batch.first[:, t].numpy())  # type: ignore[index]
    source, state = generator(5), model.initial(2)
    with torch.no_grad():
        for t in range(20):
            first = from_start(batch)[:, t]
            state = model.observe(state, batch.action[:, t], batch.observation[:, t], first, generator=source)  # type: ignore[index]
        assert np.array_equal(features, model.features(state).numpy())


def test_copies_dream_alike() -> None:
    model = tiny()
    state, action = some_state(model), torch.ones(4, 2)
    one, other = (m.imagine(state, action, generator=generator())[0] for m in (model, copy.deepcopy(model)))
    assert same(one, other, atol=0)
