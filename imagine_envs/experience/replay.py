"""Real experience: streams of records in the environment's own units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from imagine_envs.experience import files
from imagine_envs.experience.batch import Batch
from imagine_envs.experience.chunks import Chunks, Field
from imagine_envs.spaces import space_to_json, to_tensor

__all__ = ["Episode", "Replay"]

_CHUNK_BYTES = 1 << 22
_CHUNK_LIMIT = 1 << 16
_FLAGS = ("terminated", "truncated", "first")
_RESERVED = {"observation", "action", "reward", *_FLAGS, "env", "envs"}


@dataclass(frozen=True)
class Episode:
    """The living records of one episode.

    Attributes:
        env: The environment, i.e. the stream.
        start: Position of the first living record in the stream; record ``p`` of stream ``e`` has the number
            ``p * num_envs + e`` (:attr:`Batch.index`).
        stop: Position after the last record.
        total_reward: Sum of the rewards of the living records.
        terminated: Whether the last record is terminal.
        truncated: Whether the last record is truncated.
        complete: Whether it lives from its reset to its end: neither was it cut by the capacity, nor is it open.
    """

    env: int
    start: int
    stop: int
    total_reward: float
    terminated: bool
    truncated: bool
    complete: bool

    @property
    def num_steps(self) -> int:
        """Real steps between the living records."""
        return self.stop - self.start - 1


class Replay:
    """Everything that was seen of an environment, as one stream of records for each of ``num_envs`` environments.

    A record is what is known on arriving at an observation (:class:`~imagine_envs.experience.Batch` states the
    convention). The streams grow independently: an episode of three steps makes four records. Everything is stored in
    the environment's own units and types (uint8 images stay uint8) and handed out as tensors on the CPU.

    With a ``capacity`` the streams are rings of an equal share each, in which the oldest record makes room for the
    newest. The oldest living record may then stand in the middle of an episode: its predecessor is gone, so it is
    no transition.

    Args:
        observation_space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of those.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        capacity: Most records alive, of all streams together; None keeps everything. Nothing is allocated before it
            is used.
        num_envs: Number of streams.
        columns: Further named values of every record, ``{name: (shape, dtype)}``, e.g.
            ``{"action_mask": ((4,), bool)}``.
        chunk_length: Positions in one chunk, the unit of allocation and of files; None chooses some megabytes.

    Attributes:
        env_id: The environment's id, where it is known; set by :func:`~imagine_envs.experience.collect`.
        env_kwargs: Its keyword arguments, in JSON types.
        max_episode_steps: Its step limit, None where it has none.

    Raises:
        ValueError: If a space is not supported, or an argument is out of range.

    Example:
        >>> replay = collect("CartPole-v1", steps=500, seed=0)
        >>> batch = replay.sample(32, 10, np.random.default_rng(0))
        >>> batch.observation.shape
        torch.Size([32, 10, 4])
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        capacity: int | None = None,
        num_envs: int = 1,
        columns: Mapping[str, tuple[Sequence[int], DTypeLike]] | None = None,
        chunk_length: int | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; at least 1 was expected")
        if capacity is not None and capacity < 2 * num_envs:
            raise ValueError(
                f"capacity is {capacity}; at least {2 * num_envs} was expected, two records for each of {num_envs} "
                "environments (one transition)"
            )
        if chunk_length is not None and chunk_length < 1:
            raise ValueError(f"chunk_length is {chunk_length}; at least 1 was expected")
        if isinstance(action_space, spaces.Dict):
            raise ValueError(
                f"action_space is {action_space}; Box, Discrete, MultiDiscrete or MultiBinary was expected"
            )
        for name, space in (("observation_space", observation_space), ("action_space", action_space)):
            try:
                space_to_json(space)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

        self.observation_space = observation_space
        self.action_space = action_space
        self.capacity = capacity
        self.num_envs = num_envs
        self.columns = {name: _column(name, *column) for name, column in (columns or {}).items()}
        self.env_id: str | None = None
        self.env_kwargs: dict[str, Any] = {}
        self.max_episode_steps: int | None = None

        fields: dict[str, Field] = {}
        for name, space in _leaves(observation_space).items():
            fields[name] = _leaf("observation_space", space)
        fields["action"] = _leaf("action_space", action_space)
        leaves = {"action": action_space, **_leaves(observation_space)}
        self._ranges = {name: bounds for name, space in leaves.items() if (bounds := _range(space)) is not None}
        fields["reward"] = Field((), np.dtype(np.float32))
        fields.update({name: Field((), np.dtype(bool)) for name in _FLAGS})
        fields.update({f"column/{name}": column for name, column in self.columns.items()})

        size = num_envs * sum(field.dtype.itemsize * math.prod(field.shape) for field in fields.values())
        length = chunk_length or max(1, min(_CHUNK_BYTES // max(size, 1), _CHUNK_LIMIT))
        ring = None
        self._limits = np.full(num_envs, np.iinfo(np.int64).max)
        if capacity is not None:
            share, rest = divmod(capacity, num_envs)
            self._limits = share + (np.arange(num_envs) < rest).astype(np.int64)
            length = min(length, share)
            ring = -(-int(self._limits.max()) // length)
        self._chunks = Chunks(fields, num_envs, length, ring)
        self._all = np.arange(num_envs)
        self._stops = np.zeros(num_envs, np.int64)  # records ever added to each stream
        self._resets = np.zeros(num_envs, np.int64)  # of which began an episode
        self._open = np.zeros(num_envs, bool)  # whether the newest record's episode goes on
        self._living_resets = np.zeros(num_envs, np.int64)
        self._transitions: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._revisions: set[str] = set()  # of the directories that hold an earlier state of this replay

    # --- sizes ------------------------------------------------------------------------------------------------------

    @property
    def _starts(self) -> NDArray[np.int64]:
        """Position of the oldest living record of each stream."""
        return np.maximum(self._stops - self._limits, 0)

    def __len__(self) -> int:
        """Records alive, resets included."""
        return int((self._stops - self._starts).sum())

    @property
    def chunk_length(self) -> int:
        """Positions in one chunk."""
        return self._chunks.length

    @property
    def open(self) -> NDArray[np.bool_]:
        """Whether the newest episode of each stream goes on, ``[num_envs]``."""
        return self._open.copy()

    @property
    def longest(self) -> int:
        """Records alive in the longest stream: windows can be as long as that."""
        return int((self._stops - self._starts).max())

    @property
    def num_transitions(self) -> int:
        """Real steps available: records that are not ``first`` and whose predecessor is alive."""
        return len(self) - int(self._living_resets.sum()) - int(self._orphans().sum())

    @property
    def num_steps(self) -> int:
        """Real steps ever added, those that were dropped included."""
        return int((self._stops - self._resets).sum())

    @property
    def num_episodes(self) -> int:
        """Episodes of which records are alive, open ones included."""
        return int(self._living_resets.sum() + self._orphans().sum())

    def _orphans(self) -> NDArray[np.bool_]:
        """Streams whose oldest living record has lost its predecessor."""
        starts = self._starts
        streams = np.flatnonzero(starts > 0)
        orphans = np.zeros(self.num_envs, bool)
        orphans[streams] = ~self._chunks.read("first", streams, starts[streams])
        return orphans

    def episodes(self) -> list[Episode]:
        """The episodes of which records are alive, stream by stream, the oldest first."""
        result = []
        for env, (start, stop) in enumerate(zip(self._starts.tolist(), self._stops.tolist(), strict=True)):
            if start == stop:
                continue
            positions = np.arange(start, stop)
            streams = np.full(stop - start, env)
            first, terminated, truncated, reward = (
                self._chunks.read(name, streams, positions) for name in ("first", "terminated", "truncated", "reward")
            )
            begins = np.union1d([0], np.flatnonzero(first))
            ends = np.append(begins[1:], stop - start)
            returns = np.add.reduceat(reward.astype(np.float64), begins)
            for begin, end, total in zip(begins.tolist(), ends.tolist(), returns.tolist(), strict=True):
                ended = bool(terminated[end - 1] or truncated[end - 1])
                result.append(
                    Episode(
                        env=env,
                        start=start + begin,
                        stop=start + end,
                        total_reward=total,
                        terminated=bool(terminated[end - 1]),
                        truncated=bool(truncated[end - 1]),
                        complete=bool(first[begin]) and ended,
                    )
                )
        return result

    # --- adding -----------------------------------------------------------------------------------------------------

    def add(
        self,
        observation: Any,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        first: ArrayLike,
        *,
        envs: ArrayLike | None = None,
        **columns: ArrayLike,
    ) -> None:
        """Adds one record to each stream, or to each of ``envs``.

        The action and the reward of ``first`` records are stored as zero, whatever they are, and a record that is
        both terminated and truncated as terminated: its value is not bootstrapped.

        Args:
            observation: ``[N, …]``, or a dict of those.
            action: The action that led to ``observation``, ``[N, …]``.
            reward: The reward received on arriving, ``[N]``.
            terminated: Whether the episode ended here, ``[N]``.
            truncated: Whether it was cut off here, ``[N]``.
            first: Whether the record is a reset, ``[N]``. It may follow an unfinished episode, which then stays open.
            envs: The streams, ``[N]``, each at most once; None is all of them.
            **columns: One array ``[N, …]`` for each column of the replay.

        Raises:
            ValueError: If a shape or a column is wrong, if an observation, an action or a reward is NaN or infinite,
                or if a record continues an episode that has ended.
        """
        streams = self._all
        if envs is not None:
            streams = np.atleast_1d(np.asarray(envs))
            known = (
                streams.ndim == 1 and streams.dtype.kind in "iu" and ((streams >= 0) & (streams < self.num_envs)).all()
            )
            if not known or len(np.unique(streams)) != len(streams):
                raise ValueError(f"envs is {envs!r}; distinct numbers from 0 to {self.num_envs - 1} were expected")
        values = self._values(len(streams), observation, action, reward, terminated, truncated, first, columns)
        begins = values["first"]
        astray = ~begins & ~self._open[streams]
        if astray.any():
            raise ValueError(self._astray(int(streams[astray][0])))
        self._append(streams, self._stops[streams], values, streams, 1)
        self._resets[streams] += begins
        self._living_resets[streams] += begins
        self._open[streams] = ~(values["terminated"] | values["truncated"])

    def add_reset(self, observation: Any, *, envs: ArrayLike | None = None, **columns: ArrayLike) -> None:
        """Adds the ``first`` record of a new episode to each stream, or to each of ``envs``; see :meth:`add`."""
        count = self.num_envs if envs is None else len(np.atleast_1d(np.asarray(envs)))
        action = self._chunks.fields["action"]
        no = np.zeros(count, bool)
        nothing = np.zeros((count, *action.shape), action.dtype)
        self.add(observation, nothing, np.zeros(count), no, no, ~no, envs=envs, **columns)

    def extend(
        self,
        observation: Any,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        first: ArrayLike,
        *,
        env: int = 0,
        **columns: ArrayLike,
    ) -> None:
        """Adds consecutive records to one stream; the arguments are those of :meth:`add`, ``[T, …]`` each.

        Raises:
            ValueError: As :meth:`add`; then nothing was added.
        """
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env is {env}; a number from 0 to {self.num_envs - 1} was expected")
        first = np.atleast_1d(np.asarray(first))
        values = self._values(len(first), observation, action, reward, terminated, truncated, first, columns)
        begins, ends = values["first"], values["terminated"] | values["truncated"]
        if not len(begins):
            return
        goes_on = np.concatenate([self._open[env : env + 1], ~ends[:-1]])
        if (~begins & ~goes_on).any():
            raise ValueError(self._astray(env))
        stream = np.array([env])
        for begin in range(0, len(begins), self._chunks.length):  # never more than the ring holds
            piece = {name: value[begin : begin + self._chunks.length] for name, value in values.items()}
            count = len(piece["first"])
            positions = self._stops[env] + np.arange(count)
            self._append(np.full(count, env), positions, piece, stream, count)
            self._resets[env] += piece["first"].sum()
            self._living_resets[env] += piece["first"].sum()
        self._open[env] = not ends[-1]

    def _append(
        self,
        streams: NDArray[np.int64],
        positions: NDArray[np.int64],
        values: Mapping[str, NDArray],
        grown: NDArray[np.int64],
        count: int,
    ) -> None:
        """Writes records and moves the ends of the ``grown`` streams by ``count``, the starts along with them."""
        if self.capacity is not None:
            starts = self._starts[grown]
            dropped = np.maximum(self._stops[grown] + count - self._limits[grown], 0) - starts
            rows, steps = _numbered(dropped)
            if len(rows):
                resets = self._chunks.read("first", grown[rows], starts[rows] + steps)
                self._living_resets -= np.bincount(grown[rows][resets], minlength=self.num_envs)
        self._chunks.write(streams, positions, values)
        self._stops[grown] += count
        self._transitions = None

    def _astray(self, env: int) -> str:
        what = "the episode before it has ended" if self._stops[env] else "the stream is empty"
        return f"first is false for a record of environment {env}, but {what}: a new episode begins with first=True"

    def _values(
        self,
        count: int,
        observation: Any,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        first: ArrayLike,
        columns: Mapping[str, ArrayLike],
    ) -> dict[str, NDArray]:
        """Checked arrays ``[N, …]`` of the stored types, one for each field."""
        given: dict[str, Any] = {}
        if isinstance(self.observation_space, spaces.Dict):
            keys = set(self.observation_space.spaces)
            if not isinstance(observation, Mapping) or set(observation) != keys:
                found = sorted(observation) if isinstance(observation, Mapping) else type(observation).__name__
                raise ValueError(f"observation is {found}; a dict with the keys {sorted(keys)} was expected")
            given.update({f"observation/{key}": observation[key] for key in self.observation_space.spaces})
        else:
            given["observation"] = observation
        given.update(action=action, reward=reward, terminated=terminated, truncated=truncated, first=first)
        if set(columns) != set(self.columns):
            raise ValueError(f"columns {sorted(columns)} were given; {sorted(self.columns)} were expected")
        given.update({f"column/{name}": value for name, value in columns.items()})

        values = {name: _array(name, given[name], count, field) for name, field in self._chunks.fields.items()}
        begins = values["first"]
        for name, (low, high) in self._ranges.items():
            value = values[name][~begins] if name == "action" else values[name]
            if ((value < low) | (value > high)).any():
                raise ValueError(f"{_spoken(name)} holds {value.min()} … {value.max()}; {low} … {high} was expected")
        if begins.any():
            if (begins & (values["terminated"] | values["truncated"])).any():
                raise ValueError("a record is first and also terminated or truncated: an episode has at least one step")
            for name in ("action", "reward"):
                values[name] = np.where(begins.reshape(-1, *[1] * (values[name].ndim - 1)), 0, values[name])
        values["truncated"] = values["truncated"] & ~values["terminated"]
        return values

    # --- reading ----------------------------------------------------------------------------------------------------

    def sample(self, batch_size: int, length: int, rng: np.random.Generator) -> Batch:
        """Windows of consecutive records, uniform over all that are alive.

        A window never leaves its stream; it may cross resets, where ``first`` is set.

        Args:
            batch_size: Number of windows, drawn with replacement.
            length: Records in a window; two make one step.
            rng: Source of the choice.

        Returns:
            ``[batch_size, length, …]``.

        Raises:
            ValueError: If no stream has ``length`` living records.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; at least 1 was expected")
        counts = self._window_counts(length)
        edges = np.cumsum(counts)
        drawn = rng.integers(edges[-1], size=batch_size)
        streams = np.searchsorted(edges, drawn, side="right")
        return self._gather(streams, self._starts[streams] + drawn - (edges - counts)[streams], length)

    def windows(self, index: ArrayLike, length: int) -> Batch:
        """The windows of ``length`` records that begin at the records numbered ``index``.

        Args:
            index: Numbers of records (:attr:`Batch.index`), ``[N]``.
            length: Records in a window.

        Returns:
            ``[N, length, …]``.

        Raises:
            ValueError: If a window is not wholly alive.
        """
        index = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if length < 1:
            raise ValueError(f"length is {length}; at least 1 was expected")
        positions, streams = np.divmod(index, self.num_envs)
        gone = (index < 0) | (positions < self._starts[streams]) | (positions + length > self._stops[streams])
        if gone.any():
            raise ValueError(f"index {int(index[gone][0])}: no window of {length} living records begins there")
        return self._gather(streams, positions, length)

    def transitions(self, which: Any = None) -> Batch:
        """Single real steps, as windows of two records of which the second is not ``first``.

        They stand in a fixed order: stream by stream, the oldest first.

        Args:
            which: Their places in that order (integers, a mask or a slice); None is all :attr:`num_transitions`.

        Returns:
            ``[N, 2, …]``.
        """
        if self._transitions is None:
            streams, places = _numbered(np.maximum(self._stops - self._starts - 1, 0))
            positions = self._starts[streams] + places
            real = ~self._chunks.read("first", streams, positions + 1)
            self._transitions = streams[real], positions[real]
        streams, positions = self._transitions
        if which is not None:
            which = which.numpy() if isinstance(which, Tensor) else which
            streams, positions = np.atleast_1d(streams[which]), np.atleast_1d(positions[which])
        return self._gather(streams, positions, 2)

    def sequences(self, length: int, stride: int | None = None) -> Batch:
        """All living records as windows, stream by stream, the oldest first; an incomplete last window is left out.

        Args:
            length: Records in a window.
            stride: Records between the beginnings of two windows; None is ``length``, which visits each record once.

        Returns:
            ``[N, length, …]``.

        Raises:
            ValueError: If no stream has ``length`` living records.
        """
        return self._gather(*self._window_places(length, stride), length)

    def window_index(self, length: int, stride: int | None = None) -> NDArray[np.int64]:
        """The numbers of the records that the windows of :meth:`sequences` begin at, ``[N]``; nothing else is read.

        Raises:
            ValueError: As :meth:`sequences`.
        """
        streams, positions = self._window_places(length, stride)
        return positions * self.num_envs + streams

    def scalars(self) -> dict[str, NDArray]:
        """All living records without their observations, stream by stream, the oldest first.

        Returns:
            ``index`` int64, ``reward`` float32 and ``terminated``, ``truncated``, ``first`` bool, ``[N]`` each.
        """
        streams, positions = self._living()
        values = {name: self._chunks.read(name, streams, positions) for name in ("reward", *_FLAGS)}
        return {"index": positions * self.num_envs + streams, **values}

    def histories(self, index: ArrayLike, length: int) -> Batch:
        """The windows of ``length`` records that end at the records numbered ``index``.

        Where a stream does not reach back so far, its oldest living record stands in for what is missing, each time as
        ``first``: a model that starts anew there sees nothing of it. So it does at that record itself, unless the
        window ends with it.

        Args:
            index: Numbers of records (:attr:`Batch.index`), ``[N]``.
            length: Records in a window.

        Returns:
            ``[N, length, …]``.

        Raises:
            ValueError: If a record is not alive.
        """
        index = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if length < 1:
            raise ValueError(f"length is {length}; at least 1 was expected")
        positions, streams = np.divmod(index, self.num_envs)
        gone = (index < 0) | (positions < self._starts[streams]) | (positions >= self._stops[streams])
        if gone.any():
            raise ValueError(f"index {int(index[gone][0])}: no living record has that number")
        wanted = positions[:, None] + np.arange(1 - length, 1)
        oldest = self._starts[streams][:, None]
        batch = self._gather_places(streams, np.maximum(wanted, oldest))
        anew = wanted <= oldest
        anew[:, -1] = False
        return replace(batch, first=batch.first | torch.from_numpy(anew))

    def _living(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Streams and positions ``[N]`` of all living records, stream by stream, the oldest first."""
        streams, places = _numbered(self._stops - self._starts)
        return streams, self._starts[streams] + places

    def _window_places(self, length: int, stride: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        stride = length if stride is None else stride
        if stride < 1:
            raise ValueError(f"stride is {stride}; at least 1 was expected")
        streams, places = _numbered(-(-self._window_counts(length) // stride))
        return streams, self._starts[streams] + stride * places

    def _window_counts(self, length: int) -> NDArray[np.int64]:
        """Windows in each stream."""
        if length < 1:
            raise ValueError(f"length is {length}; at least 1 was expected")
        alive = self._stops - self._starts
        if alive.max() < length:
            raise ValueError(
                f"length is {length}, but the longest of {self.num_envs} streams has {alive.max()} records "
                f"({len(self)} in all)"
            )
        return np.maximum(alive - length + 1, 0)

    def _gather(self, streams: NDArray[np.int64], positions: NDArray[np.int64], length: int) -> Batch:
        """The windows that begin at (stream, position), ``[N]`` each."""
        return self._gather_places(streams, positions[:, None] + np.arange(length))

    def _gather_places(self, streams: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
        """The records at the positions ``[N, T]`` of the streams ``[N]``."""
        shape = positions.shape
        places = positions.reshape(-1)
        sources = np.repeat(streams, shape[1])

        def read(name: str) -> NDArray:
            values = self._chunks.read(name, sources, places)
            return values.reshape(*shape, *values.shape[1:])

        if isinstance(self.observation_space, spaces.Dict):
            observation: Any = {key: read(f"observation/{key}") for key in self.observation_space.spaces}
        else:
            observation = read("observation")
        return Batch(
            observation=to_tensor(observation, self.observation_space, "cpu"),
            action=to_tensor(read("action"), self.action_space, "cpu"),
            reward=torch.from_numpy(read("reward")),
            terminated=torch.from_numpy(read("terminated")),
            truncated=torch.from_numpy(read("truncated")),
            first=torch.from_numpy(read("first")),
            index=torch.from_numpy((places * self.num_envs + sources).reshape(shape)),
            columns={name: _column_tensor(read(f"column/{name}")) for name in self.columns},
        )

    # --- storage ----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the replay as a directory: ``index.json`` and one safetensors file for each chunk.

        Saving again to the same directory writes only what has changed since. The index is replaced last, in one
        step, and files that it no longer names are removed after that: a process killed at any instruction leaves a
        directory that loads, in the old state or in the new.

        Args:
            path: The directory.
            overwrite: Whether to replace another replay that is there; it is kept until the new one is whole.

        Raises:
            StorageError: If ``path`` holds another replay and ``overwrite`` is false, or anything else.
            ValueError: If ``env_kwargs`` holds something that JSON cannot express.
        """
        files.save(self, Path(path), overwrite)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = False) -> Replay:
        """Reads what :meth:`save` wrote, and checks all of it.

        Args:
            path: The directory.
            mmap: Whether to leave full chunks on the disk and map them read-only, for data larger than the memory.
                More can be added all the same.

        Raises:
            StorageError: If a file is missing, truncated, corrupted or of another version, or is no replay's.
        """
        return files.load(cls, Path(path), mmap)

    def _restore(self) -> None:
        """Derives the counters from the records after the chunks were filled from files."""
        streams, positions = self._living()
        first = self._chunks.read("first", streams, positions)
        self._living_resets = np.bincount(streams[first], minlength=self.num_envs)
        begun = np.flatnonzero(self._stops)
        ended = [self._chunks.read(name, begun, self._stops[begun] - 1) for name in ("terminated", "truncated")]
        self._open[begun] = ~(ended[0] | ended[1])

    def __repr__(self) -> str:
        name = f"{self.env_id}, " if self.env_id else ""
        return (
            f"Replay({name}{len(self)} records, {self.num_transitions} transitions, {self.num_episodes} episodes, "
            f"num_envs={self.num_envs}, capacity={self.capacity})"
        )


def _leaves(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    """The observation's fields."""
    if isinstance(space, spaces.Dict):
        return {f"observation/{key}": leaf for key, leaf in space.spaces.items()}
    return {"observation": space}


def _spoken(name: str) -> str:
    """A field's name as the caller knows it."""
    kind, _, key = name.partition("/")
    return key if kind == "column" else f"{kind}[{key!r}]" if key else kind


def _range(space: spaces.Space[Any]) -> tuple[Any, Any] | None:
    """The lowest and the highest value of a discrete space, which models count and embed by."""
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, spaces.MultiBinary) else None


def _leaf(name: str, space: spaces.Space[Any]) -> Field:
    if isinstance(space, spaces.Dict) or space.shape is None or space.dtype is None:
        raise ValueError(
            f"{name} has {space} in a Dict; Box, Discrete, MultiDiscrete or MultiBinary was expected there"
        )
    return Field(tuple(space.shape), np.dtype(space.dtype))


def _column(name: str, shape: Sequence[int], dtype: DTypeLike) -> Field:
    if not name.isidentifier() or name in _RESERVED:
        raise ValueError(
            f"columns: {name!r} cannot be a column's name; an identifier not in {sorted(_RESERVED)} was expected"
        )
    field = Field(tuple(int(size) for size in shape), np.dtype(dtype))
    if field.dtype.kind not in "biuf" or field.dtype.itemsize > 8:
        raise ValueError(f"columns: {name!r} is {field.dtype}; a boolean, integer or floating type was expected")
    return field


def _column_tensor(values: NDArray) -> Tensor:
    if values.dtype.kind == "f":
        return torch.from_numpy(values.astype(np.float32, copy=False))
    return torch.from_numpy(values if values.dtype in (bool, np.uint8) else values.astype(np.int64, copy=False))


def _array(name: str, value: Any, count: int, field: Field) -> NDArray:
    """``value`` as ``[count, …]`` of the field's type, if that changes nothing but the precision of a float."""
    column, name = name.startswith("column/"), _spoken(name)
    array = np.asarray(value)
    if array.shape != (count, *field.shape):
        raise ValueError(f"{name} has the shape {array.shape}; {(count, *field.shape)} was expected")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}; {field.dtype} was expected")
    if array.dtype != field.dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = array.astype(field.dtype)
        if field.dtype.kind != "f" and (converted != array).any():
            raise ValueError(f"{name} holds {array.dtype} values that {field.dtype} cannot express")
        array = converted
    if field.dtype.kind == "f" and not column and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(axis=1))[0])
        raise ValueError(f"{name} holds NaN or infinity in row {row} of {count}")
    return array


def _numbered(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of ``counts[g]`` things in each group g, one after the other: their groups, and their numbers in them."""
    groups = np.repeat(np.arange(len(counts)), counts)
    return groups, np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
