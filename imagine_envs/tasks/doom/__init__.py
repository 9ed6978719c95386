"""Doom: four scenarios of ViZDoom, native and in the real engine (``backend="vizdoom"``)."""

from imagine_envs.tasks.doom.basic import Basic
from imagine_envs.tasks.doom.health_gathering import HealthGathering
from imagine_envs.tasks.doom.my_way_home import MyWayHome
from imagine_envs.tasks.doom.take_cover import TakeCover

__all__ = ["Basic", "HealthGathering", "MyWayHome", "TakeCover"]
