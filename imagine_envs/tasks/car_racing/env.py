"""One native CarRacing as a Gymnasium ``Env``."""

from __future__ import annotations

from imagine_envs.tasks.car_racing.task import CarRacing, Track
from imagine_envs.tasks.env import TaskEnv

__all__ = ["CarRacingEnv"]


class CarRacingEnv(TaskEnv):
    """A :class:`~imagine_envs.tasks.TaskEnv` that shows its track."""

    @property
    def track(self) -> Track:
        """The track of this episode, as gymnasium's ``CarRacing.track``."""
        self._check_started()
        assert isinstance(self.task, CarRacing)
        return self.task.track(self._batch.state)
