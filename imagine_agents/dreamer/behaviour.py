"""Learning to act from imagined sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imagine_agents.dreamer.policies import DreamerPolicy
from imagine_agents.dreamer.returns import lambda_returns
from imagine_envs.experience import Batch
from imagine_envs.world_models import State

__all__ = ["Imagined", "actor_loss", "critic_loss", "imagine", "replay_value_loss"]


@dataclass(frozen=True)
class Imagined:
    """Sequences that were dreamed from N real states, time first.

    Attributes:
        features: Of the states 0 … H, ``[H + 1, N, F]``.
        policy: The parameters of the actor's distribution in the states 0 … H − 1: ``[H, N, P]``.
        action: Encoded, as sampled from it: ``[H, N, A]``.
        reward: On arriving in the states 1 … H: ``[H, N]``.
        going_on: γ times the probability that the episode goes on from the states 1 … H: ``[H, N]``.
        judged: The critic's parameters in the states 0 … H,
        value: and the values that they stand for: ``[H + 1, N]``.
        returns: λ-returns of the states 0 … H − 1: ``[H, N]``.
        weight: How likely it is (discounted) that the states 0 … H − 1 are reached: ``[H, N]``.
    """

    features: Tensor
    policy: Tensor
    action: Tensor
    reward: Tensor
    going_on: Tensor
    judged: Tensor
    value: Tensor
    returns: Tensor
    weight: Tensor


def imagine(
    policy: DreamerPolicy,
    starts: State,
    ended: Tensor,
    horizon: int,
    gamma: float,
    gae_lambda: float,
    generator: torch.Generator,
) -> Imagined:
    """Dreams ``horizon`` steps from every start, acting as the policy does.

    Actor and critic are differentiable. Where the actor learns through the dynamics, so is everything else but the
    states that the actor sees (an action is chosen for a state, and does not choose the state that it is chosen in).

    Args:
        policy: Actor, critic and world.
        starts: Filtered states ``[N, …]``, detached.
        ended: Whether the episode ended in them, bool ``[N]``: what is dreamed from there has no weight.
        horizon: H.
        gamma: Discount.
        gae_lambda: λ.
        generator: Of actions and latents.
    """
    world, actions, count = policy.world, policy.actions, len(ended)
    noise = world.latent.noise((horizon, count), ended.device, generator)
    chance = actions.noise((horizon, count), ended.device, generator)
    with torch.set_grad_enabled(policy.behaviour.through_dynamics):
        state, features, chosen, taken = starts, [world.features(starts)], [], []
        for t in range(horizon):
            with torch.enable_grad():
                chosen.append(policy.actor(features[-1].detach()))
            action = actions.sample(chosen[-1], chance[t])
            state = world.dream(state, policy.within_bounds(action), noise[t])
            features.append(world.features(state))
            taken.append(action)
        stacked = torch.stack(features)
        prediction = world.predict(stacked[1:])
        going_on = gamma * (1 - prediction.terminated)
        alive = (~ended).to(going_on.dtype)[None]
        weight = torch.cat([alive, going_on[:-1]]).cumprod(0).detach()
        with torch.enable_grad():
            judged = policy.critic(stacked)
        value = policy.critic.mean(judged)
        returns = lambda_returns(prediction.reward, going_on, value[1:], gae_lambda)
    return Imagined(
        features=stacked,
        policy=torch.stack(chosen),
        action=torch.stack(taken),
        reward=prediction.reward,
        going_on=going_on,
        judged=judged,
        value=value,
        returns=returns,
        weight=weight,
    )


def actor_loss(policy: DreamerPolicy, imagined: Imagined, ent_coef: float) -> tuple[Tensor, Tensor]:
    """What the actor minimises, and its entropy.

    Through the dynamics (Dreamer V1, equation 7): −R − η H(π); the gradient of R reaches the actions by way of the
    states. REINFORCE (DreamerV3, "Actor learning"): −sg((R − v) / max(1, S)) log π(a | s) − η H(π).
    """
    through_dynamics = policy.behaviour.through_dynamics
    if through_dynamics and not ent_coef:  # the paper's, which needs no more of the actor
        return -(imagined.weight * imagined.returns).mean(), imagined.returns.new_zeros(())
    entropy = policy.actions.entropy(imagined.policy)
    if through_dynamics:
        gain = imagined.returns
    else:
        advantage = (imagined.returns - imagined.value[:-1]) / policy.return_range.scale
        gain = advantage * policy.actions.log_prob(imagined.policy, imagined.action)
    return -(imagined.weight * (gain + ent_coef * entropy)).mean(), entropy.detach().mean()


def critic_loss(policy: DreamerPolicy, imagined: Imagined) -> Tensor:
    """−log p(R | s) of the imagined states, and a pull towards the slow critic.

    Source: Dreamer V1, equation 8; DreamerV3, "Critic learning".
    """
    features = imagined.features[:-1].detach()
    through_dynamics = policy.behaviour.through_dynamics  # then the critic's graph is the actor's
    judged = policy.critic(features) if through_dynamics else imagined.judged[:-1]
    return (imagined.weight * _distance(policy, features, judged, imagined.returns.detach())).mean()


def replay_value_loss(
    policy: DreamerPolicy, features: Tensor, batch: Batch, imagined: Imagined, gamma: float, gae_lambda: float
) -> Tensor:
    """The critic's loss on real sequences, bootstrapped from the imagined returns of each state.

    The gradient reaches the world model: states are shaped by what they are worth.

    Source: DreamerV3, section "Critic learning" (replay loss).

    Args:
        policy: Critic and slow critic.
        features: Of the filtered states, ``[B, T, F]``.
        batch: The real windows ``[B, T]``.
        imagined: What was dreamed from those states, row b · T + t from record t of window b.
        gamma: Discount.
        gae_lambda: λ.
    """
    value = imagined.returns[0].reshape(batch.shape).T  # [T, B]
    reward, terminated, first = batch.reward.T, batch.terminated.T, batch.first.T
    # Record t + 1 is what record t led to, unless an episode begins there. Where the one after it does, the sequence
    # ends with t + 1: its value is bootstrapped.
    followed = torch.cat([~first[2:], torch.zeros_like(first[:1])]).to(value.dtype)
    going_on = gamma * (~terminated[1:]).to(value.dtype)
    returns = lambda_returns(reward[1:], going_on, value[1:], gae_lambda * followed)
    leads_on = (~first[1:]).to(value.dtype)
    features = features[:, :-1].transpose(0, 1)
    return (leads_on * _distance(policy, features, policy.critic(features), returns)).mean()


def _distance(policy: DreamerPolicy, features: Tensor, judged: Tensor, returns: Tensor) -> Tensor:
    """Of what the critic says in states from their returns, and from what the slow critic says: ``[…]``."""
    targets = [returns]
    if policy.slow_critic is not None:
        with torch.no_grad():
            targets.append(policy.slow_critic.mean(policy.slow_critic(features)))
    return policy.critic.loss(judged, *targets)
