"""How far a world model strays from real experience: open-loop errors and one-step calibration."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from imagine_envs.experience.batch import Batch
from imagine_envs.experience.replay import Replay
from imagine_envs.spaces import Observation, map_observation
from imagine_envs.world_models.protocol import State, WorldModel

__all__ = ["Film", "Stretches", "Yardstick", "calibration", "open_loop", "untrained"]

BURN_IN = 16
"""Records that a model with memory filters before it dreams."""

SAMPLES = 39
"""Imagined next observations for each context. With 39 the real one has 40 ranks among them, so that central intervals
of exactly 50 % (20 ranks) and 90 % (36 ranks) exist."""

_MOST_CONTEXTS, _MOST_NUMBERS = 2_000, 1 << 23  # the first, or as many as have this many numbers
_LEAST_ROWS = 10  # the horizon ends where fewer rows are left
_FILMED = 64  # rows among which the film's is chosen
_FRAMES = 8
_LARGEST_ERROR = 1e6  # what a prediction that is not finite counts as
_AT_A_TIME = 1 << 23  # numbers sampled at a time


# --- real stretches to compare with ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stretches:
    """Real contexts, each with the steps that followed it: what is replayed in the model.

    Rows are sorted by how many steps they have, so that the rows that still run at step k are the first ones.

    Attributes:
        replay: Where the records are.
        index: int64 ``[N, C + K]``, numbers of the records; column C − 1 is the context's last.
        begins: bool ``[N, C]``, places of which nothing is known before: that of the episode's first living record, and
            those in front of it, where the same record is repeated.
        available: int64 ``[N]``, steps that follow within the episode, at most K and at least one.
    """

    replay: Replay
    index: np.ndarray
    begins: np.ndarray
    available: np.ndarray

    @classmethod
    def of(cls, replay: Replay, burn_in: int, steps: int, seed: int) -> Stretches:
        """Contexts drawn from all records that an episode goes on from.

        Raises:
            ValueError: If the replay holds no transition.
        """
        spans = [(episode.env, episode.start, episode.stop) for episode in replay.episodes()]
        counts = np.array([max(stop - start - 1, 0) for _, start, stop in spans], dtype=np.int64)
        if counts.sum() == 0:
            raise ValueError("the replay holds no transition; at least one real step was expected")
        most = min(_MOST_CONTEXTS, max(100, _MOST_NUMBERS // _width(replay.observation_space)))
        drawn = np.random.default_rng(seed).permutation(counts.sum())[:most]
        which = np.searchsorted(np.cumsum(counts), drawn, side="right")
        env, start, stop = np.array(spans, dtype=np.int64)[which].T
        last = start + drawn - (np.cumsum(counts) - counts)[which]
        available = np.minimum(stop - 1 - last, steps)
        order = np.argsort(-available, kind="stable")
        env, start, stop, last, available = (part[order] for part in (env, start, stop, last, available))
        position = last[:, None] + np.arange(1 - burn_in, int(available.max()) + 1)
        begins = position[:, :burn_in] <= start[:, None]
        position = np.clip(position, start[:, None], stop[:, None] - 1)
        return cls(replay, position * replay.num_envs + env[:, None], begins, available)

    def __len__(self) -> int:
        return len(self.available)

    @property
    def horizon(self) -> int:
        """The last step at which enough rows are left to say anything."""
        return int(np.sort(self.available)[::-1][min(_LEAST_ROWS, len(self)) - 1])

    def rows_at(self, step: int) -> int:
        """Rows that have ``step`` steps."""
        return int((self.available >= step).sum())

    def records(self, place: int, rows: int, device: torch.device) -> Batch:
        """The records of the first ``rows`` rows at one place, ``[rows, …]`` (without time)."""
        batch = self.replay.windows(self.index[:rows, place], 1)
        return batch.map(lambda tensor: tensor[:, 0].to(device))

    @torch.no_grad()
    def filter(self, model: WorldModel) -> State:
        """The model's state in every context: C records through ``observe``."""
        state = model.initial(len(self))
        for place in range(self.begins.shape[1]):
            record = self.records(place, len(self), model.device)
            first = record.first | torch.from_numpy(self.begins[:, place]).to(model.device) | (place == 0)
            state = model.observe(state, record.action, record.observation, first, sample=False)
        return state


