"""SB3's evaluation and rl_zoo3's statistics callback, with files that are written whole or not at all."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from rl_zoo3.callbacks import SaveVecNormalizeCallback
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from imagine_envs.storage import StorageError, atomic_file

__all__ = ["AtomicEvalCallback", "AtomicSaveVecNormalizeCallback", "best_evaluation"]

_SCORE = "evaluation.json"


class AtomicSaveVecNormalizeCallback(SaveVecNormalizeCallback):
    """rl_zoo3's callback, written atomically."""

    def _on_step(self) -> bool:
        normalize = self.model.get_vec_normalize_env()
        if normalize is not None and self.n_calls % self.save_freq == 0:
            with atomic_file(Path(self.save_path) / "vecnormalize.pkl") as file:
                normalize.save(str(file))
        return True


class AtomicEvalCallback(EvalCallback):
    """SB3's evaluation, written atomically, and able to go on where a killed run stopped.

    ``best_model.zip`` carries the evaluation that chose it, as one more member of the archive (SB3 ignores it), so that
    the model and its score can never belong to different evaluations.

    Args:
        eval_env: Where to evaluate.
        callback_on_new_best: Called for a new best model.
        best_model_save_path: Folder of ``best_model.zip``.
        log_path: Folder of ``evaluations.npz``.
        **kwargs: As for ``EvalCallback``.
    """

    def __init__(
        self,
        eval_env: Any,
        *,
        callback_on_new_best: BaseCallback | None = None,
        best_model_save_path: str,
        log_path: str,
        **kwargs: Any,
    ) -> None:
        self._best_file = Path(best_model_save_path) / "best_model.zip"
        self._log_file = Path(log_path) / "evaluations.npz"
        save_best = _SaveBest(self._best_file, callback_on_new_best)
        super().__init__(eval_env, callback_on_new_best=save_best, log_path=log_path, **kwargs)

    def _init_callback(self) -> None:
        with warnings.catch_warnings():
            # A dream is a native batch, the real environment is not: that is as it should be.
            warnings.filterwarnings("ignore", message="Training and eval env are not of the same type")
            super()._init_callback()

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq:
            return True
        with atomic_file(self._log_file) as file:
            self.log_path = str(file)
            return super()._on_step()

    def resume(self, num_timesteps: int) -> None:
        """Remembers the evaluations up to a checkpoint, and the best model of all that were made.

        Raises:
            StorageError: If ``evaluations.npz`` cannot be read.
        """
        if self._log_file.is_file():
            try:
                with np.load(self._log_file) as saved:
                    until = saved["timesteps"] <= num_timesteps
                    self.evaluations_timesteps = saved["timesteps"][until].tolist()
                    self.evaluations_results = saved["results"][until].tolist()
                    self.evaluations_length = saved["ep_lengths"][until].tolist()
                    if "successes" in saved:
                        self.evaluations_successes = saved["successes"][until].tolist()
            except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
                raise StorageError(f"{self._log_file} cannot be read: {error}") from error
            if self.evaluations_results:
                self.last_mean_reward = float(np.mean(self.evaluations_results[-1]))
        best = best_evaluation(self._best_file)
        if best is not None:
            self.best_mean_reward = best["mean_reward"]


class _SaveBest(BaseCallback):
    """Saves the best model together with its score."""

    parent: EvalCallback

    def __init__(self, file: Path, then: BaseCallback | None) -> None:
        super().__init__()
        self._file, self._then = file, then

    def _init_callback(self) -> None:
        if self._then is not None:
            self._then.init_callback(self.model)

    def _on_step(self) -> bool:
        score = {"mean_reward": self.parent.best_mean_reward, "num_timesteps": self.num_timesteps}
        with atomic_file(self._file) as file:
            self.model.save(file)
            with zipfile.ZipFile(file, "a") as archive:
                archive.writestr(_SCORE, json.dumps(score))
        return self._then is None or self._then.on_step()


def best_evaluation(file: str | Path) -> dict[str, Any] | None:
    """The evaluation that chose a ``best_model.zip``: ``mean_reward``, ``num_timesteps``; None where there is none."""
    if not Path(file).is_file():
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            score: dict[str, Any] = json.loads(archive.read(_SCORE))
            return score
    except (zipfile.BadZipFile, KeyError, ValueError):
        return None
