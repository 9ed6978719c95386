"""CarRacing: a race car seen from above, natively in batches or on Box2D."""

from imagine_envs.tasks.car_racing.task import CarRacing, Track

__all__ = ["CarRacing", "Track"]
