"""The fidelity report: how far a world can be trusted, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from tqdm.auto import tqdm

from imagine_envs.dreams.fidelity_errors import BURN_IN, Film, Stretches, calibration, open_loop, untrained
from imagine_envs.dreams.fidelity_returns import (
    NoEnvironmentError,
    PolicyOf,
    compare,
    dream_returns,
    environment_of,
    real_experience,
)
from imagine_envs.experience.replay import Replay
from imagine_envs.storage import atomic_file, save_json
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.world import World

__all__ = ["FidelityReport", "fidelity"]


@dataclass(frozen=True)
class FidelityReport:
    """How faithful a world is.

    Attributes:
        world: Which world: family, environment, digest, what it was fitted on.
        data: "fresh" (collected for this report, so held out) or "given" (a replay; if the world was fitted on it, the
            errors are training errors).
        experience: What the errors were measured on: policy, steps, episodes, terminations, contexts, seed.
        open_loop: Errors by step: ``steps``, ``rows``, ``observation``, ``reward``, ``termination``; for the model, for
            ``copy`` (nothing changes) and for ``untrained`` (fresh weights), see
            :func:`~imagine_envs.dreams.fidelity_errors.open_loop`.
        calibration: Of one imagined step, see :func:`~imagine_envs.dreams.fidelity_errors.calibration`.
        returns: Dream and real return of the policy, and the alarm ``exploited``; None if they were not measured.
        notes: What a reader should know, in words.
        film: One real stretch and its dream, for the picture; None if the world cannot decode.
        observation_space: Of the film's observations.

    Example:
        >>> report = fidelity(World.load("worlds/cartpole"), policy=agent)
        >>> report.save("worlds/cartpole-fidelity")
        >>> report.returns["exploited"]
        False
    """

    world: dict[str, Any]
    data: str
    experience: dict[str, Any]
    open_loop: dict[str, Any]
    calibration: dict[str, Any]
    returns: dict[str, Any] | None
    notes: tuple[str, ...] = ()
    film: Film | None = field(default=None, repr=False)
    observation_space: spaces.Space[Any] | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but the film, in JSON types."""
        return {
            "format": "imagine-rl fidelity report",
            "version": 1,
            "world": self.world,
            "data": self.data,
            "experience": self.experience,
            "open_loop": self.open_loop,
            "calibration": self.calibration,
            "returns": self.returns,
            "notes": list(self.notes),
        }

    @property
    def summary(self) -> dict[str, Any]:
        """A flat dict of the main numbers, for :meth:`World.with_fidelity`."""
        steps, observation, reward = self.open_loop["steps"], self.open_loop["observation"], self.open_loop["reward"]
        termination, coverage = self.calibration["termination"], self.calibration["observation"] or {}
        summary: dict[str, Any] = {"data": self.data, "steps": steps[-1]}
        for name, place in (("1_step", 0), ("last_step", -1)):
            summary[f"observation_error_{name}"] = observation["model"]["median"][place]
            summary[f"observation_skill_{name}"] = observation["skill"][place]
            summary[f"reward_error_{name}"] = reward["model"][place]
        summary |= {
            "coverage_50": coverage.get("coverage_50"),
            "coverage_90": coverage.get("coverage_90"),
            "termination_auc": termination["auc"],
            "termination_brier": termination["brier"],
        }
        if self.returns is not None:
            summary |= {
                "policy": self.returns["policy"],
                "dream_return": self.returns["dream"]["mean"],
                "real_return": self.returns["real"]["mean"],
                "exploited": self.returns["exploited"],
            }
        return summary

    def table(self) -> str:
        """The report as text for a terminal."""
        loop = self.open_loop
        observation, reward, termination = loop["observation"], loop["reward"], loop["termination"]
        controls = [name for name in ("model", "copy", "untrained") if name in termination]
        chosen = sorted({0, *(place for place in (4, 9, 19) if place < len(loop["steps"])), len(loop["steps"]) - 1})
        lines = [
            f"Fidelity of {self.world['family']} / {self.world['env_id']}: {self.experience['contexts']} contexts of "
            f"{self.data} data" + (f" ({self.experience['policy']} policy)" if self.experience["policy"] else ""),
            "",
            _row("open loop, after steps", [loop["steps"][place] for place in chosen]),
            _row("  rows", [loop["rows"][place] for place in chosen]),
        ]
        for name in controls:
            if name in observation:
                values = [observation[name]["median"][place] for place in chosen]
                lines.append(_row(f"  error of {observation['of']}, {name}", values))
        lines.append(_row("  skill against copy", [observation["skill"][place] for place in chosen]))
        lines += [_row(f"  error of reward, {name}", [reward[name][place] for place in chosen]) for name in controls]
        lines.append(_row("  still alive, real", [termination["survival"][place] for place in chosen]))
        lines += [
            _row(f"  still alive, {name}", [termination[name]["survival"][place] for place in chosen])
            for name in controls
        ]
        lines += ["", _row("calibration of one step", ["50 %", "90 %"])]
        for name in ("observation", "reward"):
            part = self.calibration[name]
            values = ["constant"] if part is None else [part["coverage_50"], part["coverage_90"]]
            lines.append(_row(f"  {name} inside the central", values))
        ends = self.calibration["termination"]
        lines.append(_row("  termination: Brier, base rate's", [ends["brier"], ends["base_brier"]]))
        lines.append(_row("  termination: AUC, ends seen", [ends["auc"], ends["terminations"]]))
        if self.returns is not None:
            lines += ["", _row("returns", ["mean", "std"])]
            lines += [
                _row(f"  {name}", [self.returns[name]["mean"], self.returns[name]["std"]]) for name in ("dream", "real")
            ]
            lines += ["", self.returns["message"]]
        return "\n".join([*lines, *([""] if self.notes else []), *(f"Note: {note}" for note in self.notes)])

    def save(self, path: str | Path) -> None:
        """Writes the numbers and the picture, each file whole or not at all.

        Args:
            path: A directory, for ``fidelity.json`` and ``report.png`` in it; or the name of the JSON file, which ends
                in ``.json``: the picture gets the same name with ``.png``.
        """
        from imagine_envs.dreams.fidelity_picture import draw

        path = Path(path)
        numbers, picture = (
            (path, path.with_suffix(".png"))
            if path.suffix == ".json"
            else (path / "fidelity.json", path / "report.png")
        )
        save_json(numbers, self.to_json())
        figure = draw(self)
        with atomic_file(picture) as temporary:
            figure.savefig(temporary, dpi=110)


