from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from imagine_envs.experience import Batch, Replay
from imagine_envs.world_models import CopyModel, Ensemble, FitReport, Loss, PerfectModel, World, fit, fit_model
from imagine_envs.world_models.protocol import Prediction, State, WorldModel

OBSERVATION, ACTION = spaces.Box(-100, 100, (1,), np.float32), spaces.Discrete(2)


def line(steps: int, *, env: int = 0, replay: Replay | None = None) -> Replay:
    """Episodes of five steps along a line."""
    replay = Replay(OBSERVATION, ACTION) if replay is None else replay
    clock = 5
    for step in range(steps):
        if clock == 5:
            replay.add_reset([[0.0]])
            clock = 0
        clock += 1
        replay.add([[float(clock)]], [step % 2], [1.0 + step % 2], [clock == 5], [False], [False])
    return replay


class Scripted(WorldModel):
    """Its held-out errors are a script; it notes which records it is shown."""

    family = "scripted"
    markov = True
    sequence_length = 2

    def __init__(self, script: list[Any] | None = None) -> None:
        super().__init__(OBSERVATION, ACTION)
        self.weight = nn.Parameter(torch.zeros(2))
        self.script = script
        self.shown: list[Tensor] = []
        self.held_out: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.concluded: list[Tensor] = []
        self.prepared = 0
        self.modes: set[bool] = set()
        self.validation_modes: set[bool] = set()

    def prepare(self, replay: Replay) -> None:
        self.prepared += 1

    def loss(self, batch: Batch, **_: Any) -> Loss:
        self.shown.append(batch.index)
        self.modes.add(self.training)
        total = -self.weight.sum()
        return Loss(total, {"total": total.detach()})

    def validate(self, batch: Batch) -> Tensor:
        self.held_out.append(batch.index)
        self.validation_modes.add(self.training)
        self.weights.append(self.weight.detach().clone())
        if self.script is None:
            return torch.full((1,), 1.0 / len(self.weights))
        errors = self.script[min(len(self.weights), len(self.script)) - 1]
        return torch.tensor([errors] if isinstance(errors, float) else errors)

    def conclude(self, errors: Tensor) -> None:
        self.concluded.append(errors)

    def initial(self, batch_size: int) -> State:
        return {"x": torch.zeros(batch_size, 1)}

    def observe(self, state: State, action: Tensor, observation: Any, first: Tensor, **_: Any) -> State:
        return {"x": observation}

    def imagine(self, state: State, action: Tensor, **_: Any) -> tuple[State, Prediction]:
        return state, Prediction(state["x"][:, 0], torch.zeros(len(action)))

    def features(self, state: State) -> Tensor:
        return state["x"]


# --- the split ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "holdout"), [(50, 0.2), (53, 0.3), (40, 0.05), (5, 0.2)])
def test_what_is_held_out_is_never_trained_on(steps: int, holdout: float) -> None:
    model, replay = Scripted(), line(steps)
    report = fit_model(model, replay, holdout=holdout, max_epochs=3, batch_size=8, validate_every=1, seed=0)
    trained = {int(i) for batch in model.shown for i in batch[:, 1]}
    held_out = {int(i) for i in model.held_out[0][:, 1]}
    assert not trained & held_out
    assert trained | held_out == {int(i) for i in replay.transitions().index[:, 1]}
    assert len(held_out) == round(holdout * steps)
    assert report.windows == (len(trained), len(held_out))
    assert all(torch.equal(batch, model.held_out[0]) for batch in model.held_out)


def test_every_epoch_shows_every_window_once_in_another_order() -> None:
    model = Scripted()
    report = fit_model(model, line(50), max_epochs=3, batch_size=16, validate_every=1, seed=0)
    assert report.updates == 9  # 40 windows in batches of 16, 16 and 8
    assert [len(batch) for batch in model.shown] == [16, 16, 8] * 3
    epochs = [torch.cat(model.shown[i : i + 3])[:, 1] for i in (0, 3, 6)]
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    assert len(epochs[0].unique()) == 40
    assert not torch.equal(epochs[0], epochs[1])


