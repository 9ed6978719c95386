"""A replay as a directory: an index and one safetensors file for each chunk."""

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from imagine_envs.spaces import space_from_json, space_to_json
from imagine_envs.storage import (
    StorageError,
    atomic_directory,
    load_json,
    load_tensors,
    recover_directory,
    save_json,
    save_tensors,
    sha256,
)

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["load", "save"]

_FORMAT = "imagine-rl replay"
_VERSION = 1
_INDEX = "index.json"
_OURS = ("chunk-*.safetensors", ".chunk-*.safetensors", ".index.*.json")  # dotted: begun when a process was killed
_DTYPES = {
    "BOOL": bool, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32,
    "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


def save(replay: Replay, path: Path, overwrite: bool) -> None:
    """See :meth:`Replay.save`."""
    recover_directory(path)
    if path.is_dir() and any(path.iterdir()):
        old = _read_index(path)
        if old["revision"] in replay._revisions:
            _write(replay, path, old)
            return
        if not overwrite:
            raise StorageError(
                f"{path} holds another replay, or a later state of this one; a free name was expected, or the "
                "directory that this replay was last saved to or loaded from"
            )
    with atomic_directory(path, overwrite=path.is_dir()) as directory:
        _write(replay, directory, None)


def _write(replay: Replay, path: Path, old: dict[str, Any] | None) -> None:
    chunks = replay._chunks
    kept = {entry["number"]: entry for entry in old["chunks"]} if old else {}
    entries = []
    for number in sorted(chunks.arrays):
        written = chunks.written(number, replay._stops)
        entry = kept.get(number)
        file = f"chunk-{number:06d}-{written.sum()}.safetensors"
        if entry is None or entry["file"] != file or not (path / file).is_file():
            length = min(int(written.max()), chunks.length)
            arrays = {name: _tensor(array[:, :length]) for name, array in chunks.arrays[number].items()}
            digest = save_tensors(path / file, arrays)
            entry = {"number": number, "file": file, "sha256": digest, "length": length, "written": written.tolist()}
        entries.append(entry)
    revision = uuid.uuid4().hex
    index = {
        "format": _FORMAT,
        "version": _VERSION,
        "revision": revision,
        "env_id": replay.env_id,
        "env_kwargs": replay.env_kwargs,
        "max_episode_steps": replay.max_episode_steps,
        "observation_space": space_to_json(replay.observation_space),
        "action_space": space_to_json(replay.action_space),
        "columns": {
            name: {"shape": list(column.shape), "dtype": str(column.dtype)} for name, column in replay.columns.items()
        },
        "capacity": replay.capacity,
        "num_envs": replay.num_envs,
        "chunk_length": chunks.length,
        "records": replay._stops.tolist(),
        "resets": replay._resets.tolist(),
        "chunks": entries,
    }
    try:
        json.dumps(index, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"env_kwargs is {replay.env_kwargs!r}; JSON types were expected ({error})") from error
    # Known before it is on the disk: a process killed in between loads it from there, and an exception in between
    # must not lock this object out of its own directory.
    replay._revisions.add(revision)
    save_json(path / _INDEX, index)
    named = {entry["file"] for entry in entries}
    for pattern in _OURS:
        for leftover in path.glob(pattern):
            if leftover.name not in named:
                leftover.unlink()


def _tensor(array: NDArray) -> torch.Tensor:
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def load(cls: type[Replay], path: Path, mmap: bool) -> Replay:
    """See :meth:`Replay.load`."""
    recover_directory(path)
    if not path.is_dir():
        raise StorageError(
            f"{path} is {'a file' if path.exists() else 'missing'}; the directory of a replay was expected"
        )
    index = _read_index(path)
    try:
        replay = cls(
            space_from_json(index["observation_space"]),
            space_from_json(index["action_space"]),
            capacity=index["capacity"],
            num_envs=index["num_envs"],
            columns={name: (column["shape"], column["dtype"]) for name, column in index["columns"].items()},
            chunk_length=index["chunk_length"],
        )
        replay.env_id, replay.env_kwargs = index["env_id"], index["env_kwargs"]
        replay.max_episode_steps = index["max_episode_steps"]
        replay._stops[:] = index["records"]
        replay._resets[:] = index["resets"]
        entries = {int(entry["number"]): entry for entry in index["chunks"]}
        for entry in entries.values():
            if (path / entry["file"]).parent != path or not 0 < entry["length"] <= replay.chunk_length:
                raise ValueError(f"chunk {entry}")
            if entry["written"] != replay._chunks.written(int(entry["number"]), replay._stops).tolist():
                raise ValueError(f"chunk {entry} does not suit records {index['records']}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path / _INDEX} is corrupted: {error!r}") from error
    chunks = replay._chunks
    living = set()
    for start, stop in zip(replay._starts.tolist(), replay._stops.tolist(), strict=True):
        if stop > start:
            living |= {
                number % chunks.ring for number in range(start // chunks.length, (stop - 1) // chunks.length + 1)
            }
    if living - set(entries):
        raise StorageError(f"{path / _INDEX} is corrupted: it names no file for chunk {min(living - set(entries))}")
    for number, entry in entries.items():
        chunks.arrays[number] = _read_chunk(replay, path / entry["file"], entry, mmap)
    replay._restore()
    replay._revisions = {index["revision"]}
    return replay


def _read_index(path: Path) -> dict[str, Any]:
    file = path / _INDEX
    if not file.is_file():
        raise StorageError(f"{path} is not the directory of a replay: it has no {_INDEX}")
    index = load_json(file)
    if index.get("format") != _FORMAT:
        raise StorageError(f"{file} is not a replay's: its format is {index.get('format')!r}; {_FORMAT!r} was expected")
    if index.get("version") != _VERSION:
        raise StorageError(f"{file} has the version {index.get('version')!r}; {_VERSION} was expected")
    if not isinstance(index.get("revision"), str) or not isinstance(index.get("chunks"), list):
        raise StorageError(f"{file} is corrupted: it has no revision or no chunks")
    return index


def _read_chunk(replay: Replay, file: Path, entry: dict[str, Any], mmap: bool) -> dict[str, NDArray]:
    chunks, length = replay._chunks, entry["length"]
    expected = {
        name: ((chunks.num_streams, length, *field.shape), field.dtype) for name, field in chunks.fields.items()
    }
    if mmap and length == chunks.length:
        if not file.is_file():
            raise StorageError(f"{file} is missing")
        if (found := sha256(file)) != entry["sha256"]:
            raise StorageError(
                f"{file} is truncated or was changed: SHA-256 {entry['sha256'][:12]}… was expected, {found[:12]}… found"
            )
        arrays = _map(file)
    else:
        arrays = {name: tensor.numpy() for name, tensor in load_tensors(file, entry["sha256"]).items()}
    found_fields = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found_fields != expected:
        raise StorageError(f"{file} holds {found_fields}; {expected} was expected")
    if mmap and length == chunks.length:
        return arrays
    result = {}
    for name, array in arrays.items():
        result[name] = np.zeros((chunks.num_streams, chunks.length, *array.shape[2:]), array.dtype)
        result[name][:, :length] = array
    return result


def _map(file: Path) -> dict[str, NDArray]:
    """The tensors of a safetensors file as read-only views of the mapped file.

    The format: the header's size as a little-endian uint64, the header (JSON: type, shape and byte range of each
    tensor, counted from the end of the header), then the bytes.
    """
    data = np.asarray(np.memmap(file, np.uint8, mode="r"))
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + size].tobytes())
    body = data[8 + size :]
    result = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            dtype = np.dtype(_DTYPES[tensor["dtype"]])
            if end - begin != dtype.itemsize * math.prod(tensor["shape"]):
                raise StorageError(f"{file} is corrupted: {name} has the wrong size")
            result[name] = body[begin:end].view(dtype).reshape(tensor["shape"])
    return result
