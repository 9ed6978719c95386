"""ME-TRPO's stop rule: go on only while most members of the ensemble report improvement."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from imagine_envs.dreams import Dream
from imagine_envs.dreams.fidelity_returns import PolicyOf, dream_returns
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models import World

__all__ = ["MemberValidation"]


class MemberValidation(BaseCallback):
    """Stops training in a dream when too few members of the ensemble say that the policy got better.

    Every ``every`` imagined steps (if it was updated in between) the deterministic policy is played in a dream of each
    member alone, from the same real resets and with the same random numbers as before. A member reports improvement if
    the mean return rose since the last validation.

    Source: Kurutach et al., "Model-ensemble trust-region policy optimization" (ICLR 2018), on policy validation: go on
    while the policy improves in more than 70 % of the models. The paper validates after every five updates and bears
    with a few failures; here every validation should span many updates, and the first failure stops. (ARS does not
    listen to callbacks that want to stop.)

    Args:
        world: A world whose model has members.
        threshold: The fraction of members that must report improvement.
        every: Imagined steps between two validations.
        num_dreams: Dreams for each member.
        horizon: Their horizon; None is the environment's step limit.
        seed: Of the validation dreams.

    Attributes:
        ratio: The fraction of members that reported improvement last time (1 before the first time).

    Raises:
        ValueError: If the world has no members, or a number makes no sense.
    """

    def __init__(
        self,
        world: World,
        *,
        threshold: float = 0.7,
        every: int = 50_000,
        num_dreams: int = 16,
        horizon: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold} must be a fraction of the members in (0, 1]")
        for name, count in (("every", every), ("num_dreams", num_dreams), ("horizon", horizon)):
            check_whole(name, count, or_none=True)
        self.threshold, self.every, self.seed = threshold, every, seed
        members = getattr(world.model, "members", None)
        if members is None:
            raise ValueError(
                f"the stop rule needs an ensemble; a world of family {world.model.family!r} has no members"
            )
        self.ratio = 1.0
        self._worlds = [world.member(index) for index in range(members)]
        self._horizon = horizon or Dream(world).horizon
        self._num_dreams = num_dreams
        self._before: np.ndarray | None = None
        self._next = self._updates = 0

    def _on_training_start(self) -> None:
        self._await_next(self._returns())

    def _on_step(self) -> bool:
        if self.num_timesteps < self._next or self.model._n_updates == self._updates:
            return True  # a policy that has not been updated cannot have improved
        assert self._before is not None
        now = self._returns()
        self.ratio = float((now > self._before).mean())
        self.logger.record("validation/improved_members", self.ratio)
        self.logger.record("validation/ep_rew_mean", float(now.mean()))
        self._await_next(now)
        return self.ratio >= self.threshold

    def _await_next(self, returns: np.ndarray) -> None:
        self._before, self._updates = returns, self.model._n_updates
        self._next = self.num_timesteps + self.every

    def _returns(self) -> np.ndarray:
        """The policy's mean return in the dreams of each member, ``[M]``."""
        means = []
        for world in self._worlds:
            policy = PolicyOf(self.model, world, deterministic=True, seed=self.seed)
            returns, _ = dream_returns(
                world, policy, dreams=self._num_dreams, horizon=self._horizon, seed=self.seed, progress=False
            )
            means.append(np.mean(returns))
        return np.array(means)
