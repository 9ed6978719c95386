"""Checkpoints of any Stable-Baselines3 algorithm: written whole or not at all, and enough to go on from.

SB3 saves policies and optimizers. To go on as if nothing had happened, a run also needs its replay, the statistics of
``VecNormalize``, the state of every random generator and the number of steps taken. A checkpoint is a directory with
all of it; a process killed at any instruction leaves the checkpoints that were there before.
"""

from __future__ import annotations

import copyreg
import inspect
import io
import os
import pickle
import random
import re
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize

from imagine_envs.experience import Replay
from imagine_envs.storage import (
    StorageError,
    atomic_directory,
    atomic_file,
    load_json,
    recover_directory,
    save_json,
    sha256,
)
from imagine_envs.whole_numbers import check_whole

__all__ = [
    "AtomicCheckpointCallback",
    "TorchStates",
    "checkpoints",
    "load_checkpoint",
    "read_progress",
    "save_checkpoint",
    "torch_states",
]

_FORMAT = "imagine-rl checkpoint"
_VERSION = 1
_MODEL, _NORMALIZE, _RNG, _PROGRESS = "model.zip", "vecnormalize.pkl", "rng.json", "progress.json"
_BUFFER, _REPLAY = "replay_buffer.pkl", "replay"  # SB3's own buffers are pickles, ours is a directory
_ENV = "env.pkl"
_MEMBERS = "class_attributes"  # of SB3's VecEnvWrapper

TorchStates = tuple[torch.Tensor, list[torch.Tensor]]
"""Of the generator of the CPU, and of those of all GPUs."""

AlgorithmT = TypeVar("AlgorithmT", bound=BaseAlgorithm)


