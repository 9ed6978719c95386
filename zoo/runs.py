"""Runs of ``imagine train`` on disk: which were interrupted, and whether a command line is theirs."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagine_agents.common.checkpoint import checkpoints
from imagine_envs.storage import StorageError, load_json, save_json

__all__ = ["Run", "as_json", "differences", "flags_of", "interrupted_runs"]

RECORD = "run.json"
_FORMAT = "imagine-rl run"

# The flags that make a run what it is. Of the others (where to log, how often to save, how much to print, on which
# device) a resumed run may have its own. The world is told by its digest, wherever it lies now.
_FLAGS = (
    "algo", "env", "env_kwargs", "eval_env_kwargs", "n_timesteps", "hyperparams", "conf_file", "trained_agent",
    "eval_freq", "eval_episodes", "n_eval_envs", "dream_kwargs", "seed",
)  # fmt: skip


class Run:
    """The record of one run, ``run.json`` in its folder.

    Attributes:
        folder: The run's folder, ``logs/<algo>/<Env>_<number>``.
        record: What is recorded: ``status`` ("running" or "finished"), ``created``, ``flags``, ``hyperparameters``,
            ``world`` (the digest of the world it dreams of, or None).
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def begin(cls, folder: str | Path, args: Namespace, hyperparameters: Mapping[str, Any], world: str | None) -> Run:
        """Records that a run began."""
        record = {
            "format": _FORMAT,
            "status": "running",
            "created": time.time(),
            "flags": flags_of(args),
            "hyperparameters": as_json(dict(hyperparameters)),
            "world": world,
        }
        run = cls(Path(folder), record)
        save_json(run.folder / RECORD, record)
        return run

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Reads the record.

        Raises:
            StorageError: If there is none, or it is not one.
        """
        record = load_json(Path(folder) / RECORD)
        if record.get("format") != _FORMAT:
            raise StorageError(f"{Path(folder) / RECORD} is not the record of a run")
        return cls(Path(folder), record)

    def finish(self) -> None:
        """Records that the run reached its end: it will not be resumed."""
        self.record["status"] = "finished"
        save_json(self.folder / RECORD, self.record)

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Holds the run for this process; yields whether it was free. The lock of a killed process is free."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield True
            return
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        try:
            yield free
        finally:
            os.close(descriptor)


def interrupted_runs(log_folder: str | Path, algo: str, env_name: str) -> list[Run]:
    """The runs of an algorithm and environment that did not finish and have a checkpoint, the newest first."""
    runs = []
    for record in Path(log_folder, algo).glob(f"{glob.escape(env_name)}_*/{RECORD}"):
        try:
            run = Run.load(record.parent)
        except StorageError:
            continue
        if run.record["status"] == "running" and checkpoints(run.folder):
            runs.append(run)
    return sorted(runs, key=lambda run: -float(run.record["created"]))


def flags_of(args: Namespace) -> dict[str, Any]:
    """The flags that make a run what it is, as JSON."""
    return {name: as_json(getattr(args, name, None)) for name in _FLAGS}


def differences(original: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, one ``name is … now, was …`` each."""
    return [
        f"{name} is {now.get(name)!r} now, was {original.get(name)!r}"
        for name in sorted(set(original) | set(now))
        if original.get(name) != now.get(name)
    ]


def as_json(value: Any) -> Any:
    """The value as it is after a trip through JSON (tuples are lists, objects their text)."""
    return json.loads(json.dumps(value, default=repr))
