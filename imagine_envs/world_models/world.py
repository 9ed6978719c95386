"""A world: a model, the real contexts its dreams start from, and what it is a world of. The unit of storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Self

from imagine_envs.experience.batch import Batch
from imagine_envs.experience.replay import Replay
from imagine_envs.spaces import Observation, map_observation, space_from_json, space_to_json
from imagine_envs.storage import (
    StorageError,
    atomic_directory,
    load_json,
    load_tensors,
    recover_directory,
    save_json,
    save_tensors,
)
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.families import family_class
from imagine_envs.world_models.protocol import State, WorldModel

if TYPE_CHECKING:
    from imagine_envs.world_models.fit import FitReport

__all__ = ["Contexts", "World", "WorldSpec", "burned_in", "context_length", "load", "save"]

FORMAT_VERSION = 1
_FORMAT = "imagine-rl world"
_QUANTILES = 1001  # of the uncertainty on the training data, from 0 to 1
_BURN_IN = 16  # records that a model with memory filters before a dream starts


@dataclass(frozen=True)
class WorldSpec:
    """What a world is a world of; JSON types besides the spaces.

    Attributes:
        env_id: The real environment's id, None if it has none.
        env_kwargs: Its keyword arguments.
        max_episode_steps: Its step limit, None if it has none.
        observation_space: Its observation space.
        action_space: Its action space.
        data: What the world was fitted on: steps, episodes, terminations, smallest and largest reward, mean return.
        fidelity: The fidelity report's summary, None if none was made.
    """

    env_id: str | None
    env_kwargs: dict[str, Any]
    max_episode_steps: int | None
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    data: dict[str, Any] = field(default_factory=dict)
    fidelity: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The spec in JSON types."""
        return {
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "max_episode_steps": self.max_episode_steps,
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            "data": self.data,
            "fidelity": self.fidelity,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorldSpec:
        """The spec that :meth:`to_json` wrote."""
        return cls(
            **{
                **data,
                "observation_space": space_from_json(data["observation_space"]),
                "action_space": space_from_json(data["action_space"]),
            }
        )


@dataclass(frozen=True)
class Contexts:
    """Real contexts for dreams to start from: windows of L records each, burned in through ``observe``.

    Attributes:
        observation: ``[N, L, …]``, or a dict of those.
        action: ``[N, L, …]``.
        first: bool ``[N, L]``.
        columns: Named columns of the last record, ``[N, …]`` each.
    """

    observation: Observation
    action: Tensor
    first: Tensor
    columns: dict[str, Tensor]

    @property
    def initial(self) -> Tensor:
        """bool ``[N]``: whether the context ends at a reset (kind "initial")."""
        return self.first[:, -1]

    def __len__(self) -> int:
        return int(self.first.shape[0])

    @classmethod
    def from_replay(cls, replay: Replay, length: int, max_contexts: int, seed: int | None) -> Contexts:
        """Contexts from every record that an episode goes on from.

        Up to half of them (but one at least) are resets, where there are so many; what is too much is left out at
        random.

        Raises:
            ValueError: If ``max_contexts`` is less than one, or no record of the replay can be gone on from.
        """
        check_whole("max_contexts", max_contexts)
        records = replay.scalars()
        alive = ~(records["terminated"] | records["truncated"])
        rng = np.random.default_rng(seed)

        def choose(mask: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
            rows = np.flatnonzero(mask)
            return records["index"][rows if len(rows) <= most else rows[np.sort(rng.permutation(len(rows))[:most])]]

        initial = choose(alive & records["first"], max(1, max_contexts // 2))
        rows = np.concatenate([initial, choose(alive & ~records["first"], max_contexts - len(initial))])
        if len(rows) == 0:
            raise ValueError(f"the replay of {len(replay)} records holds none that a dream could start from")
        chosen = replay.histories(rows, length)
        return cls(
            chosen.observation,
            chosen.action,
            chosen.first,
            {k: v[:, -1].contiguous() for k, v in chosen.columns.items()},
        )

    def tensors(self) -> dict[str, Tensor]:
        """Flat names, for storage."""
        observation = self.observation if isinstance(self.observation, dict) else {"": self.observation}
        return {
            **{f"observation.{key}": value for key, value in observation.items()},
            "action": self.action,
            "first": self.first,
            **{f"column.{key}": value for key, value in self.columns.items()},
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Contexts:
        """The contexts that :meth:`tensors` named."""
        parts = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("observation.")}
        columns = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("column.")}
        return cls(parts.get("", parts), tensors["action"], tensors["first"], columns)

    def mismatch(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> str | None:
        """What keeps these from being contexts of the spaces, None if nothing does."""
        pairs: list[tuple[str, Any, spaces.Space[Any]]] = [("action", self.action, action_space)]
        if isinstance(observation_space, spaces.Dict):
            found_parts = self.observation if isinstance(self.observation, dict) else {}
            if sorted(found_parts) != sorted(observation_space.spaces):
                return f"observations have the keys {sorted(found_parts)}, not {sorted(observation_space.spaces)}"
            pairs += [(key, found_parts[key], space) for key, space in observation_space.spaces.items()]
        else:
            pairs += [("observation", self.observation, observation_space)]
        for name, value, space in pairs:
            expected = (*self.first.shape, *(space.shape or ()))
            if not isinstance(value, Tensor) or tuple(value.shape) != expected:
                found = tuple(value.shape) if isinstance(value, Tensor) else f"a dict of {sorted(value)}"
                return f"{name} is {found}, {expected} was expected"
        return None

    def to(self, device: torch.device | str) -> Contexts:
        """The same contexts on ``device``."""
        return Contexts(
            map_observation(lambda tensor: tensor.to(device), self.observation),
            self.action.to(device),
            self.first.to(device),
            {key: value.to(device) for key, value in self.columns.items()},
        )


class World:
    """A world model with starts and spec: what is saved, loaded and dreamed.

    Args:
        model: The world model.
        contexts: Real contexts to start from.
        spec: What it is a world of.
        uncertainty_quantiles: ``[1001]`` quantiles of the model's uncertainty on its training data, or None.
        report: What the fit did, or None.

    Attributes:
        starts: The burned-in states of the contexts, ``[N, …]``: a restart gathers rows of these.

    Example:
        >>> world = World.load("worlds/cartpole")
        >>> world.spec.env_id
        'CartPole-v1'
    """

    def __init__(
        self,
        model: WorldModel,
        contexts: Contexts,
        spec: WorldSpec,
        uncertainty_quantiles: Tensor | None = None,
        report: FitReport | None = None,
    ) -> None:
        self.model = model.eval()
        self.contexts = contexts.to(model.device)
        self.spec = spec
        self.uncertainty_quantiles = uncertainty_quantiles
        self.report = report
        self.starts = self._burn_in()
        self._digest: str | None = None

    @classmethod
    def from_replay(
        cls,
        model: WorldModel,
        replay: Replay,
        *,
        max_starts: int = 10_000,
        seed: int | None = None,
        report: FitReport | None = None,
    ) -> Self:
        """Makes a world of a fitted model and the replay that it was fitted on.

        Args:
            model: The fitted model.
            replay: Where starts, spec and the scale of the uncertainty come from.
            max_starts: The most contexts to keep.
            seed: Seeds their choice.
            report: What the fit did.
        """
        episodes = [episode for episode in replay.episodes() if episode.complete]
        records = replay.scalars()
        reward = records["reward"][~records["first"]]
        spec = WorldSpec(
            env_id=replay.env_id,
            env_kwargs=dict(replay.env_kwargs),
            max_episode_steps=replay.max_episode_steps,
            observation_space=replay.observation_space,
            action_space=replay.action_space,
            data={
                "real_steps": replay.num_steps,
                "transitions": replay.num_transitions,
                "episodes": len(episodes),
                "terminations": int(records["terminated"].sum()),
                "reward_min": float(reward.min()),
                "reward_max": float(reward.max()),
                "mean_return": float(np.mean([episode.total_reward for episode in episodes])) if episodes else None,
            },
        )
        contexts = Contexts.from_replay(replay, context_length(model), max_starts, seed)
        asked = model.has_uncertainty and model.markov
        quantiles = _uncertainty_quantiles(model, replay.transitions()) if asked else None
        return cls(model, contexts, spec, quantiles, report)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The real environment's observation space."""
        return self.spec.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The real environment's action space."""
        return self.spec.action_space

    @property
    def digest(self) -> str:
        """SHA-256 of the model, its family, hyper-parameters and tensors: the same digest predicts the same."""
        if self._digest is None:
            description = json.dumps([self.model.family, self.model.hyperparameters()], sort_keys=True)
            digest = hashlib.sha256(description.encode())
            for name, tensor in sorted(self.model.state_dict().items()):
                digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
            self._digest = digest.hexdigest()
        return self._digest

    def to(self, device: torch.device | str) -> World:
        """The same world on ``device`` (the model itself is moved, as torch does)."""
        self.model.to(device)
        self.contexts = self.contexts.to(device)
        self.starts = {key: value.to(device) for key, value in self.starts.items()}
        return self

    def member(self, index: int) -> World:
        """The world of one member of its ensemble alone, with the same starts.

        Raises:
            ValueError: If the model is no ensemble, or has no such member.
        """
        return World(self.model.member(index), self.contexts, self.spec)

    def with_fidelity(self, fidelity: dict[str, Any]) -> World:
        """The same world with the summary of a fidelity report in its spec."""
        world = World.__new__(World)
        world.__dict__.update(self.__dict__, spec=replace(self.spec, fidelity=fidelity))
        return world

    def uncertainty_quantile(self, quantile: float) -> float:
        """The uncertainty that a fraction ``quantile`` of the training data stays below.

        Raises:
            ValueError: If the world has no uncertainty, or ``quantile`` is not in (0, 1].
        """
        if self.uncertainty_quantiles is None:
            raise ValueError(f"a world of family {self.model.family!r} has no uncertainty to take a quantile of")
        if not 0 < quantile <= 1:
            raise ValueError(f"an uncertainty threshold is a quantile in (0, 1], not {quantile}")
        position = quantile * (_QUANTILES - 1)
        return float(np.interp(position, np.arange(_QUANTILES), self.uncertainty_quantiles.cpu().numpy()))

    @torch.no_grad()
    def _burn_in(self) -> State:
        model, contexts = self.model, self.contexts
        parts: list[State] = []
        for rows in torch.arange(len(contexts)).split(4096):
            rows = rows.to(model.device)
            observation = map_observation(lambda tensor, rows=rows: tensor[rows], contexts.observation)
            parts.append(burned_in(model, observation, contexts.action[rows], contexts.first[rows]))
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    # --- storage ----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the world as a directory, whole or not at all.

        Args:
            path: The directory.
            overwrite: Whether to replace a world that is there; it is kept until the new one is whole.

        Raises:
            StorageError: If something is there and ``overwrite`` is false, or what is there is not a world.
        """
        path = Path(path)
        recover_directory(path)
        if overwrite and path.is_dir() and any(path.iterdir()) and not _is_world(path):
            raise StorageError(
                f"{path} is not a world (a config.json that says so was expected), so it will not be overwritten"
            )
        with atomic_directory(path, overwrite=overwrite) as directory:
            starts = self.contexts.tensors()
            if self.uncertainty_quantiles is not None:
                starts["uncertainty_quantiles"] = self.uncertainty_quantiles
            digests = {
                "model.safetensors": save_tensors(directory / "model.safetensors", self.model.state_dict()),
                "starts.safetensors": save_tensors(directory / "starts.safetensors", starts),
            }
            save_json(
                directory / "config.json",
                {
                    "format": _FORMAT,
                    "version": FORMAT_VERSION,
                    "family": self.model.family,
                    "hyperparameters": self.model.hyperparameters(),
                    "spec": self.spec.to_json(),
                    "sha256": digests,
                },
            )
            (directory / "card.md").write_text(self.card(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> World:
        """Reads a world.

        Args:
            path: The directory that :meth:`save` wrote.
            device: Where to put it; "auto" takes a GPU if there is one.

        Raises:
            StorageError: If the directory or one of its files is missing, truncated, changed, or of another version.
        """
        path = Path(path)
        recover_directory(path)
        if not path.is_dir():
            raise StorageError(f"{path}: no world is there (a directory with config.json was expected)")
        config = load_json(path / "config.json")
        if config.get("format") != _FORMAT:
            raise StorageError(f"{path / 'config.json'} does not describe a world")
        if config.get("version") != FORMAT_VERSION:
            raise StorageError(
                f"{path / 'config.json'} has format version {config.get('version')!r}; "
                f"this release reads {FORMAT_VERSION}"
            )
        try:
            spec = WorldSpec.from_json(config["spec"])
            cls_model = family_class(config["family"])
            model = cls_model(spec.observation_space, spec.action_space, **config["hyperparameters"])
            digests = dict(config["sha256"])
            names = [str(digests["model.safetensors"]), str(digests["starts.safetensors"])]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise StorageError(
                f"{path / 'config.json'} does not describe a world that can be built: {error}"
            ) from error
        weights = load_tensors(path / "model.safetensors", names[0])
        starts = load_tensors(path / "starts.safetensors", names[1])
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise StorageError(
                f"{path / 'model.safetensors'} does not fit the model of config.json: {error}"
            ) from error
        quantiles = starts.pop("uncertainty_quantiles", None)
        try:
            contexts = Contexts.from_tensors(starts)
        except KeyError as error:
            raise StorageError(f"{path / 'starts.safetensors'} lacks {error}") from error
        if not len(contexts):
            raise StorageError(f"{path / 'starts.safetensors'} holds no context; at least one was expected")
        if mismatch := contexts.mismatch(spec.observation_space, spec.action_space):
            raise StorageError(f"{path / 'starts.safetensors'} does not fit the spaces of config.json: {mismatch}")
        return cls(model.to(resolve_device(device)), contexts, spec, quantiles)

    def card(self) -> str:
        """A page for people: what the world is, what it was fitted on, how faithful it is."""
        spec = self.spec
        lines = [
            f"# A dream of {spec.env_id or 'an environment without an id'}",
            "",
            f"- Family: `{self.model.family}` with `{self.model.hyperparameters()}`",
            f"- Environment: `{spec.env_id}` with `{spec.env_kwargs}`, step limit {spec.max_episode_steps}",
            f"- Observations: `{spec.observation_space}`; actions: `{spec.action_space}`",
            f"- Starts: {len(self.contexts)} real contexts, {int(self.contexts.initial.sum())} of them resets",
            "",
            "## Data",
            *(f"- {key}: {value}" for key, value in spec.data.items()),
            "",
            "## Fidelity",
            *(
                [f"- {key}: {value}" for key, value in spec.fidelity.items()]
                if spec.fidelity
                else ["- not measured yet"]
            ),
            "",
            "Dream it: `gym.make('Imagine/Dream-v0', world_model='<this directory>')` after `import imagine_envs`.",
            "",
        ]
        return "\n".join(lines)


def _is_world(path: Path) -> bool:
    try:
        return load_json(path / "config.json").get("format") == _FORMAT
    except StorageError:
        return False


def resolve_device(device: torch.device | str) -> torch.device:
    """``"auto"`` is a GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def save(world: World, path: str | Path, *, overwrite: bool = False) -> None:
    """``world.save(path)``; see :meth:`World.save`."""
    world.save(path, overwrite=overwrite)


def load(path: str | Path, device: torch.device | str = "cpu") -> World:
    """``World.load(path)``; see :meth:`World.load`."""
    return World.load(path, device)


def context_length(model: WorldModel) -> int:
    """Records that a model filters before a dream starts: the last one alone where the state needs no history."""
    return 1 if model.markov else _BURN_IN


@torch.no_grad()
def burned_in(model: WorldModel, observation: Observation, action: Tensor, first: Tensor) -> State:
    """The states that windows of real records ``[B, L, …]`` lead to, whatever happened before.

    Args:
        model: The world model.
        observation: ``[B, L, …]``.
        action: The actions that led there, ``[B, L, …]``.
        first: bool ``[B, L]``; the first record of a window counts as such anyway.
    """
    state = model.initial(len(first))
    for t in range(first.shape[1]):
        anew = first[:, t] if t else torch.ones_like(first[:, t])
        seen = map_observation(lambda tensor, t=t: tensor[:, t], observation)
        state = model.observe(state, action[:, t], seen, anew, sample=False)
    return state


@torch.no_grad()
def _uncertainty_quantiles(model: WorldModel, transitions: Batch) -> Tensor:
    parts: list[Tensor] = []
    generator = torch.Generator(model.device).manual_seed(0)
    for rows in torch.arange(transitions.shape[0]).split(1024):
        batch = transitions[rows].to(model.device)
        previous = map_observation(lambda tensor: tensor[:, 0], batch.observation)
        state = model.observe(
            model.initial(len(rows)), batch.action[:, 0], previous, torch.ones_like(batch.first[:, 0])
        )
        prediction = model.imagine(state, batch.action[:, 1], uncertainty=True, generator=generator)[1]
        assert prediction.uncertainty is not None
        parts.append(prediction.uncertainty)
    values = torch.cat(parts).cpu().double().numpy()
    return torch.from_numpy(np.quantile(values, np.linspace(0, 1, _QUANTILES)))
