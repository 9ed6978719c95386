"""Safe files: tensors without pickle, written whole or not at all.

Everything this suite saves goes through here. A file is written beside its destination and moved there by one
``os.replace``; a directory likewise. A process killed at any instruction leaves either the old content or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

__all__ = [
    "StorageError",
    "atomic_directory",
    "atomic_file",
    "load_json",
    "load_tensors",
    "recover_directory",
    "save_json",
    "save_tensors",
    "sha256",
]


class StorageError(ValueError):
    """A file or directory that cannot be read or written as asked; the message names it and says what was expected."""


def _absolute(path: str | Path) -> Path:
    """The path with a name: ``.`` and ``worlds/..`` have none that a sibling could be called after."""
    return Path(os.path.abspath(path))


def _backup_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it replaces ``path``, on an exception it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as ``torch.save`` and SB3's ``save`` append one to names that lack it.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary sibling directory; on success it becomes ``path``, on an exception it is removed.

    With ``overwrite`` the directory that stood there stays in place until the new one is whole. Between the two
    renames of the exchange it is kept as a hidden sibling, from where :func:`recover_directory` brings it back.

    Raises:
        StorageError: If ``path`` exists and ``overwrite`` is false, or if it is a file.
    """
    path = _absolute(path)
    recover_directory(path)
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file; a directory (or a free name) was expected")
    if path.exists() and not overwrite:
        raise StorageError(
            f"{path} exists already; choose another name, or ask for it to be overwritten (overwrite=True)"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _fsync(file)
        if path.exists():
            os.replace(path, _backup_of(path))
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        recover_directory(path)  # removes what was replaced, or brings it back if the second rename failed


def recover_directory(path: str | Path) -> None:
    """Undoes an exchange of directories that was killed between its two renames; does nothing otherwise."""
    path = _absolute(path)
    backup = _backup_of(path)
    if backup.is_dir():
        if path.exists():
            shutil.rmtree(backup, ignore_errors=True)
        else:
            os.replace(backup, path)


def sha256(path: str | Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes named tensors as one safetensors file, atomically.

    Returns:
        The file's SHA-256, for :func:`load_tensors` to check.
    """
    with atomic_file(path) as temporary:
        safetensors.torch.save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary
        )
        return sha256(temporary)


def load_tensors(path: str | Path, digest: str | None = None) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Args:
        path: The file.
        digest: The SHA-256 it must have; None checks nothing.

    Raises:
        StorageError: If the file is missing, is not a whole safetensors file, or is not the one that was saved.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"{path} is missing")
    if digest is not None and (found := sha256(path)) != digest:
        raise StorageError(
            f"{path} is truncated or was changed: SHA-256 {digest[:12]}… was expected, {found[:12]}… found"
        )
    try:
        return dict(safetensors.torch.load_file(path))
    except (SafetensorError, OSError) as error:
        raise StorageError(f"{path} is not a whole safetensors file: {error}") from error


def save_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Writes strict JSON (no NaN, no Infinity), atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def load_json(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        StorageError: If the file is missing or is not a JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"{path} is missing")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StorageError(f"{path} is not JSON (truncated or corrupted): {error}") from error
    if not isinstance(data, dict):
        raise StorageError(f"{path} holds a JSON {type(data).__name__}; an object was expected")
    return data
