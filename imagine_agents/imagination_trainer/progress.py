"""A progress bar of imagined steps."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from tqdm.auto import tqdm

__all__ = ["DreamProgress"]


class DreamProgress(BaseCallback):
    """Shows imagined steps and the return of recent dreams while a stock algorithm trains in them.

    Args:
        total_timesteps: Imagined steps to come.
    """

    def __init__(self, total_timesteps: int) -> None:
        super().__init__()
        self._total = total_timesteps
        self._bar: tqdm | None = None

    def _on_training_start(self) -> None:
        self._bar = tqdm(total=self._total, desc="dream", unit="step", unit_scale=True)
        self._shown = self.model.num_timesteps

    def _on_step(self) -> bool:
        assert self._bar is not None
        self._bar.update(self.model.num_timesteps - self._shown)
        self._shown = self.model.num_timesteps
        return True

    def _on_rollout_end(self) -> None:
        if self._bar is not None and self.model.ep_info_buffer:
            self._bar.set_postfix(dream_return=f"{safe_mean([info['r'] for info in self.model.ep_info_buffer]):.4g}")

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()
