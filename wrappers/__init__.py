"""Gymnasium and Stable-Baselines3 wrappers.

- :class:`LatentObservation`: a real environment seen as a policy of a latent dream sees it.
- :class:`SB3VecEnv`: any Gymnasium ``VectorEnv``, or a list of environment functions, as an SB3 ``VecEnv``.
- :func:`check_vec_env`: whether a ``VecEnv`` keeps the rules that SB3's algorithms rely on.
"""

from wrappers.check_vec_env import check_vec_env
from wrappers.latent_observation import LatentObservation, LatentVectorObservation
from wrappers.sb3_vec_env import SB3VecEnv

__all__ = ["LatentObservation", "LatentVectorObservation", "SB3VecEnv", "check_vec_env"]