def test_a_seed_decides_the_split_and_the_order() -> None:
    models = [Scripted() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit_model(model, line(50), max_epochs=2, batch_size=8, seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(models[0].shown, models[1].shown, strict=True))
    assert torch.equal(models[0].held_out[0], models[1].held_out[0])
    assert not torch.equal(models[0].held_out[0].sort(0).values, models[2].held_out[0].sort(0).values)


# --- when it stops, and what it keeps -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_epochs", "batch_size", "validate_every"), [(1, 8, 40), (7, 8, 10), (9, 100, 3), (3, 8, 1)]
)
def test_max_epochs_is_respected(max_epochs: int, batch_size: int, validate_every: int) -> None:
    model = Scripted()
    report = fit_model(
        model, line(50), max_epochs=max_epochs, batch_size=batch_size, validate_every=validate_every, seed=0
    )
    updates_per_epoch = -(-40 // batch_size)
    assert report.epochs == max_epochs
    assert report.updates == len(model.shown) == max_epochs * updates_per_epoch
    epochs_per_validation = -(-validate_every // updates_per_epoch)
    expected = [
        min(i, max_epochs) * updates_per_epoch for i in range(epochs_per_validation, max_epochs, epochs_per_validation)
    ]
    assert [row[0] for row in report.history] == [*expected, report.updates]


def test_it_stops_when_nothing_improves_and_keeps_the_best_weights() -> None:
    #                 before  1    2    3    4    5    6 …
    model = Scripted([1.0, 0.5, 0.6, 0.4, 0.7, 0.8, 0.9])
    report = fit_model(model, line(50), patience=3, validate_every=1, max_epochs=100, seed=0)
    assert len(report.history) == 6  # three validations after the third
    assert torch.equal(model.weight, model.weights[3])
    assert model.weight[0] > 0
    assert [errors.tolist() for errors in model.concluded] == [pytest.approx([0.4])]
    assert report.epochs == 6
    assert [row[2] for row in report.history] == pytest.approx([0.5, 0.6, 0.4, 0.7, 0.8, 0.9])


def test_an_improvement_of_less_than_a_percent_is_kept_but_does_not_count() -> None:
    model = Scripted([1.0, 0.999, 0.998, 0.997, 0.5])
    report = fit_model(model, line(50), patience=3, validate_every=1, max_epochs=100, seed=0)
    assert len(report.history) == 3
    assert torch.equal(model.weight, model.weights[3])
    slow = Scripted([1.0, 0.995, 0.989, 0.985, 0.5, 0.6, 0.6, 0.6])  # a percent in two steps is an improvement
    assert len(fit_model(slow, line(50), patience=3, validate_every=1, max_epochs=100, seed=0).history) == 7


def test_one_improving_member_is_enough_to_go_on_but_the_mean_decides_what_is_kept() -> None:
    script = [[1.0, 1.0], [0.5, 1.2], [0.4, 1.4], [0.3, 1.9], [0.3, 2.0], [0.3, 2.0]]
    model = Scripted(script)
    report = fit_model(model, line(50), patience=2, validate_every=1, max_epochs=100, seed=0)
    assert len(report.history) == 5
    assert torch.equal(model.weight, model.weights[1])
    assert model.concluded[0].tolist() == pytest.approx([0.5, 1.2])


def test_a_fit_that_only_gets_worse_changes_nothing() -> None:
    for worse in (2.0, float("nan"), float("inf")):
        model = Scripted([1.0, worse])
        fit_model(model, line(50), patience=2, validate_every=1, seed=0)
        assert not model.weight.any()
        assert model.concluded[0].tolist() == [1.0]


@pytest.mark.parametrize(
    ("max_updates", "max_epochs", "validate_every", "epochs"),
    [
        (1, 100, 1, 1),  # an epoch is four updates, and is finished
        (4, 100, 1, 1),
        (5, 100, 1, 2),
        (23, 100, 1, 6),
        (24, 100, 1, 6),
        (24, 100, 17, 6),  # cut short between two validations, after the fifth epoch and the tenth
        (24, 100, 1_000, 6),  # and before the first
        (24, 5, 1, 5),  # max_epochs holds beside it
        (None, 7, 1, 7),
    ],
)
def test_max_updates_is_reached_and_its_epoch_finished(
    max_updates: int | None, max_epochs: int, validate_every: int, epochs: int
) -> None:
    model = Scripted()
    report = fit_model(
        model,
        line(50),
        max_updates=max_updates,
        max_epochs=max_epochs,
        batch_size=10,
        validate_every=validate_every,
        seed=0,
    )
    assert report.epochs == epochs
    assert report.updates == len(model.shown) == 4 * epochs
    assert report.history[-1][0] == report.updates  # the last weights are judged, too
    assert torch.equal(model.weight, model.weights[-1])


def test_max_updates_does_not_put_off_stopping() -> None:
    model = Scripted([1.0])
    report = fit_model(model, line(50), patience=2, validate_every=1, batch_size=10, max_updates=23, seed=0)
    assert report.updates == 8
    assert not model.weight.any()


def test_the_model_is_prepared_once_and_left_in_evaluation_mode() -> None:
    model = Scripted().eval()
    fit_model(model, line(50), max_epochs=2, validate_every=1, seed=0)
    assert model.prepared == 1
    assert model.modes == {True}
    assert model.validation_modes == {False}
    assert not model.training


# --- an ensemble ----------------------------------------------------------------------------------------------------


def small_ensemble(replay: Replay) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble.for_replay(replay, members=4, elites=2, hidden=(8,), arrival_hidden=(4,))


def test_the_same_seeds_fit_the_same_ensemble_to_the_bit() -> None:
    replay, models = line(60), []
    for seed in (0, 0, 1):
        model = small_ensemble(replay)
        torch.manual_seed(seed + 100)  # the global generator plays no part
        models.append((model, fit_model(model, replay, max_epochs=30, batch_size=16, seed=seed)))
    (one, report), (two, report_two), (three, _) = models
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert report.errors == report_two.errors
    assert report.history == report_two.history
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), three.parameters(), strict=True))


