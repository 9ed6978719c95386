"""Fitting a world model to a replay: hold-out, early stopping, progress, log."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from imagine_envs.allocation import keep_freed_memory
from imagine_envs.experience.batch import Batch
from imagine_envs.experience.replay import Replay
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.holdout import split
from imagine_envs.world_models.protocol import WorldModel
from imagine_envs.world_models.world import World

__all__ = ["FitReport", "Logger", "fit", "fit_model"]


@dataclass(frozen=True)
class _Settings:
    """What a family may have its own defaults for."""

    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    patience: int = 10
    validate_every: int = 40


class Logger(Protocol):
    """What :func:`fit` needs of a logger; SB3's is one."""

    def record(self, key: str, value: Any, /) -> None:
        """Notes the latest value of a key."""


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        epochs: Passes over the training part.
        updates: Gradient steps.
        errors: Held-out error of each member of the fitted model, of the weights that were kept.
        windows: Windows in the training part and in the held-out part.
        seconds: Wall time.
        history: One row for each validation: update, training loss, mean held-out error.
    """

    epochs: int
    updates: int
    errors: tuple[float, ...]
    windows: tuple[int, int]
    seconds: float
    history: list[tuple[int, float, float]] = field(default_factory=list)


def fit(
    world_model: WorldModel,
    replay: Replay,
    *,
    starts: int = 10_000,
    seed: int | None = None,
    **kwargs: Any,
) -> World:
    """Fits a world model to real experience and makes a :class:`World` of it.

    Args:
        world_model: Any model of this package; it is changed in place.
        replay: Real experience of the same spaces.
        starts: The most real contexts to keep as starts of dreams.
        seed: Seeds the hold-out split, the batches and the choice of starts.
        **kwargs: As for :func:`fit_model`.

    Returns:
        The world, ready to be dreamed or saved; ``world.report`` is the :class:`FitReport`.

    Raises:
        ValueError: If the spaces differ, or there is too little data to split.

    Example:
        >>> import gymnasium as gym
        >>> from imagine_envs.experience import collect
        >>> from imagine_envs.world_models import Ensemble, fit
        >>> env = gym.make("CartPole-v1")
        >>> world = fit(Ensemble(env.observation_space, env.action_space), collect(env, steps=500, seed=0), seed=0)
        >>> world.save("worlds/cartpole")
    """
    check_whole("starts", starts)
    report = fit_model(world_model, replay, seed=seed, **kwargs)
    return World.from_replay(world_model, replay, max_starts=starts, seed=seed, report=report)


def fit_model(
    world_model: WorldModel,
    replay: Replay,
    *,
    max_epochs: int = 2_000,
    max_updates: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    holdout: float = 0.2,
    patience: int | None = None,
    validate_every: int | None = None,
    seed: int | None = None,
    progress: bool = False,
    logger: Logger | None = None,
) -> FitReport:
    """Fits a world model in place.

    Training stops when no member's held-out error has improved by one percent for ``patience`` validations (MBPO's
    rule), and the weights of the best validation are kept. Where an argument is None, it is the family's own
    (``fit_defaults``), or the number in brackets.

    Args:
        world_model: Any model of this package. One that has nothing to learn by gradient only looks at the data.
        replay: Real experience of the same spaces.
        max_epochs: The most passes over the training part.
        max_updates: The most gradient steps, but for the epoch in which they are reached: it is finished.
        batch_size: Windows in a gradient step (256).
        learning_rate: Of AdamW (0.001).
        weight_decay: Of AdamW (0.00001).
        holdout: Fraction of the windows held out.
        patience: Validations without improvement before stopping (10).
        validate_every: Gradient steps between validations, at least (40; and at least one pass over the data).
        seed: Seeds the split and the order of the batches.
        progress: Whether to show a progress bar.
        logger: Receives ``world_model/*`` values.

    Raises:
        ValueError: If the spaces differ, there is too little data to split, or an argument makes no sense.
    """
    given = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "patience": patience,
        "validate_every": validate_every,
    }
    own = {name: value for name, value in given.items() if value is not None}
    settings = _Settings(**{**world_model.fit_defaults, **own})
    _check(
        world_model,
        replay,
        holdout,
        max_epochs=max_epochs,
        max_updates=1 if max_updates is None else max_updates,
        batch_size=settings.batch_size,
        patience=settings.patience,
        validate_every=settings.validate_every,
    )
    began = time.perf_counter()
    world_model.prepare(replay)
    if not world_model.can_learn:
        return FitReport(0, 0, (), (replay.num_transitions, 0), time.perf_counter() - began)

    if world_model.device.type == "cpu":
        keep_freed_memory()
    data = split(replay, world_model.sequence_length, holdout, seed, world_model.device)
    optimizer = torch.optim.AdamW(
        world_model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    shuffle = torch.Generator().manual_seed(0 if seed is None else seed)
    noise = torch.Generator(world_model.device).manual_seed(0 if seed is None else seed)
    updates_per_epoch = -(-data.training_size // settings.batch_size)
    epochs_per_validation = -(-settings.validate_every // updates_per_epoch)

    best = lowest = _held_out_errors(world_model, data.validation)
    kept = copy.deepcopy(world_model.state_dict())
    history: list[tuple[int, float, float]] = []
    updates = epoch = stale = 0
    last_epoch = max_epochs if max_updates is None else min(max_epochs, -(-max_updates // updates_per_epoch))
    bar = tqdm(total=last_epoch, desc="fit world", unit="epoch", disable=not progress, leave=True)
    while epoch < last_epoch and stale < settings.patience:
        losses: list[Tensor] = []
        world_model.train()
        for _ in range(min(epochs_per_validation, last_epoch - epoch)):
            for batch in data.epoch(settings.batch_size, shuffle):
                loss = world_model.loss(batch, generator=noise)
                optimizer.zero_grad(set_to_none=True)
                loss.total.backward()
                torch.nn.utils.clip_grad_norm_(world_model.parameters(), 100.0)
                optimizer.step()
                losses.append(loss.total.detach())
                updates += 1
            epoch += 1
            bar.update()
        errors = _held_out_errors(world_model, data.validation)
        improved = lowest - errors > 0.01 * lowest.abs()
        lowest = torch.where(improved, errors, lowest)
        stale = 0 if improved.any() else stale + 1
        if errors.mean() < best.mean():
            best, kept = errors, copy.deepcopy(world_model.state_dict())
        history.append((updates, float(torch.stack(losses).mean()), float(errors.mean())))
        bar.set_postfix(loss=f"{history[-1][1]:.3g}", held_out=f"{history[-1][2]:.3g}")
        if logger is not None:
            for name, value in loss.metrics.items():
                logger.record(f"world_model/{name}", float(value))
            logger.record("world_model/holdout_error", history[-1][2])
    bar.close()
    world_model.load_state_dict(kept)
    world_model.conclude(best)
    errors = _held_out_errors(world_model, data.validation)  # anew: an ensemble has put its members in order
    windows = (data.training_size, data.validation.shape[0])
    report = FitReport(epoch, updates, tuple(errors.tolist()), windows, time.perf_counter() - began, history)
    if logger is not None:
        logger.record("world_model/holdout_error", float(errors.mean()))
        logger.record("world_model/updates", updates)
    return report


@torch.no_grad()
def _held_out_errors(model: WorldModel, validation: Batch) -> Tensor:
    return model.eval().validate(validation)


def _check(model: WorldModel, replay: Replay, holdout: float, **counts: int) -> None:
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(model, name), getattr(replay, name)
        if ours != theirs:
            raise ValueError(f"the world model's {name} is {ours}, the replay's is {theirs}; they must be equal")
    if not 0 < holdout < 1:
        raise ValueError(f"holdout={holdout} must lie between 0 and 1")
    for name, value in counts.items():
        check_whole(name, value)
    if replay.num_transitions < 2:
        raise ValueError(
            f"too little data to split: the replay holds {replay.num_transitions} transitions; collect more"
        )