def fidelity(
    world: World | str | Path,
    replay: Replay | None = None,
    env: Any = None,
    policy: Any = None,
    *,
    steps: int = 50,
    episodes: int = 20,
    dreams: int = 100,
    real_steps: int = 2_000,
    deterministic: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> FidelityReport:
    """Compares a world with reality.

    - Open loop: from up to 2,000 real contexts the real actions are replayed in the model at temperature 0; the errors
      of observation, reward and termination after 1, 2, … steps stand beside those of two controls.
    - Calibration: whether one imagined step at temperature 1 is as uncertain as it should be.
    - Returns: what the policy earns in dreams (from resets) and in as many real episodes as asked for; the alarm
      ``exploited`` if it is clearly more in dreams.

    Args:
        world: The world, or the path of a saved one.
        replay: Real experience to measure the errors on, best such as the world was not fitted on; None collects fresh.
        env: The real environment, as :func:`~imagine_envs.experience.collect` takes it; None makes the world's own.
            Without any, a replay is needed, and no returns are measured.
        policy: Who acts: None (at random), anything with SB3's ``predict``, or a callable from a batch of observations
            to a batch of actions. One that was trained in the latent dream acts on filtered real observations.
        steps: The open-loop horizon. It ends earlier where fewer than ten rows are left.
        episodes: Real episodes whose returns are measured; 0 measures no returns.
        dreams: Dreams whose returns are measured.
        real_steps: Fresh real steps, at least, where no replay is given.
        deterministic: Whether a policy with ``predict`` takes its most likely action.
        seed: Of all choices. The real environment gets a seed derived from it, so that fresh data differs from data
            that was collected for the fit with the same seed.
        progress: Whether to show progress bars.

    Returns:
        The report.

    Raises:
        ValueError: If the spaces of replay, environment or policy are not the world's, if there is neither replay nor
            environment, or an argument is out of range.

    Example:
        >>> report = fidelity("worlds/cartpole", policy=agent)
        >>> print(report.table())
        >>> report.save("reports/cartpole")
    """
    for name, value, least in (("steps", steps, 1), ("real_steps", real_steps, 1), ("episodes", episodes, 0)):
        check_whole(name, value, least)
    if episodes and min(episodes, dreams) < 2:
        raise ValueError(f"episodes={episodes} and dreams={dreams} must be at least 2, or their spread is unknown")
    if not isinstance(world, World):
        world = World.load(world)
    if replay is not None:
        _check_spaces(world, replay)
    seeds = np.random.SeedSequence(seed).generate_state(5, np.uint32) >> 1
    acts = PolicyOf(policy, world, deterministic, int(seeds[0]))
    notes: list[str] = []

    data, experience, returns = "given", replay, None
    if replay is None:
        data = "fresh"
        experience, returns = _reality(world, env, acts, episodes, real_steps, dreams, seeds[1:3], progress, notes)
    elif episodes:
        try:
            _, returns = _reality(world, env, acts, episodes, 0, dreams, seeds[1:3], progress, notes)
        except NoEnvironmentError as error:
            notes.append(f"No returns were measured: {error}.")
    assert experience is not None

    model = world.model
    stretches = Stretches.of(experience, 1 if model.markov else BURN_IN, steps, int(seeds[3]))
    bar = tqdm(range(1, stretches.horizon + 1), desc="open loop", unit="step", disable=not progress)
    errors, film = open_loop(model, untrained(model, experience, int(seeds[4])), stretches, int(seeds[4]), bar)
    told = calibration(model, stretches, int(seeds[4]))
    if not model.can_decode:
        notes.append("The model cannot decode: errors are those of its features, and there is no film strip.")
    if data == "given":
        notes.append("The replay was given: if the world was fitted on it, these errors are training errors.")
    if told["termination"]["terminations"] == 0:
        notes.append(
            "No episode terminates in the data: nothing can be said of predicted terminations that should come."
        )
    return FidelityReport(
        world={
            "family": model.family,
            "env_id": world.spec.env_id,
            "env_kwargs": world.spec.env_kwargs,
            "digest": world.digest,
            "fitted_on": dict(world.spec.data),
        },
        data=data,
        experience={
            "policy": acts.name if data == "fresh" else None,
            "transitions": experience.num_transitions,
            "episodes": experience.num_episodes,
            "contexts": len(stretches),
            "seed": seed,
        },
        open_loop=errors,
        calibration=told,
        returns=returns,
        notes=tuple(notes),
        film=film,
        observation_space=world.observation_space,
    )


def _reality(
    world: World,
    env: Any,
    policy: PolicyOf,
    episodes: int,
    steps: int,
    dreams: int,
    seeds: np.ndarray,
    progress: bool,
    notes: list[str],
) -> tuple[Replay, dict[str, Any] | None]:
    """What the policy saw in reality, and what it earned there and in dreams."""
    made = environment_of(world) if env is None else None
    try:
        seen, real, horizon = real_experience(
            made if env is None else env,
            policy,
            world,
            episodes=episodes,
            steps=steps,
            seed=int(seeds[0]),
            progress=progress,
        )
    finally:
        if made is not None:
            made.close()
    if len(real) < 2:
        if episodes:
            notes.append(f"No returns were measured: {len(real)} of {episodes} real episodes ended.")
        return seen, None
    if not world.contexts.initial.any():
        notes.append("No returns were measured: the world has no reset to start dreams from.")
        return seen, None
    dreamt, lengths = dream_returns(
        world, policy, dreams=dreams, horizon=horizon, seed=int(seeds[1]), progress=progress
    )
    result = {"policy": policy.name, "horizon": horizon, **compare(dreamt, real)}
    return seen, {**result, "dream_length": float(np.mean(lengths))}


def _check_spaces(world: World, replay: Replay) -> None:
    for name in ("observation_space", "action_space"):
        found, expected = getattr(replay, name), getattr(world, name)
        if found != expected:
            raise ValueError(f"the replay's {name} is {found}; the world's is {expected}")


def _row(label: str, values: list[Any]) -> str:
    def shown(value: Any) -> str:
        if value is None:
            return "–"
        return (
            f"{value:.3g}"
            if isinstance(value, float) and abs(value) < 1_000
            else f"{value:,.0f}"
            if isinstance(value, (int, float))
            else value
        )

    return f"{label:<40}" + "".join(f"{shown(value):>10}" for value in values)