def test_reported_errors_are_those_of_the_members_as_they_stand_now() -> None:
    replay = line(60)
    model = small_ensemble(replay)
    report = fit_model(model, replay, max_epochs=40, batch_size=16, seed=0)
    assert list(report.errors) == sorted(report.errors)
    held_out = np.random.default_rng(0).permutation(60)[:12]
    expected = model.validate(replay.transitions()[torch.from_numpy(held_out)])
    assert list(report.errors) == pytest.approx(expected.tolist())


def test_a_refit_goes_on_with_more_data() -> None:
    replay = line(40)
    model = small_ensemble(replay)
    fit_model(model, replay, max_epochs=20, seed=0)
    before = copy.deepcopy(model.state_dict())
    line(40, replay=replay)
    report = fit_model(model, replay, max_epochs=20, seed=0)
    assert report.windows == (64, 16)
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_fit_learns(cartpole_world: World, cartpole_replay: Replay) -> None:
    report = cartpole_world.report
    assert report is not None
    assert report.history[-1][2] < 0.5  # the data's own spread is 1
    assert report.history[-1][1] < report.history[0][1]
    assert report.seconds > 0


# --- log and progress -----------------------------------------------------------------------------------------------


def test_an_sb3_logger_receives_world_model_values() -> None:
    logger = Logger(None, [])
    replay = line(60)
    report = fit_model(small_ensemble(replay), replay, max_epochs=10, seed=0, logger=logger)
    assert set(logger.name_to_value) == {
        "world_model/nll",
        "world_model/mse",
        "world_model/termination",
        "world_model/holdout_error",
        "world_model/updates",
    }
    assert logger.name_to_value["world_model/holdout_error"] == pytest.approx(np.mean(report.errors))
    assert logger.name_to_value["world_model/updates"] == report.updates
    assert all(isinstance(value, (int, float)) for value in logger.name_to_value.values())


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar(progress: bool, capsys: pytest.CaptureFixture[str]) -> None:
    fit_model(Scripted(), line(50), max_epochs=40, max_updates=4, progress=progress, seed=0)
    shown = capsys.readouterr().err
    assert ("fit world" in shown) == progress
    assert ("4/4" in shown) == progress


