"""Planning at decision time: what each action is worth, asked of a world model just before it is taken."""

from imagine_agents.planners.lookahead import LookAhead
from imagine_agents.planners.planner import Planner, Policy, Value
from imagine_agents.planners.rollouts import Rollouts

__all__ = ["LookAhead", "Planner", "Policy", "Rollouts", "Value"]
