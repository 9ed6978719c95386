"""Random tasks: Sutton & Barto, section 8.6 (trajectory sampling), Figure 8.8."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.drawing import Color, Picture
from imagine_envs.tasks.mazes.table import TableTask
from imagine_envs.tasks.task import State
from imagine_envs.whole_numbers import check_whole

__all__ = ["TrajectorySampling"]

_MOST_DRAWN = 10
_PAPER, _INK, _NOW, _ARROW = (247, 245, 240), (64, 72, 88), (66, 120, 190), (196, 200, 208)
_POOR, _EVEN, _RICH = (214, 110, 62), (226, 226, 226), (74, 160, 104)


class TrajectorySampling(TableTask):
    """A random task with two actions, of which each leads to one of ``branching`` states, all equally likely.

    Successors are drawn with replacement from all states; the reward of each (state, action, successor) is drawn from
    N(0, 1). With probability 0.1 a step ends the episode instead, without a reward, in the terminal state, which has
    the last number. Episodes begin in state 0. ``successors`` and ``rewards`` (``[1, S + 1, 2, K]``) are the exact
    model, from which v(s₀) can be computed.

    Args:
        states: S, without the terminal state.
        branching: K.
        instance: Which of the random tasks; it has nothing to do with the seed of an episode.
        termination: Probability that a step ends the episode.
        max_steps: Step limit; chance ends every episode soon.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> env = gym.make("Imagine/TrajectorySampling-v0", states=10_000, branching=1, instance=7)
    """

    action_names: ClassVar[tuple[str, ...]] = ("left", "right")

    def __init__(
        self,
        *,
        states: int = 1_000,
        branching: int = 1,
        instance: int = 0,
        termination: float = 0.1,
        max_steps: int | None = None,
    ) -> None:
        for name, value, least in (("states", states, 1), ("branching", branching, 1), ("instance", instance, 0)):
            check_whole(name, value, least)
        if not 0 <= termination <= 1:
            raise ValueError(f"termination={termination!r} must be a probability")
        rng = np.random.default_rng(instance)
        successors = np.full((1, states + 1, 2, branching), states)
        rewards = np.zeros(successors.shape)
        successors[0, :-1] = rng.integers(states, size=(states, 2, branching))
        rewards[0, :-1] = rng.standard_normal((states, 2, branching))
        terminal = np.arange(states + 1) == states
        super().__init__(successors, rewards, terminal, start=0, termination=termination, max_steps=max_steps)

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """The state, and what its two actions may lead to; the colour of a successor tells its reward.

        Of more than ten successors the first ten are shown.
        """
        picture = Picture(10, 10, size=size, background=_PAPER)
        now = int(state["state"][row])
        if self.terminal[now]:
            picture.text(5, 5, "the end", 1.0, _INK)
            return picture.array()
        for action, side in ((0, -1), (1, 1)):
            knot = (5 + 2.5 * side, 4.2)
            picture.line((5, 1.8), knot, 0.1, _ARROW)
            count = min(_MOST_DRAWN, self.successors.shape[3])
            for branch in range(count):
                index = int(self.successors[0, now, action, branch])
                reward = float(self.rewards[0, now, action, branch])
                x = knot[0] + (branch - (count - 1) / 2) * 4.6 / max(count, 3)
                picture.line(knot, (x, 7.2), 0.06, _ARROW)
                radius = min(0.75, 2.1 / max(count, 3))
                picture.circle(x, 7.2, radius, _shade(reward))
                picture.text(x, 7.2, str(index), radius * 0.8, _INK)
                picture.text(x, 7.2 + radius + 0.35, f"{reward:+.1f}", min(0.5, radius * 0.8), _INK)
            picture.circle(*knot, 0.16, _INK)
            picture.text(knot[0] + 0.7 * side, 4.0, self.action_names[action], 0.5, _INK)
        picture.circle(5, 1.8, 0.95, _NOW)
        picture.text(5, 1.8, str(now), 0.8, _PAPER)
        return picture.array()

    def status(self, state: State, row: int) -> str:
        """The number of the state."""
        return f"state {int(state['state'][row]):,}"


def _shade(reward: float) -> Color:
    """From a poor reward (−2) over none to a rich one (2)."""
    share, end = min(abs(reward) / 2, 1.0), _RICH if reward > 0 else _POOR
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_EVEN, end, strict=True))
    return red, green, blue