# --- models that have nothing to fit --------------------------------------------------------------------------------


def test_a_copy_model_goes_through_a_fit() -> None:
    replay = line(50)
    world = fit(CopyModel.for_replay(replay), replay, seed=0)
    assert world.report == FitReport(0, 0, (), (50, 0), world.report.seconds)  # type: ignore[union-attr]
    state, prediction = world.model.imagine(world.starts, torch.zeros(len(world.contexts), dtype=torch.int64))
    assert torch.equal(state["observation"], world.starts["observation"])
    torch.testing.assert_close(prediction.reward, torch.full((len(world.contexts),), 1.5))
    torch.testing.assert_close(prediction.terminated, torch.full((len(world.contexts),), 0.2))


def test_a_perfect_model_goes_through_a_fit(cartpole_replay: Replay) -> None:
    world = fit(PerfectModel.for_replay(cartpole_replay), cartpole_replay, seed=0)
    assert world.report is not None
    assert world.report.updates == 0
    assert world.uncertainty_quantiles is None
    assert world.spec.env_id == "CartPole-v1"


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_too_little_data_to_split(steps: int) -> None:
    replay = line(steps)
    if not steps:
        replay.add_reset([[0.0]])
    with pytest.raises(ValueError, match="too little data to split"):
        fit_model(Scripted(), replay)
    with pytest.raises(ValueError, match="too little data to split"):
        fit_model(Scripted(), Replay(OBSERVATION, ACTION))


def test_the_smallest_split_that_works() -> None:
    assert fit_model(Scripted(), line(2), holdout=0.5, max_epochs=1).windows == (1, 1)
    assert fit_model(Scripted(), line(3), max_epochs=1).windows == (2, 1)
    with pytest.raises(ValueError, match="leave 0 for training and 3 held out"):
        fit_model(Scripted(), line(3), holdout=0.9)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"holdout": 0.0}, r"holdout=0\.0 must lie between 0 and 1"),
        ({"holdout": 1.0}, r"holdout=1\.0 must"),
        ({"holdout": -0.2}, r"holdout=-0\.2 must"),
        ({"max_epochs": 0}, "max_epochs=0 must be a whole number of at least 1"),
        ({"max_updates": 0}, "max_updates=0 must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"patience": 0}, "patience=0 must be a whole number of at least 1"),
        ({"validate_every": 0}, "validate_every=0 must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(kwargs: dict[str, Any], message: str) -> None:
    model = Scripted()
    with pytest.raises(ValueError, match=message):
        fit_model(model, line(50), **kwargs)
    assert not model.prepared


@pytest.mark.parametrize("starts", [0, -1])
def test_a_world_needs_a_start(starts: int) -> None:
    model = Scripted()
    with pytest.raises(ValueError, match=f"starts={starts} must be a whole number of at least 1"):
        fit(model, line(50), starts=starts, max_epochs=1)
    assert not model.prepared


def test_other_spaces_than_the_replays() -> None:
    replay = Replay(OBSERVATION, spaces.Discrete(3))
    with pytest.raises(ValueError, match=r"action_space is Discrete\(2\), the replay's is Discrete\(3\)"):
        fit_model(Scripted(), replay)
    replay = Replay(spaces.Box(-1, 1, (1,)), ACTION)
    with pytest.raises(ValueError, match=r"observation_space is Box.*the replay's is Box"):
        fit_model(Scripted(), replay)
