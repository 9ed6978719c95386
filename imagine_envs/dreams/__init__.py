"""Dreams: a world model as tensors, as a batch of environments, as one environment."""

from imagine_envs.dreams.dream import Dream, DreamState, Step
from imagine_envs.dreams.env import DreamEnv
from imagine_envs.dreams.fidelity import FidelityReport, fidelity
from imagine_envs.dreams.filter import Filter, FilterState
from imagine_envs.dreams.vector_env import DreamVectorEnv

__all__ = [
    "Dream",
    "DreamEnv",
    "DreamState",
    "DreamVectorEnv",
    "FidelityReport",
    "Filter",
    "FilterState",
    "Step",
    "fidelity",
]
