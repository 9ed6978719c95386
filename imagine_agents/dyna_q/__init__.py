"""Dyna-Q: a table of values, learned from real steps and from imagined ones."""

from imagine_agents.dyna_q.dyna_q import DynaQ
from imagine_agents.dyna_q.policies import TabularPolicy

__all__ = ["DynaQ", "TabularPolicy"]
