"""Classic control as pure functions on batches of tensors, exact against Gymnasium's own environments.

Each port follows the formulas, the order of operations and the precision of the environment that it stands for, so
that a step agrees with the real one to the last bit of the float32 observation and reward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from torch import Tensor

__all__ = ["TASKS", "Acrobot", "CartPole", "MountainCarContinuous", "Pendulum", "Task", "task"]


@dataclass(frozen=True)
class Task(ABC):
    """The physics of one environment; the fields are the environment's keyword arguments.

    All methods are pure and work on any leading batch shape and device. States are float64 (``[…, S]``), as in
    Gymnasium; :meth:`reward` and :meth:`terminated` take float32 too, and keep the precision they are given.

    Attributes:
        canvas: Width and height in pixels of the pictures that the environment draws.
    """

    canvas: ClassVar[tuple[int, int]]

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step, without autoreset.

        Args:
            state: float64 ``[B, S]``.
            action: int64 ``[B]`` (Discrete) or float32 ``[B, A]`` (Box).

        Returns:
            The next state ``[B, S]``, the reward ``[B]`` (float64) and the termination ``[B]`` (bool).
        """
        next_state = self.dynamics(state, action)
        return next_state, self.reward(state, action, next_state), self.terminated(next_state)

    @abstractmethod
    def dynamics(self, state: Tensor, action: Tensor) -> Tensor:
        """The next state, ``[B, S]``."""

    @abstractmethod
    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The reward of a step, ``[B]``, from the state before it and the state after it."""

    @abstractmethod
    def terminated(self, next_state: Tensor) -> Tensor:
        """Whether the episode ended on arriving in a state, bool ``[B]``."""

    @abstractmethod
    def observation(self, state: Tensor) -> Tensor:
        """What the environment shows of a state, float32 ``[B, D]``."""

    @abstractmethod
    def state_of(self, observation: Tensor) -> Tensor:
        """The inverse of :meth:`observation`, ``[B, S]``, in the precision of ``observation``."""

    def set_state(self, env: gymnasium.Env[Any, Any], state: np.ndarray) -> None:
        """Puts a real environment, which must have been reset once, into ``state`` (``[S]``), e.g. to draw it."""
        env.unwrapped.state = np.array(state, dtype=np.float64)  # type: ignore[attr-defined]


def _float32(value: float) -> float:
    """The float32 nearest to ``value``: what NumPy compares a float32 with."""
    return float(np.float32(value))


@dataclass(frozen=True)
class CartPole(Task):
    """``CartPole-v1``: state and observation are (position, velocity, angle, angular velocity).

    Attributes:
        sutton_barto_reward: −1 on terminating and 0 before, in place of +1 for every step.
    """

    sutton_barto_reward: bool = False

    canvas = (600, 400)
    gravity: ClassVar[float] = 9.8
    mass_pole: ClassVar[float] = 0.1
    total_mass: ClassVar[float] = 0.1 + 1.0
    length: ClassVar[float] = 0.5
    force: ClassVar[float] = 10.0
    tau: ClassVar[float] = 0.02
    angle_limit: ClassVar[float] = 12 * 2 * math.pi / 360
    position_limit: ClassVar[float] = 2.4

    def dynamics(self, state: Tensor, action: Tensor) -> Tensor:
        """Explicit Euler: positions advance with the velocities of *before* the step."""
        x, x_dot, theta, theta_dot = state.unbind(-1)
        force = torch.where(action == 1, self.force, -self.force).to(state.dtype)
        cos, sin = theta.cos(), theta.sin()
        pole = self.mass_pole * self.length
        push = (force + pole * theta_dot.square() * sin) / self.total_mass
        theta_acc = (self.gravity * sin - cos * push) / (
            self.length * (4.0 / 3.0 - self.mass_pole * cos.square() / self.total_mass)
        )
        x_acc = push - pole * theta_acc * cos / self.total_mass
        return torch.stack(
            (
                x + self.tau * x_dot,
                x_dot + self.tau * x_acc,
                theta + self.tau * theta_dot,
                theta_dot + self.tau * theta_acc,
            ),
            -1,
        )

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """+1 for every step, the terminal one included."""
        if self.sutton_barto_reward:
            return -self.terminated(next_state).to(next_state.dtype)
        return torch.ones_like(next_state[..., 0])

    def terminated(self, next_state: Tensor) -> Tensor:
        """The cart left ±2.4 or the pole ±12°."""
        return (next_state[..., 0].abs() > self.position_limit) | (next_state[..., 2].abs() > self.angle_limit)

    def observation(self, state: Tensor) -> Tensor:
        """The state itself."""
        return state.to(torch.float32)

    def state_of(self, observation: Tensor) -> Tensor:
        """The observation itself."""
        return observation


@dataclass(frozen=True)
class Pendulum(Task):
    """``Pendulum-v1``: state (angle, angular velocity), observation (cos, sin, angular velocity).

    Attributes:
        g: Acceleration of gravity.
    """

    g: float = 10.0

    canvas = (500, 500)
    max_speed: ClassVar[float] = 8.0
    max_torque: ClassVar[float] = 2.0
    dt: ClassVar[float] = 0.05

    def _torque(self, action: Tensor) -> Tensor:
        return action[..., 0].clamp(-self.max_torque, self.max_torque)

    def dynamics(self, state: Tensor, action: Tensor) -> Tensor:
        """Semi-implicit Euler: the angle advances with the speed of *after* the step."""
        theta, theta_dot = state.unbind(-1)
        acceleration = 3 * self.g / 2 * theta.sin() + 3.0 * self._torque(action)
        theta_dot = (theta_dot + acceleration * self.dt).clamp(-self.max_speed, self.max_speed)
        return torch.stack((theta + theta_dot * self.dt, theta_dot), -1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Minus the cost of the state *before* the step and of the torque."""
        theta, theta_dot = state.unbind(-1)
        angle = (theta + math.pi).remainder(2 * math.pi) - math.pi
        return -(angle.square() + 0.1 * theta_dot.square() + 0.001 * self._torque(action).square())

    def terminated(self, next_state: Tensor) -> Tensor:
        """Never."""
        return torch.zeros_like(next_state[..., 0], dtype=torch.bool)

    def observation(self, state: Tensor) -> Tensor:
        """(cos θ, sin θ, θ')."""
        theta, theta_dot = state.unbind(-1)
        return torch.stack((theta.cos(), theta.sin(), theta_dot), -1).to(torch.float32)

    def state_of(self, observation: Tensor) -> Tensor:
        """The angle within ±π; the pair (cos, sin) need not have length 1."""
        cos, sin, theta_dot = observation.unbind(-1)
        return torch.stack((torch.atan2(sin, cos), theta_dot), -1)

    def set_state(self, env: gymnasium.Env[Any, Any], state: np.ndarray) -> None:
        """Sets the state, and forgets the last torque, whose arrow belongs to another picture."""
        super().set_state(env, state)
        env.unwrapped.last_u = None  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Acrobot(Task):
    """``Acrobot-v1``: state (θ1, θ2, θ1', θ2'), observation (cos θ1, sin θ1, cos θ2, sin θ2, θ1', θ2').

    Dynamics of Sutton & Barto's book, without torque noise. Both links: mass 1, length 1, centre of mass at 0.5,
    moment of inertia 1.
    """

    canvas = (500, 500)
    dt: ClassVar[float] = 0.2
    gravity: ClassVar[float] = 9.8
    center: ClassVar[float] = 0.5
    max_speed: ClassVar[tuple[float, float]] = (4 * math.pi, 9 * math.pi)

    def _derivative(self, state: Tensor, torque: Tensor) -> Tensor:
        theta1, theta2, dtheta1, dtheta2 = state.unbind(-1)
        lc, g = self.center, self.gravity
        cos2, sin2 = theta2.cos(), theta2.sin()
        d1 = lc**2 + (1 + lc**2 + 2 * lc * cos2) + 1 + 1
        d2 = (lc**2 + lc * cos2) + 1
        phi2 = lc * g * (theta1 + theta2 - math.pi / 2).cos()
        phi1 = (
            -lc * dtheta2.square() * sin2
            - 2 * lc * dtheta2 * dtheta1 * sin2
            + (lc + 1) * g * (theta1 - math.pi / 2).cos()
            + phi2
        )
        ddtheta2 = (torque + d2 / d1 * phi1 - lc * dtheta1.square() * sin2 - phi2) / (lc**2 + 1 - d2.square() / d1)
        ddtheta1 = -(d2 * ddtheta2 + phi1) / d1
        return torch.stack((dtheta1, dtheta2, ddtheta1, ddtheta2), -1)

    def dynamics(self, state: Tensor, action: Tensor) -> Tensor:
        """One step of fourth-order Runge–Kutta; then the angles are wrapped and the speeds bounded."""
        torque = (action - 1).to(state.dtype)
        half = self.dt / 2
        k1 = self._derivative(state, torque)
        k2 = self._derivative(state + half * k1, torque)
        k3 = self._derivative(state + half * k2, torque)
        k4 = self._derivative(state + self.dt * k3, torque)
        theta1, theta2, dtheta1, dtheta2 = (state + self.dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(-1)
        limit1, limit2 = self.max_speed
        return torch.stack(
            (_wrap(theta1), _wrap(theta2), dtheta1.clamp(-limit1, limit1), dtheta2.clamp(-limit2, limit2)), -1
        )

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """−1 for every step but the one that arrives."""
        return self.terminated(next_state).to(next_state.dtype) - 1

    def terminated(self, next_state: Tensor) -> Tensor:
        """The tip is higher than one link above the axis."""
        theta1, theta2 = next_state[..., 0], next_state[..., 1]
        return -theta1.cos() - (theta2 + theta1).cos() > 1.0

    def observation(self, state: Tensor) -> Tensor:
        """(cos θ1, sin θ1, cos θ2, sin θ2, θ1', θ2')."""
        theta1, theta2, dtheta1, dtheta2 = state.unbind(-1)
        return torch.stack((theta1.cos(), theta1.sin(), theta2.cos(), theta2.sin(), dtheta1, dtheta2), -1).to(
            torch.float32
        )

    def state_of(self, observation: Tensor) -> Tensor:
        """The angles within ±π; the pairs (cos, sin) need not have length 1."""
        cos1, sin1, cos2, sin2, dtheta1, dtheta2 = observation.unbind(-1)
        return torch.stack((torch.atan2(sin1, cos1), torch.atan2(sin2, cos2), dtheta1, dtheta2), -1)


def _wrap(angle: Tensor) -> Tensor:
    """Whole turns are taken off until the angle lies within [−π, π], where both ends may stay."""
    turn = 2 * math.pi
    above = ((angle - math.pi) / turn).ceil().clamp(min=0)
    below = ((-math.pi - angle) / turn).ceil().clamp(min=0)
    return angle - turn * above + turn * below


@dataclass(frozen=True)
class MountainCarContinuous(Task):
    """``MountainCarContinuous-v0``: state and observation are (position, velocity).

    The real environment computes in float32, except for the step that follows a reset, which starts from a float64
    position. Steps agree exactly for actions within the action space; beyond it the real environment clips the force
    into a Python float, and its velocity may differ in float32's last place.

    Attributes:
        goal_velocity: The speed that the car must have at the goal.
    """

    goal_velocity: float = 0.0

    canvas = (600, 400)
    power: ClassVar[float] = 0.0015
    min_position: ClassVar[float] = _float32(-1.2)
    max_position: ClassVar[float] = _float32(0.6)
    max_speed: ClassVar[float] = _float32(0.07)
    goal_position: ClassVar[float] = _float32(0.45)

    def dynamics(self, state: Tensor, action: Tensor) -> Tensor:
        """Gravity along the hill and the force; inelastic walls (the left one takes the velocity)."""
        position, velocity = state.unbind(-1)
        angle = 3 * position
        # A position straight from a reset has more digits than float32 holds, and there its angle is not rounded.
        angle = torch.where(position == _rounded(position), _rounded(angle), angle)
        force = self.power * action[..., 0].clamp(-1, 1).to(torch.float32)
        change = force - (0.0025 * angle.cos()).to(torch.float32)
        velocity = _rounded(velocity + change).clamp(-self.max_speed, self.max_speed)
        position = _rounded(position + velocity).clamp(self.min_position, self.max_position)
        stopped = (position == self.min_position) & (velocity < 0)
        return torch.stack((position, velocity.masked_fill(stopped, 0.0)), -1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """100 at the goal, minus 0.1 · action² (of the action as given, not as clipped)."""
        return 100.0 * self.terminated(next_state) - 0.1 * action[..., 0].to(next_state.dtype).square()

    def terminated(self, next_state: Tensor) -> Tensor:
        """The car is at the goal, and at least as fast as asked."""
        position, velocity = next_state.unbind(-1)
        return (position >= self.goal_position) & (velocity >= _float32(self.goal_velocity))

    def observation(self, state: Tensor) -> Tensor:
        """The state itself."""
        return state.to(torch.float32)

    def state_of(self, observation: Tensor) -> Tensor:
        """The observation itself."""
        return observation

    def set_state(self, env: gymnasium.Env[Any, Any], state: np.ndarray) -> None:
        """Sets the state in the environment's own float32."""
        env.unwrapped.state = np.array(state, dtype=np.float32)  # type: ignore[attr-defined]


def _rounded(value: Tensor) -> Tensor:
    """``value`` rounded to float32, in its own type: one rounded float64 sum equals the float32 sum."""
    return value.to(torch.float32).to(value.dtype)


TASKS: dict[str, Task] = {
    "CartPole-v1": CartPole(),
    "Pendulum-v1": Pendulum(),
    "Acrobot-v1": Acrobot(),
    "MountainCarContinuous-v0": MountainCarContinuous(),
}
"""The ported environments, by their Gymnasium id, with their default arguments."""


def task(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Task:
    """The port of an environment.

    Args:
        env_id: Its Gymnasium id.
        env_kwargs: Keyword arguments of its constructor. ``render_mode`` is ignored: it changes no physics.

    Raises:
        ValueError: If there is no port of ``env_id``, or it has no such keyword argument.

    Example:
        >>> task("Pendulum-v1", {"g": 9.81})
        Pendulum(g=9.81)
    """
    if env_id not in TASKS:
        raise ValueError(f"no tensor port of the environment {env_id!r}; there are ports of {', '.join(TASKS)}")
    arguments = {key: value for key, value in (env_kwargs or {}).items() if key != "render_mode"}
    known = {field.name: field.default for field in fields(TASKS[env_id])}
    for key, value in arguments.items():
        if key not in known:
            expected = f"only {', '.join(known)}" if known else "none"
            raise ValueError(f"the tensor port of {env_id} has no argument {key!r} (env_kwargs): it takes {expected}")
        if isinstance(known[key], bool):
            if not isinstance(value, bool):
                raise ValueError(f"env_kwargs[{key!r}] of {env_id} is {value!r}; True or False was expected")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"env_kwargs[{key!r}] of {env_id} is {value!r}; a finite number was expected")
    return replace(TASKS[env_id], **arguments)
