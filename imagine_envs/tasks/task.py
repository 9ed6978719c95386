"""What a task is: arrays in, arrays out, many episodes side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from imagine_envs.tasks.randomness import seed_rows

__all__ = ["BatchedTask", "State"]

State = dict[str, NDArray[Any]]
"""A flat dict of arrays ``[B, …]``, one row for each episode, changed in place.

It holds everything that decides what happens next, the row's random numbers included: who copies the arrays has cloned
the episodes, and equal arrays go on equally, to the bit. Types are those that torch has too (bool, uint8, int8 to
int64, float32, float64).
"""


_WHOLE_SEED = 2**64 - 1


class BatchedTask(ABC):
    """The rules of one task, for a batch of episodes; it holds no episode itself.

    The rules only say what a step does. Seeds, step limits, autoreset, infos and windows belong to the faces
    (:class:`~imagine_envs.tasks.TaskEnv`, :class:`~imagine_envs.tasks.TaskVectorEnv`,
    :class:`~imagine_envs.world_models.PerfectModel`), which are the same for all tasks.

    Methods do their work in numba kernels that loop over rows; none may depend on what other rows hold. Keyword
    arguments of a task's constructor are those of ``gymnasium.make``.

    Attributes:
        observation_space: Of one row: a Box or a Discrete, ``[…]``.
        action_space: Of one row: a Discrete that starts at 0, or a Box ``[A]``.
        action_names: What each action is called (of a Box: each of its components). "up", "down", "left", "right" are
            played with the arrow keys, "noop" with the space bar.
        max_steps: Steps after which an episode is truncated, None without a limit.
        markov: Whether an observation tells all there is to know, apart from the random numbers to come.
        reset_options: Keys that :meth:`reset` understands in its options.
        frames_per_second: Steps a second when a person plays, None where the task waits for its player.
        env_class: The task's ``Env``, as "module:Class": a :class:`~imagine_envs.tasks.TaskEnv`.
        backends: Other engines that play the task, for :mod:`imagine_envs.tasks.backends`: name → the extra of this
            package that installs it, and where its environment is, as "module:Class".
        replay_columns: What of a step's info experience is to remember: name → shape (without the batch) and type.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Discrete | spaces.Box
    max_steps: int | None
    action_names: ClassVar[tuple[str, ...]]
    markov: bool = True
    frames_per_second: int | None = None
    reset_options: ClassVar[tuple[str, ...]] = ()
    env_class: ClassVar[str] = "imagine_envs.tasks.env:TaskEnv"
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {}
    replay_columns: ClassVar[Mapping[str, tuple[tuple[int, ...], Any]]] = {}

    @abstractmethod
    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """Shape (without the batch) and type of each array of a :data:`State`, except ``random``."""

    def allocate(self, batch_size: int) -> State:
        """A state of zeros, which :meth:`reset` makes into episodes.

        ``random`` (int64 ``[B]``) holds the random numbers to come, see :mod:`imagine_envs.tasks.randomness`.
        """
        state = {name: np.zeros((batch_size, *shape), dtype) for name, (shape, dtype) in self.arrays().items()}
        return {**state, "random": np.zeros(batch_size, np.int64)}

    def seed(self, state: State, rows: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Starts the random numbers of ``rows`` anew, each from its own seed (not negative, of any size)."""
        seed_rows(state["random"], rows, np.array([seed & _WHOLE_SEED for seed in seeds], np.uint64))

    @abstractmethod
    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Begins new episodes in ``rows``, with random numbers from those rows alone.

        Args:
            state: Changed in place. What these rows held before may still count (a clock over all episodes); in rows
                that were seeded just now it is zero.
            rows: int64 ``[R]``.
            options: With keys of :attr:`reset_options` only, checked by the face; values are for the task to check.
        """

    @abstractmethod
    def step(
        self, state: State, action: NDArray[Any], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Takes one step in every row, without step limit and without reset.

        It must be safe, though it need not make sense, in rows whose episode has terminated.

        Args:
            state: Changed in place.
            action: int64 ``[B]`` within a Discrete; of a Box float32 ``[B, A]``, finite, perhaps beyond its bounds.
            reward: float64 ``[B]``, to be written in every row.
            terminated: bool ``[B]``, to be written in every row.
        """

    @abstractmethod
    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Writes the observations of ``rows`` into these rows of ``out``, ``[B, …]``, whatever stood there before."""

    def refresh(self, state: State, out: NDArray[Any]) -> None:
        """Writes all observations into ``out`` after a :meth:`step`.

        ``out`` still holds the observations of before that step, so that a task whose steps change a few cells need
        not write the others again. By default everything is written.
        """
        self.observe(state, np.arange(len(out)), out)

    def recall(self, state: State, observation: NDArray[Any]) -> None:
        """Makes every row of ``state`` show ``observation`` ``[B, …]``; what an observation does not tell stays.

        Raises:
            NotImplementedError: If observations of this task tell too little.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot tell its state from an observation")

    def info(self, state: State) -> dict[str, NDArray[Any]]:
        """What a step's info holds, ``[B, …]`` each; the arrays are copied by the face."""
        return {}

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What the info of a reset holds, ``[R, …]`` each."""
        return {}

    @abstractmethod
    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """A picture of one row, uint8 ``[H, W, 3]``, drawn without a display.

        Args:
            state: Of any batch.
            row: Which row of it.
            size: Pixels that the longer side should have; the nearest size at which cells are whole is taken.
        """

    def status(self, state: State, row: int) -> str:
        """What a player wants to know besides the picture, such as ``"level 12   boxes 1/4"``."""
        return ""

    @property
    def keys(self) -> dict[str, int]:
        """Key of the keyboard, as pygame names it ("up", "space", "x"), → action, or component of a Box."""
        key_of = {name: name for name in ("up", "down", "left", "right")} | {"noop": "space"}
        return {key_of[name]: action for action, name in enumerate(self.action_names) if name in key_of}

    def action_of(self, held: Collection[str], last: Any) -> Any:
        """What a player does who holds these keys, in a task that does not wait (:attr:`frames_per_second`).

        Args:
            held: Keys as in :attr:`keys`, those pressed first come first; others may be among them.
            last: What he did in the step before, None in the first.
        """
        chosen = [self.keys[key] for key in held if key in self.keys]
        idle = self.action_names.index("noop") if "noop" in self.action_names else 0
        return chosen[-1] if chosen else idle