def save_checkpoint(
    model: BaseAlgorithm, path: str | Path, *, progress: dict[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Writes everything that a run needs to go on, atomically.

    ======================== =====================================================================================
    ``model.zip``            what ``model.save`` writes: policy, optimizers, counters
    ``replay_buffer.pkl``    SB3's replay buffer, where there is one; a :class:`~imagine_envs.experience.Replay` is
                             the directory ``replay`` instead
    ``vecnormalize.pkl``     running statistics of ``VecNormalize``, where there is one
    ``env.pkl``              the environment in the middle of its episode, where the algorithm can go on from there
                             (``resumes_exactly``) and the environment can be pickled
    ``rng.json``             states of the random generators of Python, NumPy, torch and the action space
    ``progress.json``        steps taken, algorithm, and the SHA-256 of each of the files above
    ======================== =====================================================================================

    Args:
        model: Any SB3 algorithm. Call this between rollouts: what was collected but not learned from yet is not saved.
        path: The directory.
        progress: Further JSON values to keep in ``progress.json``; :func:`read_progress` gives them back.
        overwrite: Whether to replace a checkpoint that is there; it is kept until the new one is whole.

    Raises:
        StorageError: If something is there and ``overwrite`` is false.

    Example:
        >>> save_checkpoint(model, "run/rl_model_1000_steps")
        >>> model = load_checkpoint(SAC, "run/rl_model_1000_steps", env)
        >>> model.learn(9_000, reset_num_timesteps=False)
    """
    with atomic_directory(path, overwrite=overwrite) as directory:
        model.save(directory / _MODEL)
        replay_buffer = getattr(model, "replay_buffer", None)
        replay = getattr(replay_buffer, "replay", replay_buffer)
        if isinstance(replay, Replay):
            model.save_replay_buffer(directory / _REPLAY)  # type: ignore[attr-defined]
        elif replay_buffer is not None:
            model.save_replay_buffer(directory / _BUFFER)  # type: ignore[attr-defined]
        normalize = model.get_vec_normalize_env()
        if normalize is not None:
            normalize.save(str(directory / _NORMALIZE))
        environment = _pickled_env(model)
        if environment is not None:
            (directory / _ENV).write_bytes(environment)
        save_json(directory / _RNG, _rng_state(model))
        save_json(
            directory / _PROGRESS,
            {
                **(progress or {}),
                "format": _FORMAT,
                "version": _VERSION,
                "algorithm": type(model).__name__,
                "num_timesteps": int(model.num_timesteps),
                "sha256": {file.name: sha256(file) for file in sorted(directory.iterdir()) if file.is_file()},
            },
        )
    model.last_checkpoint = str(path)  # type: ignore[attr-defined]  # for whoever has to stop


def load_checkpoint(
    algorithm: type[AlgorithmT], path: str | Path, env: GymEnv | None = None, **kwargs: Any
) -> AlgorithmT:
    """The algorithm as it was when :func:`save_checkpoint` wrote it; ``learn(…, reset_num_timesteps=False)`` goes on.

    An ``env`` that is given is reset before the next step, with a seed that follows from the algorithm's seed and the
    steps taken, so that a resumed run does not meet its first episodes again; the last episode in a replay buffer
    counts as truncated. Without one, the environment of the checkpoint goes on in the middle of its episode, where
    there is one: then the resumed run is the uninterrupted one. The random generators are process-wide: they are set
    too.

    Args:
        algorithm: The class that was saved.
        path: The directory.
        env: The environment to go on in, wrapped as before; the statistics of its ``VecNormalize`` are restored. None
            takes that of the checkpoint.
        **kwargs: As for ``algorithm.load``: ``device``, ``tensorboard_log``, ``verbose``, …

    Returns:
        The algorithm.

    Raises:
        StorageError: If the directory or one of its files is missing, truncated or changed, or of another algorithm.
        ValueError: If ``env`` has other spaces.
    """
    path = Path(path)
    progress = read_progress(path)
    if progress["algorithm"] != algorithm.__name__:
        raise StorageError(
            f"{path} is a checkpoint of {progress['algorithm']}; one of {algorithm.__name__} was expected"
        )

    own_env = env is None and (path / _ENV).is_file()
    if own_env:
        with open(path / _ENV, "rb") as stream:
            env = pickle.load(stream)
    model = algorithm.load(path / _MODEL, env=env, force_reset=not own_env, **kwargs)
    if hasattr(model, "weights") and hasattr(model, "n_params"):
        # ARS learns on a flat copy of the policy's parameters, which its `load` leaves at those of a fresh policy.
        model.weights = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach()
    if (path / _REPLAY).is_dir():
        model.load_replay_buffer(path / _REPLAY)  # type: ignore[attr-defined]
    elif (path / _BUFFER).is_file():
        model.load_replay_buffer(path / _BUFFER)  # type: ignore[attr-defined]
        _truncate_open_episodes(model.replay_buffer)  # type: ignore[attr-defined]
    normalize = model.get_vec_normalize_env()
    if normalize is not None and not own_env:  # its own was pickled with its statistics
        if _NORMALIZE not in progress["sha256"]:
            raise StorageError(f"{path} has no {_NORMALIZE}, but the environment is wrapped in VecNormalize")
        saved = VecNormalize.load(str(path / _NORMALIZE), normalize.venv)
        normalize.ret_rms = saved.ret_rms
        if saved.norm_obs:  # else it has no such statistics
            normalize.obs_rms = saved.obs_rms
    if model.env is not None and model.seed is not None and not own_env:
        model.env.seed((model.seed + model.num_timesteps) % 2**31)
    _set_rng_state(model, load_json(path / _RNG), path / _RNG)
    return model


def read_progress(path: str | Path) -> dict[str, Any]:
    """Checks that a checkpoint is whole, and gives what it says of itself.

    Returns:
        ``num_timesteps``, ``algorithm``, and what :func:`save_checkpoint` was given besides.

    Raises:
        StorageError: If there is no checkpoint, it is of another version, or a file is missing, truncated or changed.
    """
    path = Path(path)
    recover_directory(path)
    if not path.is_dir():
        raise StorageError(f"{path}: no checkpoint is there (a directory with {_PROGRESS} was expected)")
    progress = load_json(path / _PROGRESS)
    if progress.get("format") != _FORMAT or not isinstance(progress.get("sha256"), dict):
        raise StorageError(f"{path / _PROGRESS} does not describe a checkpoint")
    if progress.get("version") != _VERSION:
        raise StorageError(f"{path / _PROGRESS} has version {progress.get('version')!r}; this release reads {_VERSION}")
    for name, digest in progress["sha256"].items():
        if not (path / name).is_file():
            raise StorageError(f"{path / name} is missing")
        if sha256(path / name) != digest:
            raise StorageError(f"{path / name} is truncated or was changed: its SHA-256 is not that of {_PROGRESS}")
    return progress


def checkpoints(folder: str | Path, name_prefix: str = "rl_model") -> list[Path]:
    """The checkpoints that :class:`AtomicCheckpointCallback` left in ``folder``, the one with the most steps first."""
    pattern = re.compile(rf"(?:\.)?{re.escape(name_prefix)}_(\d+)_steps(?:\.previous)?")
    found = {}
    for entry in Path(folder).glob(f"*{name_prefix}_*_steps*"):
        match = pattern.fullmatch(entry.name)
        if match and entry.is_dir():
            path = Path(folder) / f"{name_prefix}_{match[1]}_steps"
            recover_directory(path)  # of an exchange that was killed half-way
            if path.is_dir():
                found[path] = int(match[1])
    return sorted(found, key=lambda path: -found[path])


class AtomicCheckpointCallback(BaseCallback):
    """Saves a checkpoint every ``save_freq`` calls: SB3's ``CheckpointCallback``, but atomic and enough to go on from.

    The checkpoint is written before the next rollout begins, when everything that was collected has been learned from.
    It is the directory ``<prefix>_<steps>_steps``; of these the last ``keep`` stay. The model alone is also
    ``<prefix>_<steps>_steps.zip``, as SB3 names it (the same bytes on disk, where the file system has hard links), and
    all of these stay.

    Args:
        save_freq: Calls (steps of the ``VecEnv``) between checkpoints.
        save_path: Folder of the checkpoints.
        name_prefix: First part of their names.
        keep: How many checkpoints to keep.
        verbose: 2 says what is saved.

    Raises:
        ValueError: If ``save_freq`` or ``keep`` is below 1.

    Example:
        >>> model.learn(100_000, callback=AtomicCheckpointCallback(10_000, "run"))
        >>> model = load_checkpoint(PPO, checkpoints("run")[0], env)
    """

    def __init__(
        self, save_freq: int, save_path: str | Path, name_prefix: str = "rl_model", keep: int = 2, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        for name, value in (("save_freq", save_freq), ("keep", keep)):
            check_whole(name, value)
        self.save_freq = save_freq
        self.save_path = Path(save_path)
        self.name_prefix = name_prefix
        self.keep = keep
        self._is_due = False
        self._has_rollouts = False

    def _init_callback(self) -> None:
        checkpoints(self.save_path, self.name_prefix)  # brings back what a killed exchange left under another name
        for leftover in self.save_path.glob(f".{self.name_prefix}_*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def _on_step(self) -> bool:
        self._is_due = self._is_due or self.n_calls % self.save_freq == 0
        if self._is_due and not self._has_rollouts:  # an algorithm that does not say when its rollouts begin
            self._save()
        return True

    def _on_rollout_start(self) -> None:
        self._has_rollouts = True
        if self._is_due:
            self._save()

    def _save(self) -> None:
        self._is_due = False
        path = self.save_path / f"{self.name_prefix}_{self.model.num_timesteps}_steps"
        save_checkpoint(self.model, path, progress={"n_calls": self.n_calls}, overwrite=True)
        with atomic_file(path.with_name(f"{path.name}.zip")) as file:
            try:
                os.link(path / _MODEL, file)
            except OSError:  # no hard links here
                shutil.copyfile(path / _MODEL, file)
        for old in checkpoints(self.save_path, self.name_prefix)[self.keep :]:
            # Under another name first: a removal that is killed half-way must not look like a checkpoint.
            condemned = old.with_name(f".{old.name}.removed")
            shutil.rmtree(condemned, ignore_errors=True)
            os.replace(old, condemned)
            shutil.rmtree(condemned, ignore_errors=True)
        if self.verbose >= 2:
            print(f"Saved checkpoint {path}")


def _pickled_env(model: BaseAlgorithm) -> bytes | None:
    """The environment with all of its state, None where that is not wanted or not possible."""
    if not getattr(model, "resumes_exactly", False):
        return None
    stream = io.BytesIO()
    try:
        _EnvPickler(stream).dump(model.env)
    except Exception:  # whatever an environment holds may refuse in its own way
        return None
    return stream.getvalue()


class _EnvPickler(pickle.Pickler):
    """Pickles SB3's wrappers too, whole.

    They list the members of their class, and some of those cannot be pickled; ``VecNormalize`` would leave out what it
    is around.
    """

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, VecEnvWrapper):
            return NotImplemented
        state = {name: part for name, part in vars(value).items() if name != _MEMBERS}
        return copyreg.__newobj__, (type(value),), state, None, None, _restore_wrapper  # type: ignore[attr-defined]


def _restore_wrapper(wrapper: VecEnvWrapper, state: dict[str, Any]) -> None:
    vars(wrapper).update(state, **{_MEMBERS: dict(inspect.getmembers(type(wrapper)))})


def _truncate_open_episodes(buffer: Any) -> None:
    """Ends the episodes that were open when the buffer was saved: the environment will be reset.

    Without it, n-step returns and buffers that find the next observation in the next row would run on into the first
    episode of the resumed run. HER's buffers do this by themselves when they are loaded.
    """
    if not isinstance(buffer, ReplayBuffer) or isinstance(buffer, HerReplayBuffer) or not (buffer.full or buffer.pos):
        return
    last = (buffer.pos - 1) % buffer.buffer_size
    is_open = buffer.dones[last] == 0
    buffer.dones[last][is_open] = 1
    if buffer.handle_timeout_termination:
        buffer.timeouts[last][is_open] = 1


def torch_states(device: torch.device) -> TorchStates:
    """The states of torch's generators; those of GPUs where ``device`` is one."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if device.type == "cuda" else []


def _rng_state(model: BaseAlgorithm) -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    on_cpu, on_gpus = getattr(model, "states_before_noise", None) or torch_states(model.device)
    # SB3 draws from NumPy's global generator (replay sampling, action noise).
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    numpy_state = {**state, "state": {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}}
    return {
        "python": [version, list(internal), gauss],
        "numpy": numpy_state,
        "torch": on_cpu.numpy().tobytes().hex(),
        "cuda": [state.numpy().tobytes().hex() for state in on_gpus],
        "action_space": model.action_space.np_random.bit_generator.state,
    }


def _set_rng_state(model: BaseAlgorithm, state: dict[str, Any], file: Path) -> None:
    try:
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        key = np.array(state["numpy"]["state"]["key"], np.uint32)
        np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})  # noqa: NPY002
        torch.set_rng_state(_bytes_tensor(state["torch"]))
        if model.device.type == "cuda" and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([_bytes_tensor(text) for text in state["cuda"]])
        model.action_space.np_random.bit_generator.state = state["action_space"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StorageError(f"{file} does not hold the states of the random generators: {error!r}") from error


def _bytes_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
