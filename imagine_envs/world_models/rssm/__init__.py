"""The recurrent state-space model: one world model in the forms of PlaNet, Dreamer V1 and DreamerV3."""

from imagine_envs.world_models.rssm.rssm import RSSM

__all__ = ["RSSM"]
