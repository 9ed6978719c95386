"""Real experience: a replay of sequences, and how it is collected."""

from imagine_envs.experience.batch import Batch
from imagine_envs.experience.collect import Collected, Collector, collect
from imagine_envs.experience.minari import from_minari
from imagine_envs.experience.replay import Episode, Replay

__all__ = ["Batch", "Collected", "Collector", "Episode", "Replay", "collect", "from_minari"]
