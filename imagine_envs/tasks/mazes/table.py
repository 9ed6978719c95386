"""A finite Markov decision process, given as tables, as a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.randomness import below, uniform
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.whole_numbers import check_whole

__all__ = ["TableTask"]


class TableTask(BatchedTask):
    """Steps by looking up tables; the tables are public, so that planners and tests can have the exact model.

    By default an observation is the number of the state (a Discrete): that is what tabular agents index by, and SB3's
    policies can train on it, since they see it one-hot. ``observation="coordinates"`` shows the state's place instead,
    scaled to [−1, 1], which generalises between neighbours.

    Args:
        successors: int ``[V, S, A, K]``; one of the K is drawn, each equally likely.
        rewards: float ``[V, S, A, K]``, received with that successor.
        terminal: bool ``[S]``; arriving there terminates.
        start: State in which every episode begins.
        observation: "index" or "coordinates".
        coordinates: float ``[S, F]`` within [−1, 1], distinct in each row; None where states have no place.
        switches: When the tables change: variant v + 1 rules from the step ``switches[v]`` on, counted from 0 over the
            whole life of a row, across episodes. ``reset(seed=…)`` begins a new life.
        termination: Probability with which a step ends the episode besides, without a reward, in the last state.
        max_steps: Step limit; None for none.

    Raises:
        ValueError: If ``observation`` is not known or ``max_steps`` is no step limit.
    """

    def __init__(
        self,
        successors: NDArray[np.integer[Any]],
        rewards: NDArray[np.floating[Any]],
        terminal: NDArray[np.bool_],
        *,
        start: int,
        observation: str = "index",
        coordinates: NDArray[np.floating[Any]] | None = None,
        switches: tuple[int, ...] = (),
        termination: float = 0.0,
        max_steps: int | None = None,
    ) -> None:
        check_whole("max_steps", max_steps, or_none=True)
        known = ("index",) if coordinates is None else ("index", "coordinates")
        if observation not in known:
            raise ValueError(f"observation={observation!r} must be one of {', '.join(map(repr, known))}")
        self.successors = np.array(successors, np.int64, order="C")
        self.rewards = np.array(rewards, np.float64, order="C")
        self.terminal = np.array(terminal, bool)
        self.start = start
        self.switches = np.array(switches, np.int64)
        self.termination = float(termination)
        self.max_steps = max_steps
        self.markov = not switches
        self._coordinates: NDArray[np.float32] | None = None
        self.observation_space = spaces.Discrete(len(self.terminal))
        if observation == "coordinates":
            assert coordinates is not None
            self._coordinates = np.ascontiguousarray(coordinates, np.float32)
            self.observation_space = spaces.Box(-1.0, 1.0, (self._coordinates.shape[1],), np.float32)
        self.action_space = spaces.Discrete(self.successors.shape[2])

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The number of the state, and the steps of the row's whole life."""
        return {"state": ((), np.int64), "life": ((), np.int64)}

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Every episode begins at the start."""
        state["state"][rows] = self.start

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Looks up what follows."""
        _step(
            state["state"],
            state["life"],
            state["random"].view(np.uint64),
            action,
            self.successors,
            self.rewards,
            self.terminal,
            self.switches,
            self.termination,
            reward,
            terminated,
        )

    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """The number of the state, or its place."""
        index = state["state"][rows]
        out[rows] = index if self._coordinates is None else self._coordinates[index]

    def refresh(self, state: State, out: NDArray[Any]) -> None:
        """The same of all rows, with fewer copies."""
        if self._coordinates is None:
            out[:] = state["state"]
        else:
            np.take(self._coordinates, state["state"], axis=0, out=out)

    def recall(self, state: State, observation: NDArray[Any]) -> None:
        """The state of that number, or the one nearest to that place."""
        if self._coordinates is None:
            state["state"][:] = observation
        else:
            for row, place in enumerate(observation):
                state["state"][row] = np.abs(self._coordinates - place).sum(1).argmin()

    def variant(self, state: State, row: int) -> int:
        """Which of the tables rules the next step."""
        return int(np.searchsorted(self.switches, state["life"][row], side="right"))


@njit(cache=True)
def _step(
    index: Any,
    life: Any,
    random: Any,
    action: Any,
    successors: Any,
    rewards: Any,
    terminal: Any,
    switches: Any,
    termination: float,
    reward: Any,
    terminated: Any,
) -> None:
    branches = successors.shape[3]
    for row in range(len(index)):
        variant = 0
        while variant < len(switches) and life[row] >= switches[variant]:
            variant += 1
        branch = below(random, row, branches) if branches > 1 else 0
        before = index[row]
        index[row] = successors[variant, before, action[row], branch]
        reward[row] = rewards[variant, before, action[row], branch]
        terminated[row] = terminal[index[row]]
        if termination > 0 and uniform(random, row) < termination:
            index[row] = len(terminal) - 1
            reward[row] = 0.0
            terminated[row] = True
        life[row] += 1
