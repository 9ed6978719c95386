"""The table of world model families: a new family is one file and one line here."""

from __future__ import annotations

from typing import Any

from imagine_envs.experience.replay import Replay
from imagine_envs.world_models.copy_model import CopyModel
from imagine_envs.world_models.ensemble import Ensemble
from imagine_envs.world_models.perfect_model import PerfectModel
from imagine_envs.world_models.protocol import WorldModel
from imagine_envs.world_models.rssm import RSSM
from imagine_envs.world_models.tabular import Tabular

__all__ = ["FAMILIES", "family_class", "make_model"]

FAMILIES: dict[str, type[WorldModel]] = {cls.family: cls for cls in (Tabular, Ensemble, RSSM, CopyModel, PerfectModel)}


def family_class(family: str) -> type[WorldModel]:
    """The class of a family.

    Raises:
        ValueError: If there is no such family; the message lists those that exist.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown world model family {family!r}; expected one of {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family]


def make_model(family: str, replay: Replay, **kwargs: Any) -> WorldModel:
    """A model of ``family`` for the spaces and columns of ``replay``, not fitted yet.

    Raises:
        ValueError: If the family is unknown or does not support the spaces.
    """
    cls = family_class(family)
    return cls.for_replay(replay, **kwargs)
