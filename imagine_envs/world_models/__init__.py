"""World models: simulators, learned or known, behind one protocol."""

from imagine_envs.world_models.copy_model import CopyModel
from imagine_envs.world_models.ensemble import Ensemble
from imagine_envs.world_models.families import FAMILIES, make_model
from imagine_envs.world_models.fit import FitReport, fit, fit_model
from imagine_envs.world_models.known import register_reward, register_termination, reward_function, termination_function
from imagine_envs.world_models.perfect_model import PerfectModel
from imagine_envs.world_models.protocol import Loss, Prediction, State, WorldModel
from imagine_envs.world_models.rssm import RSSM
from imagine_envs.world_models.tabular import Tabular
from imagine_envs.world_models.world import World, WorldSpec, load, save

__all__ = [
    "FAMILIES",
    "RSSM",
    "CopyModel",
    "Ensemble",
    "FitReport",
    "Loss",
    "PerfectModel",
    "Prediction",
    "State",
    "Tabular",
    "World",
    "WorldModel",
    "WorldSpec",
    "fit",
    "fit_model",
    "load",
    "make_model",
    "register_reward",
    "register_termination",
    "reward_function",
    "save",
    "termination_function",
]