# --- a common measure -----------------------------------------------------------------------------------------------


class Yardstick:
    """Observations, or features, as numbers in units of their spread in the data.

    A discrete entry becomes one number for each value; images lie in [0, 1] and are measured by the spread of all
    their pixels together, everything else entry by entry. An entry that never changes in the data counts in its own
    units, but does not thin out the error of the others.

    Args:
        space: The observation space, or None for features.
        sample: Observations (or features) to take the spread of, ``[N, …]``.
    """

    def __init__(self, space: spaces.Space[Any] | None, sample: Observation) -> None:
        self._space = space
        values = self.numbers(sample)
        pixels = torch.from_numpy(_pixels(space, values.shape[1])).to(values.device)
        spread = values.std(0, correction=0)
        self.varying = spread > 1e-6 * values.abs().amax(0).clamp_min(1e-6)
        if pixels.any():
            spread = torch.where(pixels, values[:, pixels].std(correction=0), spread)
        self.scale = torch.where(self.varying | (pixels & (spread > 0)), spread, 1.0)
        self._count = max(1, int((self.varying | pixels).sum()))

    def numbers(self, observation: Observation) -> Tensor:
        """float32 ``[B, D]``."""
        if self._space is None:
            assert isinstance(observation, Tensor)
            return observation.to(torch.float32)
        return _numbers(self._space, observation)

    def error(self, predicted: Tensor, real: Tensor) -> Tensor:
        """Root mean square difference of two batches of numbers, in units of the spread: ``[B]``."""
        error = ((predicted - real) / self.scale).square().sum(1).div(self._count).sqrt()
        return torch.nan_to_num(error, nan=_LARGEST_ERROR, posinf=_LARGEST_ERROR).clamp_max(_LARGEST_ERROR)


def _numbers(space: spaces.Space[Any], value: Any) -> Tensor:
    if isinstance(space, spaces.Dict):
        return torch.cat([_numbers(part, value[key]) for key, part in space.spaces.items()], 1)
    if isinstance(space, spaces.Discrete):
        return F.one_hot(value - int(space.start), int(space.n)).to(torch.float32)
    if isinstance(space, spaces.MultiDiscrete):
        parts = (value - torch.as_tensor(space.start, device=value.device)).flatten(1).unbind(1)
        sizes = space.nvec.reshape(-1).tolist()
        return torch.cat([F.one_hot(part, size) for part, size in zip(parts, sizes, strict=True)], 1).to(torch.float32)
    flat = value.flatten(1).to(torch.float32)
    return flat / 255 if space.dtype == np.uint8 and isinstance(space, spaces.Box) else flat


def _pixels(space: spaces.Space[Any] | None, width: int) -> np.ndarray:
    """Which of the numbers are those of images: bool ``[D]``."""
    if isinstance(space, spaces.Dict):
        sizes = {key: _width(part) for key, part in space.spaces.items()}
        return np.concatenate([_pixels(part, sizes[key]) for key, part in space.spaces.items()])
    return np.full(width, isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) >= 2)


def _width(space: spaces.Space[Any]) -> int:
    """How many numbers an observation of the space becomes."""
    return int(spaces.flatdim(space))


# --- open loop ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Film:
    """One real stretch and its dream, at a few steps.

    Attributes:
        steps: The steps shown.
        real: Real observations, one for each of the steps.
        dream: Imagined ones.
        error: Errors of the imagined ones, in units of the spread.
    """

    steps: list[int]
    real: list[Any]
    dream: list[Any]
    error: list[float]


