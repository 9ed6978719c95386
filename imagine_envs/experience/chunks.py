"""Records in chunks: a ring (or an endless row) of arrays that cost nothing until they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chunks", "Field"]

_ENDLESS = 1 << 40


@dataclass(frozen=True)
class Field:
    """One named part of a record.

    Attributes:
        shape: Shape of one value.
        dtype: Its type, as stored.
    """

    shape: tuple[int, ...]
    dtype: np.dtype


class Chunks:
    """Streams of records side by side, addressed by (stream, position).

    Chunk ``c`` holds the positions ``c·length … (c + 1)·length - 1`` of *every* stream, as one array
    ``[num_streams, length, …]`` for each field: one batched step is one assignment, and one batched read gathers once
    for each chunk that it touches. A ring reuses its chunks, so that its memory is bounded however far one stream runs
    ahead of another. The arrays are zeroed lazily by the operating system: what was never written takes no memory.

    Args:
        fields: The parts of a record.
        num_streams: Number of streams.
        length: Positions in a chunk.
        ring: Chunks before the first is used again; None never does.
    """

    def __init__(self, fields: Mapping[str, Field], num_streams: int, length: int, ring: int | None = None) -> None:
        self.fields = dict(fields)
        self.num_streams = num_streams
        self.length = length
        self.ring = _ENDLESS if ring is None else ring
        self.arrays: dict[int, dict[str, NDArray]] = {}

    def write(self, streams: NDArray[np.int64], positions: NDArray[np.int64], values: Mapping[str, NDArray]) -> None:
        """Stores ``values`` (``[N, …]`` for each field) at ``N`` places, no two of which share a place in the ring."""
        for number, rows, offsets in self._group(positions):
            arrays = self._writable(number)
            for name, array in arrays.items():
                array[streams[rows], offsets] = values[name][rows]

    def read(self, name: str, streams: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray:
        """Gathers one field at ``N`` places.

        Returns:
            ``[N, …]``, a fresh array.
        """
        field = self.fields[name]
        result = np.empty((len(positions), *field.shape), field.dtype)
        for number, rows, offsets in self._group(positions):
            result[rows] = self.arrays[number][name][streams[rows], offsets]
        return result

    def written(self, number: int, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Records that each stream ever wrote into one chunk, if ``lengths`` were ever added to the streams.

        Chunks are append-only, so these numbers tell whether a chunk has changed.

        Returns:
            ``[num_streams]``.
        """
        whole, rest = np.divmod(lengths, self.length)
        rounds = np.maximum(0, -((number - whole) // self.ring))
        return rounds * self.length + np.where(whole % self.ring == number, rest, 0)

    def _group(
        self, positions: NDArray[np.int64]
    ) -> Iterator[tuple[int, slice | NDArray[np.int64], NDArray[np.int64]]]:
        """For each chunk that holds some of ``positions``: its number, the rows in it, and their offsets."""
        if not len(positions):
            return
        numbers, offsets = np.divmod(positions, self.length)
        numbers %= self.ring
        if (numbers == numbers[0]).all():
            yield int(numbers[0]), slice(None), offsets
            return
        order = np.argsort(numbers, kind="stable")
        edges = np.flatnonzero(np.diff(numbers[order])) + 1
        for rows in np.split(order, edges):
            yield int(numbers[rows[0]]), rows, offsets[rows]

    def _writable(self, number: int) -> dict[str, NDArray]:
        if number not in self.arrays:
            self.arrays[number] = {
                name: np.zeros((self.num_streams, self.length, *field.shape), field.dtype)
                for name, field in self.fields.items()
            }
        elif not self.arrays[number]["first"].flags.writeable:  # memory-mapped from a file, which must not change
            self.arrays[number] = {name: np.array(array) for name, array in self.arrays[number].items()}
        return self.arrays[number]
