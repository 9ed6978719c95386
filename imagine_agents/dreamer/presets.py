"""How the published Dreamers learn to act."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEHAVIOURS", "Behaviour"]


@dataclass(frozen=True)
class Behaviour:
    """What the Dreamers' actor-critics differ in.

    Attributes:
        learning_rate: Of the world model,
        actor_scale: of the actor, in units of that,
        critic_scale: and of the critic.
        gamma: Discount.
        layers: Hidden layers of the actor and of the critic.
        through_dynamics: Whether the actor's gradient flows through imagined steps, or is REINFORCE's.
        ent_coef: Weight of the policy's entropy.
        tau: Rate at which the slow critic follows the critic; 0 where there is none.
        replay_value_coef: Weight of the critic's loss on real sequences.
        exploration_noise: Standard deviation of what is added to real continuous actions, in units of half their
            range; the chance of a random one among discrete actions.
    """

    learning_rate: float
    actor_scale: float
    critic_scale: float
    gamma: float
    layers: tuple[int, int]
    through_dynamics: bool
    ent_coef: float
    tau: float
    replay_value_coef: float
    exploration_noise: float


BEHAVIOURS: dict[str, Behaviour] = {
    "v1": Behaviour(
        learning_rate=6e-4,
        actor_scale=8e-5 / 6e-4,
        critic_scale=8e-5 / 6e-4,
        gamma=0.99,
        layers=(4, 3),
        through_dynamics=True,
        ent_coef=0.0,
        tau=0.0,
        replay_value_coef=0.0,
        exploration_noise=0.3,
    ),
    "v3": Behaviour(
        learning_rate=4e-5,
        actor_scale=1.0,
        critic_scale=1.0,
        gamma=1 - 1 / 333,
        layers=(3, 3),
        through_dynamics=False,
        ent_coef=3e-4,
        tau=0.02,
        replay_value_coef=0.3,
        exploration_noise=0.0,
    ),
}