def untrained(model: WorldModel, replay: Replay, seed: int) -> WorldModel | None:
    """The control that has learned nothing: the same network with fresh weights and the data's statistics.

    None for a model that does not learn.
    """
    if not model.can_learn:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        control = type(model)(model.observation_space, model.action_space, **model.hyperparameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say of the data was said at the fit
        control.prepare(replay)
    return control.to(model.device).eval()


@torch.no_grad()
def open_loop(
    model: WorldModel, control: WorldModel | None, stretches: Stretches, seed: int, ticks: Iterable[int]
) -> tuple[dict[str, Any], Film | None]:
    """Replays the real actions in the model, from real contexts, and compares with what really came.

    Where the model has no decoder, features are compared: those imagined with those filtered from the real steps.

    Args:
        model: The world model.
        control: The same without learning, or None.
        stretches: Contexts and what followed.
        seed: Of what a model draws at temperature 0 (an ensemble its member).
        ticks: Yields 1, …, K; a progress bar perhaps.

    Returns:
        Numbers in JSON types, and the film (None without a decoder). ``copy`` is what ``CopyModel`` predicts: the
        observation stays, reward and termination are the means of the data.
    """
    burn_in, device, decodes = stretches.begins.shape[1], model.device, model.can_decode
    models = {"model": model} if control is None else {"model": model, "untrained": control}
    states = {name: stretches.filter(each) for name, each in models.items()}
    generators = {name: torch.Generator(device).manual_seed(seed) for name in models}
    real_state = states["model"]

    here = stretches.records(burn_in - 1, len(stretches), device)
    seen = here.observation if decodes else model.features(real_state)
    yardstick = Yardstick(model.observation_space if decodes else None, seen)
    stays = yardstick.numbers(seen)
    arrival = stretches.records(burn_in, len(stretches), device)
    mean_reward, base_rate = arrival.reward.mean(), arrival.terminated.float().mean()

    horizon = stretches.horizon
    film = _Camera(stretches, horizon) if decodes else None
    compares = ["model", "copy", *(["untrained"] if control is not None and decodes else [])]
    observation: dict[str, list[Any]] = {name: [] for name in compares}
    curves: dict[str, dict[str, list[float]]] = {
        name: {"reward": [], "predicted": [], "brier": [], "log_loss": []} for name in (*models, "copy")
    }
    actual: list[float] = []
    for step in ticks:
        rows = stretches.rows_at(step)
        record = stretches.records(burn_in - 1 + step, rows, device)
        ended = record.terminated.float()
        actual.append(plain(ended.mean()))
        if decodes:
            target = yardstick.numbers(record.observation)
        else:
            real_state = model.observe(
                _head(real_state, rows), record.action, record.observation, record.first, sample=False
            )
            target = yardstick.numbers(model.features(real_state))
        observation["copy"].append(_spread(yardstick.error(stays[:rows], target)))
        _note(curves["copy"], mean_reward.expand(rows), base_rate.expand(rows), record.reward, ended)
        for name, each in models.items():
            states[name], prediction = each.imagine(
                _head(states[name], rows), record.action, temperature=0.0, generator=generators[name]
            )
            _note(curves[name], prediction.reward, prediction.terminated, record.reward, ended)
            if name in observation:
                imagined = each.decode(states[name]) if decodes else each.features(states[name])
                error = yardstick.error(yardstick.numbers(imagined), target)
                observation[name].append(_spread(error))
                if film is not None and name == "model":
                    film.see(step, record.observation, imagined, error)

    errors = {
        name: {
            key: list(values)
            for key, values in zip(("low", "median", "high", "mean"), zip(*each, strict=True), strict=True)
        }
        for name, each in observation.items()
    }
    numbers: dict[str, Any] = {
        "steps": list(range(1, horizon + 1)),
        "rows": [stretches.rows_at(step) for step in range(1, horizon + 1)],
        "observation": {
            "of": "observations" if decodes else "features",
            **errors,
            "skill": [
                plain(1 - mine / copy) if copy > 0 else None
                for mine, copy in zip(errors["model"]["median"], errors["copy"]["median"], strict=True)
            ],
        },
        "reward": {
            "spread": plain(arrival.reward.std(correction=0)),
            **{name: curve["reward"] for name, curve in curves.items()},
        },
        "termination": {
            "actual": actual,
            "survival": _survival(actual),
            **{
                name: {
                    **{key: curve[key] for key in ("predicted", "brier", "log_loss")},
                    "survival": _survival(curve["predicted"]),
                }
                for name, curve in curves.items()
            },
        },
    }
    return numbers, None if film is None else film.film()


class _Camera:
    """Keeps what the longest rows saw at a few steps, and chooses the row whose error is the middle one."""

    def __init__(self, stretches: Stretches, horizon: int) -> None:
        self._rows = min(_FILMED, stretches.rows_at(horizon))
        self._steps = sorted({max(1, round(horizon * part / (_FRAMES - 1))) for part in range(_FRAMES)})
        self._frames: list[tuple[Observation, Observation, Tensor]] = []

    def see(self, step: int, real: Observation, dream: Observation, error: Tensor) -> None:
        if step in self._steps:
            real, dream = (map_observation(lambda tensor: tensor[: self._rows].cpu(), each) for each in (real, dream))
            self._frames.append((real, dream, error[: self._rows].cpu()))

    def film(self) -> Film:
        # The row of middling error over the whole film, not the best one nor the worst.
        total = torch.stack([error for _, _, error in self._frames]).log1p().sum(0)
        row = int(total.argsort()[self._rows // 2])

        def one(observation: Observation) -> Any:
            return map_observation(lambda tensor: tensor[row].numpy(), observation)

        return Film(
            self._steps,
            [one(real) for real, _, _ in self._frames],
            [one(dream) for _, dream, _ in self._frames],
            [plain(error[row]) for _, _, error in self._frames],
        )


def _head(state: State, rows: int) -> State:
    return {key: tensor[:rows] for key, tensor in state.items()}


def _spread(error: Tensor) -> tuple[float, ...]:
    """10 % quantile, median, 90 % quantile and mean."""
    quantiles = np.quantile(error.cpu().double().numpy(), (0.1, 0.5, 0.9))
    return (*map(plain, quantiles), plain(error.double().mean()))


def _note(curve: dict[str, list[float]], reward: Tensor, chance: Tensor, real_reward: Tensor, ended: Tensor) -> None:
    error = torch.nan_to_num((reward - real_reward).abs(), nan=_LARGEST_ERROR, posinf=_LARGEST_ERROR)
    chance = probability(chance)
    curve["reward"].append(plain(error.double().clamp_max(_LARGEST_ERROR).mean()))
    curve["predicted"].append(plain(chance.mean()))
    curve["brier"].append(plain((chance - ended).square().mean()))
    curve["log_loss"].append(plain(log_loss(chance, ended)))


def _survival(hazard: list[float]) -> list[float]:
    """Product-limit estimate (Kaplan & Meier 1958): rows that leave without an end say nothing of what comes after."""
    return [plain(value) for value in np.cumprod(1 - np.array(hazard))]


# --- calibration ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def calibration(model: WorldModel, stretches: Stretches, seed: int) -> dict[str, Any]:
    """Whether one imagined step at temperature 1 is as uncertain as it should be.

    The real next value is ranked among 39 imagined ones. If the model is calibrated, every rank is equally likely:
    the histogram of ranks (the probability integral transform, Gneiting et al. 2007) is flat, and the central 50 % and
    90 % intervals hold 50 % and 90 % of the real values. Equal values are ordered at random, so that entries without
    any spread, which the model gets right, count as calibrated. Entries that never change in the data are left out.

    Returns:
        JSON types: of observation and reward ``coverage_50``, ``coverage_90`` and ``ranks`` (10 bins; None where
        nothing changes), of the termination a reliability table, scores, and the same scores of the base rate.
    """
    device, burn_in, decodes = model.device, stretches.begins.shape[1], model.can_decode
    generator = torch.Generator(device).manual_seed(seed)
    shuffle = torch.Generator(device).manual_seed(seed + 1)
    states = stretches.filter(model)
    record = stretches.records(burn_in, len(stretches), device)
    if decodes:
        here = stretches.records(burn_in - 1, len(stretches), device).observation
        yardstick = Yardstick(model.observation_space, here)
        real = yardstick.numbers(record.observation)
    else:
        yardstick = Yardstick(None, model.features(states))
        real = model.features(model.observe(states, record.action, record.observation, record.first, sample=False))

    varying = yardstick.varying
    tolerance = 1e-5 * yardstick.scale[varying]
    reward_spread = record.reward.std(correction=0)
    reward_varies = bool(reward_spread > 1e-6 * record.reward.abs().max())
    ranks, reward_ranks, chances = [], [], []
    for rows in torch.arange(len(stretches), device=device).split(max(1, _AT_A_TIME // (SAMPLES * real.shape[1]))):
        several = rows.repeat_interleave(SAMPLES)
        state = {key: tensor[several] for key, tensor in states.items()}
        state, prediction = model.imagine(state, record.action[several], temperature=1.0, generator=generator)
        imagined = yardstick.numbers(model.decode(state) if decodes else model.features(state))
        imagined = imagined.view(len(rows), SAMPLES, -1)[..., varying]
        ranks.append(_ranks(imagined, real[rows][:, varying], tolerance, shuffle).flatten())
        reward = prediction.reward.view(len(rows), SAMPLES, 1)
        reward_ranks.append(_ranks(reward, record.reward[rows, None], 1e-5 * reward_spread, shuffle).flatten())
        chances.append(probability(prediction.terminated).view(len(rows), SAMPLES).mean(1))
    return {
        "samples": SAMPLES,
        "observation": _coverage(torch.cat(ranks)) if varying.any() else None,
        "reward": _coverage(torch.cat(reward_ranks)) if reward_varies else None,
        "termination": reliability(torch.cat(chances), record.terminated),
    }


def _ranks(imagined: Tensor, real: Tensor, tolerance: Tensor, shuffle: torch.Generator) -> Tensor:
    """Places of the real values ``[B, D]`` among the imagined ``[B, S, D]``, 0 … S; ties broken at random."""
    difference = torch.nan_to_num(imagined - real[:, None], nan=_LARGEST_ERROR)
    below = (difference < -tolerance).sum(1)
    equal = (difference.abs() <= tolerance).sum(1)
    return below + (torch.rand(equal.shape, generator=shuffle, device=equal.device) * (equal + 1)).long()


def _coverage(ranks: Tensor) -> dict[str, Any]:
    histogram = torch.bincount(torch.div(ranks, 4, rounding_mode="floor"), minlength=10).double() / len(ranks)
    return {
        "coverage_50": plain(((ranks >= 10) & (ranks < 30)).double().mean()),
        "coverage_90": plain(((ranks >= 2) & (ranks < 38)).double().mean()),
        "ranks": [plain(value) for value in histogram],
    }


def reliability(chance: Tensor, ended: Tensor) -> dict[str, Any]:
    """How predicted probabilities ``[N]`` of an end fit what happened (bool ``[N]``)."""
    ended = ended.float()
    base = ended.mean()
    place = (chance * 10).long().clamp_max(9)
    count = torch.bincount(place, minlength=10).double()
    predicted, happened = (torch.bincount(place, each.double(), minlength=10) for each in (chance, ended))
    bins = [
        {"count": int(n), "predicted": plain(p / n), "actual": plain(a / n)}
        for n, p, a in zip(count.tolist(), predicted.tolist(), happened.tolist(), strict=True)
        if n > 0
    ]
    return {
        "terminations": int(ended.sum()),
        "base_rate": plain(base),
        "predicted_rate": plain(chance.mean()),
        "auc": _auc(chance, ended.bool()),
        "brier": plain((chance - ended).square().mean()),
        "log_loss": plain(log_loss(chance, ended)),
        "base_brier": plain(base * (1 - base)),
        "base_log_loss": plain(log_loss(base.expand(len(ended)), ended)),
        "calibration_error": plain(sum(b["count"] * abs(b["predicted"] - b["actual"]) for b in bins) / len(ended)),
        "bins": bins,
    }


def _auc(chance: Tensor, ended: Tensor) -> float | None:
    """How often an end was thought likelier than no end (ties count half); None if the data has only one of both."""
    ends, others = chance[ended], chance[~ended].sort().values
    if not len(ends) or not len(others):
        return None
    below, upto = (torch.searchsorted(others, ends, side=side) for side in ("left", "right"))
    return plain((below + upto).double().mean() / 2 / len(others))


def probability(chance: Tensor) -> Tensor:
    """A predicted probability, whatever the model has put out; NaN counts as 0."""
    return torch.nan_to_num(chance.float(), nan=0.0).clamp(0, 1)


def log_loss(chance: Tensor, ended: Tensor) -> Tensor:
    """Mean negative log-likelihood; probabilities are kept 1e-6 away from 0 and 1."""
    return F.binary_cross_entropy(chance.clamp(1e-6, 1 - 1e-6), ended)


def plain(value: Any) -> float:
    """A number of six digits, as JSON keeps it."""
    return float(f"{float(value):.6g}")
