"""The tensor core of dreams, mostly on a world that can be computed in one's head (see toy_worlds)."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from toy_worlds import walk_world

from imagine_envs.dreams import Dream, DreamState, Step
from imagine_envs.dreams.dream import DEFAULT_HORIZON
from imagine_envs.world_models import World

ROWS = 6
GOLDEN: dict[str, Any] = {
    "starts": [47.5, 30.5, 9.5],
    "x": [46.17598, 29.13163, 9.43482],
    "terminated": [True, False, True],
    "restarted": [7.5, 29.13163, 8.5],
}


def actions(step: int, rows: int = ROWS) -> torch.Tensor:
    return (torch.arange(rows) + step) % 3 - 1


def rollout(dream: Dream, steps: int = 4, *, seed: int = 0, rows: int = ROWS) -> list[tuple[DreamState, Step]]:
    state, trace = dream.reset(rows, seed=seed), []
    for t in range(steps):
        state, step = dream.step(state, actions(t, rows))
        trace.append((state, step))
    return trace


def positions(dream: Dream, steps: int = 4, **kwargs: Any) -> torch.Tensor:
    return torch.stack([state.model["x"] for state, _ in rollout(dream, steps, **kwargs)])


def copied(state: DreamState) -> DreamState:
    return copy.deepcopy(state)


def same(a: DreamState, b: DreamState) -> bool:
    return (
        a.model.keys() == b.model.keys()
        and all(torch.equal(a.model[key], b.model[key]) for key in a.model)
        and a.extras.keys() == b.extras.keys()
        and all(torch.equal(a.extras[key], b.extras[key]) for key in a.extras)
        and torch.equal(a.elapsed, b.elapsed)
        and (a.seed, a.clock) == (b.seed, b.clock)
    )


# --- functional -----------------------------------------------------------------------------------------------------


def test_one_step_is_the_models() -> None:
    dream = Dream(walk_world(), temperature=0)
    state = dream.reset(3, seed=1)
    after, step = dream.step(state, torch.tensor([-1, 0, 1]))
    x = state.model["x"][:, 0] + torch.tensor([-1, 0, 1])
    assert torch.equal(after.model["x"][:, 0], x)
    assert torch.equal(step.reward, 10 * x + torch.tensor([-1, 0, 1]))
    assert not step.terminated.any()
    assert not step.truncated.any()
    assert step.uncertainty is None
    assert after.elapsed.tolist() == [1, 1, 1]
    assert (after.seed, after.clock) == (1, 1)


def test_nothing_is_changed_in_place() -> None:
    dream = Dream(walk_world(0.5, masks=True), uncertainty_penalty=1.0, halt_uncertainty=0.5, truncate_uncertainty=0.9)
    state = dream.reset(ROWS, seed=0)
    for t in range(4):
        before, action = copied(state), actions(t)
        after, step = dream.step(state, action)
        assert same(state, before)
        assert torch.equal(action, actions(t))
        kept = copied(after)
        dream.restart(after, step.terminated)
        dream.observation(after)
        assert same(after, kept)
        state = dream.restart(after, torch.arange(ROWS) % 2 == 0)
    starts = walk_world().starts["x"]
    assert torch.equal(dream.world.starts["x"], starts)


def test_a_state_stepped_twice_goes_to_the_same_place() -> None:
    dream = Dream(walk_world(0.5))
    state = rollout(dream, 3)[-1][0]
    (once, step), (again, step_again) = dream.step(state, actions(3)), dream.step(state, actions(3))
    assert same(once, again)
    assert torch.equal(step.reward, step_again.reward)
    assert torch.equal(step.terminated, step_again.terminated)


def test_a_fork_goes_its_own_way_and_leaves_the_other_alone() -> None:
    dream = Dream(walk_world())
    alone = positions(dream, 4)
    state = rollout(dream, 2)[-1][0]
    fork = state
    for _ in range(3):
        fork, _ = dream.step(fork, torch.ones(ROWS, dtype=torch.int64))
    for t in (2, 3):
        state, _ = dream.step(state, actions(t))
        assert torch.equal(state.model["x"], alone[t])
    assert not torch.equal(fork.model["x"], state.model["x"])


def test_several_dreams_of_one_world_do_not_disturb_each_other() -> None:
    world = walk_world()
    one, other = Dream(world), Dream(world)
    expected = positions(Dream(world), 3)
    state = one.reset(ROWS, seed=0)
    for t in range(3):
        rollout(other, 2, seed=7)
        torch.randn(5)
        state, _ = one.step(state, actions(t))
        assert torch.equal(state.model["x"], expected[t])


def test_a_step_lets_gradients_through(pendulum_world: World) -> None:
    dream = Dream(pendulum_world)
    state = dream.reset(3, seed=0)
    action = torch.zeros(3, 1, requires_grad=True)
    total = torch.zeros(())
    for _ in range(2):
        state, step = dream.step(state, action)
        total = total + step.reward.sum()
    (gradient,) = torch.autograd.grad(total, action)
    assert gradient.abs().min() > 0


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_dream() -> None:
    world = walk_world(0.3)
    for seed in (0, 1, 2**62):
        one, two = rollout(Dream(world), seed=seed), rollout(Dream(world), seed=seed)
        for (state, step), (state_again, step_again) in zip(one, two, strict=True):
            assert same(state, state_again)
            assert torch.equal(step.terminated, step_again.terminated)


def test_the_global_generator_plays_no_part() -> None:
    dream = Dream(walk_world(0.3))
    torch.manual_seed(1)
    expected = positions(dream)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(positions(dream), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_different_seeds_differ_in_starts_and_in_noise() -> None:
    dream = Dream(walk_world())
    one, two = (dream.reset(ROWS, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.model["x"], two.model["x"])
    noises = [
        positions(dream, 1, seed=seed)[0] - dream.reset(ROWS, seed=seed).model["x"] - actions(0)[:, None]
        for seed in (0, 1)
    ]
    assert (noises[0] - noises[1]).abs().min() > 1e-6


def test_no_step_repeats_the_noise_of_another_step_or_row() -> None:
    dream = Dream(walk_world())
    x = torch.cat([dream.reset(ROWS, seed=0).model["x"][None], positions(dream, 5)])
    noise = (x[1:] - x[:-1])[..., 0] - torch.stack([actions(t) for t in range(5)])
    assert noise.std() > 0.5
    assert len(noise.flatten().mul(1e3).round().unique()) == noise.numel()


def test_a_golden_dream() -> None:
    # Changes when the random stream of seeds changes: results of earlier releases can then not be reproduced.
    dream = Dream(walk_world(0.5))
    state, step = dream.step(dream.reset(3, seed=42), torch.tensor([-1, 0, 1]))
    again = dream.restart(state, torch.tensor([True, False, True]))
    assert dream.reset(3, seed=42).model["x"][:, 0].tolist() == GOLDEN["starts"]
    assert state.model["x"][:, 0].tolist() == pytest.approx(GOLDEN["x"], abs=1e-4)
    assert step.terminated.tolist() == GOLDEN["terminated"]
    assert again.model["x"][:, 0].tolist() == pytest.approx(GOLDEN["restarted"], abs=1e-4)


# --- horizon and termination ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_horizon_truncates_at_exactly_its_step_and_never_terminates(horizon: int) -> None:
    trace = rollout(Dream(walk_world(), horizon=horizon), horizon + 1)
    for t, (_, step) in enumerate(trace, start=1):
        assert step.truncated.all() == (t >= horizon)
        assert step.truncated.any() == (t >= horizon)
        assert not step.terminated.any()


@pytest.mark.parametrize(
    ("limit", "horizon", "expected"), [(7, None, 7), (7, 3, 3), (7, 30, 30), (None, None, DEFAULT_HORIZON)]
)
def test_the_default_horizon_is_the_environments_own_limit(
    limit: int | None, horizon: int | None, expected: int
) -> None:
    assert DEFAULT_HORIZON == 1_000
    assert Dream(walk_world(limit=limit), horizon=horizon).horizon == expected


def test_termination_at_the_horizon_is_reported_beside_the_truncation() -> None:
    (_, step) = rollout(Dream(walk_world(1.0), horizon=1), 1)[0]
    assert step.terminated.all()
    assert step.truncated.all()


def test_the_clock_of_a_restarted_row_begins_anew() -> None:
    dream = Dream(walk_world(), horizon=3)
    state = dream.reset(2, seed=0)
    for t in range(2):
        state, _ = dream.step(state, actions(t, 2))
    state = dream.restart(state, torch.tensor([True, False]))
    assert state.elapsed.tolist() == [0, 2]
    truncations = []
    for t in range(3):
        state, step = dream.step(state, actions(t, 2))
        truncations.append(step.truncated.tolist())
    assert truncations == [[False, True], [False, True], [True, True]]


@pytest.mark.parametrize(
    ("probability", "kind", "share"),
    [
        (0.0, "sample", 0.0),
        (1.0, "sample", 1.0),
        (0.3, "sample", 0.3),
        (0.5, "threshold", 0.0),
        (0.5001, "threshold", 1.0),
    ],
)
def test_how_terminations_come_from_probabilities(probability: float, kind: Any, share: float) -> None:
    dream = Dream(walk_world(probability), termination=kind)
    terminated = torch.stack([step.terminated for _, step in rollout(dream, 4, rows=2_000)]).float()
    assert terminated.mean().item() == pytest.approx(share, abs=0.02 if 0 < share < 1 else 0)
    if 0 < share < 1:  # every step and every row draws for itself
        assert len({tuple(row) for row in terminated.tolist()}) == 4
        assert terminated[0].unique().numel() == 2


# --- no option changes the random stream of another -----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"termination": "threshold"},
        {"uncertainty_penalty": 2.0},
        {"halt_uncertainty": 0.5},
        {"truncate_uncertainty": 0.5},
        {"horizon": 2},
        {"observation": "latent"},
    ],
    ids=str,
)
def test_an_option_leaves_the_trajectories_alone(options: dict[str, Any]) -> None:
    world = walk_world(0.4)
    plain, changed = Dream(world), Dream(world, **options)
    assert torch.equal(positions(plain), positions(changed))
    one, two = plain.reset(ROWS, seed=3), changed.reset(ROWS, seed=3)
    half = torch.arange(ROWS) < 3
    for t in range(3):
        (one, _), (two, _) = plain.step(one, actions(t)), changed.step(two, actions(t))
        one, two = plain.restart(one, half), changed.restart(two, half)
        assert torch.equal(one.model["x"], two.model["x"])
    if options.get("termination") != "threshold" and "halt_uncertainty" not in options:
        for (_, step), (_, step_changed) in zip(rollout(plain), rollout(changed), strict=True):
            assert torch.equal(step.terminated, step_changed.terminated)


def test_temperature_scales_the_same_noise() -> None:
    world = walk_world()
    x0 = Dream(world).reset(ROWS, seed=0).model["x"]
    noise = {t: positions(Dream(world, temperature=t), 1)[0] - x0 - actions(0)[:, None] for t in (0.0, 0.5, 1.0, 2.0)}
    assert not noise[0.0].any()
    torch.testing.assert_close(noise[0.5], 0.5 * noise[1.0], atol=1e-5, rtol=0)
    torch.testing.assert_close(noise[2.0], 2 * noise[1.0], atol=1e-5, rtol=0)


def test_the_kind_of_starts_leaves_the_noise_alone() -> None:
    noise = []
    for kind in ("replay", "initial"):
        dream = Dream(walk_world(), starts=kind)  # type: ignore[arg-type]
        noise.append(positions(dream, 4) - dream.reset(ROWS, seed=0).model["x"])
    torch.testing.assert_close(noise[0], noise[1], atol=2e-5, rtol=0)


def test_uncertainty_leaves_the_trajectories_of_an_ensemble_alone(cartpole_world: World) -> None:
    plain, asked = Dream(cartpole_world), Dream(cartpole_world, uncertainty_penalty=1e-9)
    one, two = plain.reset(33, seed=0), asked.reset(33, seed=0)
    for t in range(5):
        (one, step), (two, step_asked) = (
            d.step(s, (actions(t, 33) > 0).long()) for d, s in ((plain, one), (asked, two))
        )
        torch.testing.assert_close(one.model["observation"], two.model["observation"], atol=1e-4, rtol=1e-4)
        assert torch.equal(step.terminated, step_asked.terminated)
        assert step.uncertainty is None
        assert step_asked.uncertainty is not None
        assert (step_asked.uncertainty > 0).all()


# --- starts and restarts --------------------------------------------------------------------------------------------


def test_rows_start_from_real_contexts_all_of_them_alike() -> None:
    world = walk_world()
    x = Dream(world).reset(20_000, seed=0).model["x"][:, 0]
    values, counts = x.unique(return_counts=True)
    assert torch.equal(values, world.starts["x"][:, 0])
    assert counts.min() > 300  # 400 each
    assert counts.max() < 500


def test_initial_starts_are_resets_only() -> None:
    x = Dream(walk_world(), starts="initial").reset(1_000, seed=0).model["x"][:, 0]
    assert x.unique().tolist() == [i + 0.5 for i in range(0, 50, 5)]


def test_a_restart_touches_the_masked_rows_only() -> None:
    dream = Dream(walk_world())
    mask = torch.tensor([False, True, False, False, True, False])
    state = replace(rollout(dream, 2)[-1][0], finished=mask)
    after = dream.restart(state, mask)
    assert torch.equal(after.model["x"][~mask], state.model["x"][~mask])
    assert torch.isin(after.model["x"][mask], dream.world.starts["x"]).all()
    assert not torch.isin(state.model["x"][mask], dream.world.starts["x"]).any()
    assert after.elapsed.tolist() == [2, 0, 2, 2, 0, 2]
    assert (after.seed, after.clock) == (state.seed, state.clock)
    assert after.finished is mask
    nobody = dream.restart(state, torch.zeros(ROWS, dtype=torch.bool))
    assert same(nobody, state)


def test_where_a_row_restarts_does_not_depend_on_the_others() -> None:
    dream = Dream(walk_world())
    state = rollout(dream, 2)[-1][0]
    everybody = dream.restart(state, torch.ones(ROWS, dtype=torch.bool)).model["x"]
    for row in range(ROWS):
        alone = dream.restart(state, torch.arange(ROWS) == row).model["x"]
        assert torch.equal(alone[row], everybody[row])


def test_restarts_at_different_times_go_to_different_places() -> None:
    dream = Dream(walk_world())
    every = torch.ones(ROWS, dtype=torch.bool)
    places = {tuple(dream.restart(state, every).model["x"][:, 0].tolist()) for state, _ in rollout(dream, 4)}
    assert len(places) == 4


def test_extras_are_predicted_on_a_step_and_real_after_a_restart() -> None:
    dream = Dream(walk_world(masks=True))
    state = dream.reset(ROWS, seed=0)
    real = dream.world.contexts.columns["action_mask"]
    rows = (state.model["x"][:, 0] - 0.5).long()
    assert torch.equal(state.extras["action_mask"], real[rows])
    state, _ = dream.step(state, actions(0))
    predicted = torch.tensor([0.2, 0.4, 0.3])
    assert torch.equal(state.extras["action_mask"], predicted.expand(ROWS, 3))
    mask = torch.tensor([True, False, False, True, False, False])
    state = dream.restart(state, mask)
    rows = (state.model["x"][mask, 0] - 0.5).long()
    assert torch.equal(state.extras["action_mask"][mask], real[rows].float())
    assert torch.equal(state.extras["action_mask"][~mask], predicted.expand(4, 3))


# --- what is seen ---------------------------------------------------------------------------------------------------


def test_decoded_observations_are_clipped_and_latent_ones_are_features() -> None:
    world = walk_world()
    decoded, latent = Dream(world), Dream(world, observation="latent")
    assert decoded.observation_space == world.observation_space
    assert latent.observation_space.shape == (2,)
    state = DreamState({"x": torch.tensor([[150.0], [3.0]])}, torch.zeros(2, dtype=torch.int64))
    assert decoded.observation(state).tolist() == [[100], [3]]  # type: ignore[union-attr]
    assert latent.observation(state).tolist() == [[150, -300], [3, -6]]  # type: ignore[union-attr]


def test_a_world_that_cannot_decode_is_dreamed_latent() -> None:
    world = walk_world(decodes=False)
    with pytest.raises(ValueError, match=r"cannot decode.*observation='latent'"):
        Dream(world)
    dream = Dream(world, observation="latent")
    assert dream.observation(dream.reset(2)).shape == (2, 2)  # type: ignore[union-attr]


# --- uncertainty ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.5, -0.25])
def test_mopo_subtracts_lambda_times_the_uncertainty(penalty: float) -> None:
    world = walk_world()
    for (state, step), (_, plain) in zip(
        rollout(Dream(world, uncertainty_penalty=penalty)), rollout(Dream(world)), strict=True
    ):
        assert torch.equal(step.uncertainty, state.model["x"][:, 0].abs())
        torch.testing.assert_close(step.reward, plain.reward - penalty * step.uncertainty)
        assert not step.terminated.any()


def test_morel_halts_above_the_quantile_with_the_worst_reward_for_every_step_left() -> None:
    dream = Dream(walk_world(), halt_uncertainty=0.5, horizon=10)  # the quantile ½ of 0 … 10 is 5
    plain = rollout(Dream(dream.world, horizon=10), 3, rows=200)
    for t, ((state, step), (_, free)) in enumerate(zip(rollout(dream, 3, rows=200), plain, strict=True), start=1):
        halted = state.model["x"][:, 0].abs() > 5
        assert 0 < halted.sum() < 200
        assert torch.equal(step.terminated, halted)
        assert not step.truncated.any()
        assert torch.equal(step.reward[halted], torch.full((int(halted.sum()),), -3.0 * (10 - t + 1)))
        assert torch.equal(step.reward[~halted], free.reward[~halted])


def test_morel_with_a_penalty_of_its_own_or_without_a_bad_reward() -> None:
    own = Dream(walk_world(), halt_uncertainty=0.5, halt_penalty=7.0)
    good = Dream(walk_world(reward_min=1.0), halt_uncertainty=0.5)
    for dream in (own, good):
        (state, step), (_, free) = rollout(dream, 1, rows=200)[0], rollout(Dream(dream.world), 1, rows=200)[0]
        halted = state.model["x"][:, 0].abs() > 5
        expected = free.reward - 7.0 if dream is own else torch.zeros(200)
        assert torch.equal(step.reward[halted], expected[halted])
        assert torch.equal(step.reward[~halted], free.reward[~halted])


def test_a_row_that_ended_by_itself_pays_no_halt_penalty() -> None:
    dream = Dream(walk_world(1.0), halt_uncertainty=0.5, halt_penalty=7.0)
    (_, step), (_, free) = rollout(dream, 1, rows=50)[0], rollout(Dream(dream.world), 1, rows=50)[0]
    assert step.terminated.all()
    assert torch.equal(step.reward, free.reward)


def test_truncation_by_uncertainty_is_a_truncation() -> None:
    dream = Dream(walk_world(), truncate_uncertainty=0.5, horizon=10)
    (state, step), (_, free) = rollout(dream, 1, rows=200)[0], rollout(Dream(dream.world), 1, rows=200)[0]
    assert torch.equal(step.truncated, state.model["x"][:, 0].abs() > 5)
    assert 0 < step.truncated.sum() < 200
    assert not step.terminated.any()
    assert torch.equal(step.reward, free.reward)
    at_the_horizon = Dream(dream.world, truncate_uncertainty=0.5, horizon=1)
    assert rollout(at_the_horizon, 1, rows=200)[0][1].truncated.all()


def test_thresholds_are_quantiles_of_the_training_data(cartpole_world: World) -> None:
    quantiles = cartpole_world.uncertainty_quantiles
    assert quantiles is not None
    assert cartpole_world.uncertainty_quantile(1.0) == quantiles[-1].item()
    assert cartpole_world.uncertainty_quantile(0.5) == quantiles[500].item()
    assert (quantiles[1:] >= quantiles[:-1]).all()
    x = cartpole_world.contexts.observation[:, 0]  # type: ignore[index]
    action = torch.randint(2, (len(x),), generator=torch.Generator().manual_seed(0))
    uncertainty = cartpole_world.model.imagine({"observation": x}, action, uncertainty=True)[1].uncertainty
    assert uncertainty is not None
    above = (uncertainty > cartpole_world.uncertainty_quantile(0.8)).float().mean()
    assert above.item() == pytest.approx(0.2, abs=0.08)  # other actions than in the data


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, r"temperature=-0\.1 must be finite and not negative"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"horizon": 0}, "horizon=0 must be a whole number of at least 1"),
        ({"horizon": -3}, "horizon=-3"),
        ({"horizon": 2.5}, r"horizon=2\.5"),
        ({"observation": "pixels"}, "observation='pixels' must be one of 'decoded', 'latent'"),
        ({"termination": "never"}, "termination='never' must be one of 'sample', 'threshold'"),
        ({"starts": "random"}, "starts='random' must be one of 'replay', 'initial'"),
        ({"uncertainty_penalty": float("inf")}, "uncertainty_penalty=inf must be finite"),
        ({"halt_uncertainty": 0.0}, r"quantile in \(0, 1\], not 0"),
        ({"halt_uncertainty": 1.1}, r"quantile in \(0, 1\], not 1\.1"),
        ({"truncate_uncertainty": -1}, r"quantile in \(0, 1\], not -1"),
        ({"halt_penalty": 1.0}, "halt_penalty needs halt_uncertainty"),
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dream(walk_world(), **options)


@pytest.mark.parametrize(
    "options", [{"uncertainty_penalty": 0.1}, {"halt_uncertainty": 0.9}, {"truncate_uncertainty": 0.9}], ids=str
)
def test_uncertainty_is_not_asked_of_a_world_that_has_none(perfect_cartpole: World, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need a world that has uncertainty; one of family 'perfect' has none"):
        Dream(perfect_cartpole, **options)


def test_initial_starts_need_a_reset_in_the_data() -> None:
    world = walk_world()
    world.contexts.first.fill_(False)
    with pytest.raises(ValueError, match="starts='initial' needs a world whose data holds a reset"):
        Dream(world, starts="initial")


def test_other_bad_arguments() -> None:
    with pytest.raises(TypeError, match="world must be a World, not str"):
        Dream("worlds/cartpole")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="horizn"):
        Dream(walk_world(), horizn=3)  # type: ignore[call-arg]
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size={batch_size} must be a whole number of at least 1"):
            Dream(walk_world()).reset(batch_size)


# --- copies ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda dream: pickle.loads(pickle.dumps(dream))])
def test_a_copy_dreams_the_same(duplicate: Any, cartpole_world: World) -> None:
    for world in (walk_world(0.3), cartpole_world):
        dream = Dream(world)
        state = dream.reset(ROWS, seed=0)
        state, _ = dream.step(state, actions(0).abs())
        twin, twin_state = duplicate((dream, state))
        for t in range(3):
            state, step = dream.step(state, actions(t).abs())
            twin_state, twin_step = twin.step(twin_state, actions(t).abs())
            assert same(state, twin_state)
            assert torch.equal(step.reward, twin_step.reward)
