"""An ensemble of probabilistic MLPs (PETS, MBPO)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from imagine_envs.experience.batch import Batch
from imagine_envs.spaces import Observation
from imagine_envs.world_models.actions import ActionEncoder
from imagine_envs.world_models.known import reward_function, termination_function
from imagine_envs.world_models.protocol import Loss, Prediction, State, WorldModel
from imagine_envs.world_models.stacked_mlp import StackedMLP

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["Ensemble"]

# P(count <= k) of a Poisson(1) variable for k = 0, 1, …: online bagging's bootstrap (Oza & Russell, 2001).
_POISSON_1 = tuple(math.exp(-1) * sum(1 / math.factorial(i) for i in range(k + 1)) for k in range(6))

# Of the weights of the arrival networks, in units of their inputs' spread. Measured on CartPole: any value from 0.1 to
# 1 keeps the held-out cross-entropy of the mixture within a tenth of its best after 300 to 2,000 gradient steps.
_PRIOR_PRECISION = 0.3


class Ensemble(WorldModel):
    """Bootstrapped probabilistic MLPs for flat Box observations and Discrete or Box actions.

    Each member maps (observation, action) to a diagonal Gaussian over (Δobservation, reward), and the observation s'
    that was arrived at (kept within the space's bounds) to the probability p that the episode ended there, to the
    reward r_T in case it did, and to the valid actions where asked for. The reward is (1 − p) · r(s, a) + p · r_T(s'):
    what ends an episode is often paid like nothing else, and a single Gaussian would smear that over its neighbours.
    (Data without an end, or of nothing but ends, needs only one of the two: there, r(s, a) is the reward.)

    In a dream every row is computed by one randomly chosen elite member (trajectory sampling, TS1): the rows are dealt
    out to the elites in equal shares, so that a layer is one batched matrix product and no member is computed in vain.
    Every member is computed only when the uncertainty is asked for.

    The uncertainty is the members' disagreement: the root mean square, over the predicted quantities in units of
    their spread in the data, of the standard deviation of the members' means.

    Shapes: M members, E elites, B rows, D observation entries.

    Source: Chua et al., "Deep reinforcement learning in a handful of trials" (PETS, 2018), sections 3–4 and appendix
    A.1; Janner et al., "When to trust your model" (MBPO, 2019), appendix: 7 members, 5 elites, 4 × 200 swish units.

    Args:
        observation_space: Flat ``Box``.
        action_space: ``Discrete`` or flat ``Box``.
        members: Networks in the ensemble.
        elites: The best of them, by held-out error, that dreams are made of.
        hidden: Units of the hidden layers of the dynamics.
        arrival_hidden: Units of the hidden layers of what is predicted from the observation arrived at.
        bootstrap: Whether every member sees its own resampling of the data.
        reward: Name of a known reward function to use instead of a learned one.
        termination: Name of a known termination function to use instead of a learned one.
        action_mask: Whether to predict which actions are valid (the replay's ``action_mask`` column), for MaskablePPO.

    Raises:
        ValueError: If a space is not supported, or a number makes no sense.

    Example:
        >>> import gymnasium as gym
        >>> from imagine_envs.experience import collect
        >>> from imagine_envs.world_models import Ensemble, fit
        >>> env = gym.make("CartPole-v1")
        >>> world = fit(Ensemble(env.observation_space, env.action_space), collect(env, steps=500, seed=0))
    """

    family = "ensemble"
    markov = True
    has_uncertainty = True
    sequence_length = 2

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        members: int = 7,
        elites: int = 5,
        hidden: Sequence[int] = (200, 200, 200, 200),
        arrival_hidden: Sequence[int] = (64, 64),
        bootstrap: bool = True,
        reward: str | None = None,
        termination: str | None = None,
        action_mask: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not (isinstance(observation_space, spaces.Box) and len(observation_space.shape) == 1):
            raise ValueError(f"Ensemble needs a flat Box observation space, not {observation_space}")
        flat_box = isinstance(action_space, spaces.Box) and len(action_space.shape) == 1
        if not (isinstance(action_space, spaces.Discrete) or flat_box):
            raise ValueError(f"Ensemble needs a Discrete or a flat Box action space, not {action_space}")
        if not 1 <= elites <= members:
            raise ValueError(f"elites={elites} must lie between 1 and members={members}")
        for name, units in (("hidden", hidden), ("arrival_hidden", arrival_hidden)):
            if not units or min(units) < 1:
                raise ValueError(f"{name}={tuple(units)} must name at least one layer of at least one unit")
        if action_mask and not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_mask=True needs a Discrete action space, not {action_space}")
        self.members, self.elites, self.bootstrap = members, elites, bootstrap
        self.hidden, self.arrival_hidden = tuple(hidden), tuple(arrival_hidden)
        self.reward, self.termination, self.action_mask = reward, termination, action_mask
        self._reward_fn = None if reward is None else reward_function(reward)
        self._termination_fn = None if termination is None else termination_function(termination)

        self.actions = ActionEncoder(action_space)
        self._action_width = self.actions.width
        width = int(observation_space.shape[0])
        self._targets = width + 1  # Δobservation and reward
        self.dynamics = StackedMLP(members, [width + self._action_width, *hidden, 2 * self._targets])
        self.arrival = StackedMLP(members, [width, *arrival_hidden, 2 + (self._action_width if action_mask else 0)])
        self.max_log_variance = nn.Parameter(torch.full((members, 1, self._targets), 0.5))
        self.min_log_variance = nn.Parameter(torch.full((members, 1, self._targets), -10.0))

        # Statistics of the data, in the environment's units (see `prepare`).
        self.register_buffer("input_mean", torch.zeros(width + self._action_width))
        self.register_buffer("input_scale", torch.ones(width + self._action_width))
        self.register_buffer("target_mean", torch.zeros(self._targets))
        self.register_buffer("target_std", torch.ones(self._targets))
        self.register_buffer("terminal_reward_mean", torch.zeros(()))
        self.register_buffer("terminal_reward_std", torch.zeros(()))
        self.register_buffer("rewards_apart", torch.zeros(()))
        self.register_buffer("terminates", torch.zeros(()))
        self.register_buffer("count", torch.ones(()))
        # Which resampling of the data each member sees; it moves with the member when they are sorted (`conclude`).
        self.register_buffer("resampling", torch.arange(1.0, members + 1))
        low, high = torch.as_tensor(observation_space.low), torch.as_tensor(observation_space.high)
        self.register_buffer("_low", low.float(), persistent=False)
        self.register_buffer("_high", high.float(), persistent=False)
        self._note_buffers()
        self.register_load_state_dict_post_hook(self._note_buffers)

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_std: Tensor
    terminal_reward_mean: Tensor
    terminal_reward_std: Tensor
    rewards_apart: Tensor
    terminates: Tensor
    count: Tensor
    resampling: Tensor
    _low: Tensor
    _high: Tensor

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws fresh weights from torch's global generator and forgets every member."""
        self.dynamics.reset_parameters()
        self.arrival.reset_parameters()
        self.max_log_variance.fill_(0.5)
        self.min_log_variance.fill_(-10.0)

    @classmethod
    def for_replay(cls, replay: Replay, **kwargs: Any) -> Self:
        """Predicts action masks where the replay has them."""
        kwargs.setdefault("action_mask", "action_mask" in replay.columns)
        return super().for_replay(replay, **kwargs)

    # --- simulation -------------------------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> State:
        """Zeros ``[B, D]``: nothing was seen yet."""
        return {"observation": self.input_mean.new_zeros(batch_size, self._targets - 1)}

    def observe(
        self,
        state: State,
        action: Tensor,
        observation: Observation,
        first: Tensor,
        *,
        sample: bool = True,
        generator: torch.Generator | None = None,
    ) -> State:
        """Takes the observation as it is: the state is Markov."""
        assert isinstance(observation, Tensor)
        return {"observation": observation.to(torch.float32)}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """One step of one random elite per row; see :meth:`WorldModel.imagine`."""
        observation = state["observation"]
        inputs = self._inputs(self._raw_inputs(observation, action))
        deal = _Deal(inputs.shape[0], self.elites, generator, inputs.device)
        noise = deal.draw(self._targets)
        if temperature != 1:
            noise = temperature * noise
        output = self.dynamics(deal.out(inputs), deal.start, deal.stop)
        target = deal.back(self._sampled(output, noise, deal.start, deal.stop))
        next_observation = torch.clamp(observation + target[:, :-1], self._low, self._high)
        rest = None
        if self._needs_arrival:
            arrived = deal.out(self._arrived(next_observation))
            rest = deal.back(self.arrival(arrived, deal.start, deal.stop))
        disagreement = self._disagreement(inputs) if uncertainty else None
        prediction = self._prediction(observation, action, next_observation, target[:, -1], rest, disagreement)
        return {"observation": next_observation}, prediction

    def features(self, state: State) -> Tensor:
        """The observation ``[B, D]``."""
        return state["observation"]

    def decode(self, state: State) -> Tensor:
        """The observation ``[B, D]``, clipped to the space."""
        return torch.clamp(state["observation"], self._low, self._high)

    def member(self, index: int) -> Ensemble:
        """Member ``index`` (0 is the best after a fit) as an ensemble of one that shares its weights.

        Raises:
            ValueError: If there is no such member.
        """
        if not 0 <= index < self.members:
            raise ValueError(f"member({index}): this ensemble has members 0 to {self.members - 1}")
        single = Ensemble(
            self.observation_space, self.action_space, **{**self.hyperparameters(), "members": 1, "elites": 1}
        ).to(self.device)
        for name, parameter in self.named_parameters():
            holder, _, attribute = name.rpartition(".")
            view = nn.Parameter(parameter.detach()[index : index + 1], requires_grad=parameter.requires_grad)
            setattr(single.get_submodule(holder), attribute, view)
        for name, buffer in self.named_buffers():
            holder, _, attribute = name.rpartition(".")
            setattr(single.get_submodule(holder), attribute, buffer)
        single.resampling = self.resampling[index : index + 1]
        single._note_buffers()
        return single.train(self.training)

    # --- learning ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, replay: Replay) -> None:
        """Sets the statistics from the data; says aloud if no episode in it ends.

        Warns:
            UserWarning: If the data holds no termination: the dream of such a world never terminates.

        Raises:
            ValueError: If ``action_mask`` is asked for and the replay has no such column.
        """
        data = replay.transitions().to(self.device)
        if self.action_mask and "action_mask" not in data.columns:
            raise ValueError("action_mask=True needs a replay with an action_mask column; this one has none")
        inputs, targets = self._raw_inputs(_flat(data.observation)[:, 0], data.action[:, 1]), self._raw_targets(data)
        mean, std = inputs.mean(0), inputs.std(0, correction=0)
        mean[-self._action_width :].masked_fill_(self.actions.bounded, 0)  # those are scaled by their space
        std[-self._action_width :].masked_fill_(self.actions.bounded, 1)
        self.input_mean.copy_(mean)
        self.input_scale.copy_(torch.where(std > 1e-6, 1 / std.clamp_min(1e-12), 1.0))
        # What is constant in the data is predicted exactly: its spread is zero.
        center, spread = _center_and_spread(targets)
        ended = data.terminated[:, 1]
        terminal_center = terminal_spread = torch.zeros_like(center[-1:])
        self.rewards_apart.fill_(float(ended.any() and not ended.all()))
        if self.rewards_apart:
            terminal_center, terminal_spread = _center_and_spread(targets[ended, -1:])
            center[-1:], spread[-1:] = _center_and_spread(targets[~ended, -1:])
        self.target_mean.copy_(center)
        self.target_std.copy_(spread)
        self.terminal_reward_mean.copy_(terminal_center[0])
        self.terminal_reward_std.copy_(terminal_spread[0])
        self.count.fill_(float(len(targets)))
        self.terminates.fill_(float(ended.any()))
        self._note_buffers()
        if self._termination_fn is None and not self._ends:
            warnings.warn(
                f"none of the {len(data.terminated)} transitions terminates: this world will never terminate an "
                "episode (only its horizon will end one)",
                stacklevel=2,
            )

    def loss(self, batch: Batch, *, generator: torch.Generator | None = None) -> Loss:
        """Gaussian negative log-likelihood, bounds of the variance, cross-entropy of the termination, terminal rewards.

        PETS, appendix A.1: −log N(y; μ, σ²) = ½ [(μ − y)² / σ² + log σ²] with soft bounds on log σ² that are themselves
        learned under a small penalty. Where rewards are learned apart, the Gaussian's is that of steps after which the
        episode went on, and the terminal reward is learned where it ended, by ½ (μ − y)².
        """
        transitions = _pairs(batch)
        mean, log_variance, target = self._predicted(transitions)
        weight = (~transitions.first[:, 1]).float().expand(self.members, -1)
        if self.bootstrap:
            weight = weight * self._bootstrap_weights(transitions.index[:, 1])
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1.0)  # [M, N]

        counted = self._counted(transitions)
        error = (mean - target).square() * counted
        nll = (0.5 * (error * (-log_variance).exp() + log_variance) * counted).sum(-1)
        bound = 0.01 * (self.max_log_variance - self.min_log_variance).sum(-1).mean()
        total = (nll * weight).sum(1).mean() + bound
        metrics = {"nll": total.detach(), "mse": (error.mean(-1) * weight).sum(1).mean().detach()}

        rest = self.arrival(self._arrived(_flat(transitions.observation)[:, 1]).expand(self.members, -1, -1))
        terminated = transitions.terminated[:, 1].float().expand(self.members, -1)
        cross_entropy = F.binary_cross_entropy_with_logits(rest[..., 0], terminated, reduction="none")
        # Without a single example the logit would be pushed down forever; such a world never terminates anyway.
        termination = (cross_entropy * weight).sum(1).mean() * self.terminates
        total, metrics["termination"] = total + termination, termination.detach()
        varying = self.terminal_reward_std > 0
        terminal_reward = transitions.reward[:, 1] - self.terminal_reward_mean
        terminal_reward = terminal_reward / torch.where(varying, self.terminal_reward_std, 1.0)
        terminal = 0.5 * (rest[..., 1] - terminal_reward).square() * varying
        total = total + (terminal * terminated * weight).sum(1).mean()
        # Terminations are few: a Gaussian prior on these weights (a MAP estimate, so its weight is 1 / N) keeps every
        # member unsure where it has seen nothing, and the mixture calibrated however long it is trained.
        squares = sum(weights.square().sum() for weights in self.arrival.weights)
        total = total + _PRIOR_PRECISION * squares / (2 * self.members * self.count)
        if self.action_mask:
            valid = transitions.columns["action_mask"][:, 1].float().expand(self.members, -1, -1)
            masks = F.binary_cross_entropy_with_logits(rest[..., 2:], valid, reduction="none").mean(-1)
            mask_loss = (masks * weight).sum(1).mean()
            total, metrics["action_mask"] = total + mask_loss, mask_loss.detach()
        return Loss(total, metrics)

    @torch.no_grad()
    def validate(self, batch: Batch) -> Tensor:
        """Mean squared error of (Δobservation, reward) in units of the data's spread: ``[M]``.

        The termination and what it pays have no say: where it is rare, its held-out cross-entropy is mostly noise, and
        the mixture of the bootstrapped members stays calibrated where a single network would overfit.
        """
        transitions = _pairs(batch)
        mean, _, target = self._predicted(transitions)
        error = ((mean - target).square() * self._counted(transitions)).sum(-1)
        error = error / (self.target_std > 0).sum().clamp_min(1)
        valid = (~transitions.first[:, 1]).float()
        return (error * valid).sum(1) / valid.sum().clamp_min(1.0)

    @torch.no_grad()
    def conclude(self, errors: Tensor) -> None:
        """Sorts the members by held-out error, so that the elites are the first ones."""
        order = errors.argsort()
        for tensor in (*self.parameters(), self.resampling):
            tensor.copy_(tensor[order])

    # --- storage ----------------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's keyword arguments."""
        return {
            "members": self.members,
            "elites": self.elites,
            "hidden": list(self.hidden),
            "arrival_hidden": list(self.arrival_hidden),
            "bootstrap": self.bootstrap,
            "reward": self.reward,
            "termination": self.termination,
            "action_mask": self.action_mask,
        }

    # --- the network ------------------------------------------------------------------------------------------------

    def _raw_inputs(self, observation: Tensor, action: Tensor) -> Tensor:
        """Observation and action side by side, ``[B, I]``; Discrete actions one-hot, bounded ones in [−1, 1]."""
        return torch.cat([observation, self.actions(action)], 1)

    def _inputs(self, raw: Tensor) -> Tensor:
        return (raw - self.input_mean) * self.input_scale

    def _arrived(self, observation: Tensor) -> Tensor:
        width = self._targets - 1
        return (observation - self.input_mean[:width]) * self.input_scale[:width]

    @staticmethod
    def _raw_targets(transitions: Batch) -> Tensor:
        """(Δobservation, reward) ``[B, D + 1]`` in the environment's units."""
        observation = _flat(transitions.observation)
        return torch.cat([observation[:, 1] - observation[:, 0], transitions.reward[:, 1:]], 1)

    def _sampled(self, output: Tensor, noise: Tensor, start: int, stop: int) -> Tensor:
        """(Δobservation, reward) in the environment's units, drawn by members ``start`` to ``stop``: ``[m, n, D + 1]``.

        Args:
            output: What the networks of the dynamics say, ``[m, n, 2 · (D + 1)]``.
            noise: Standard normal, ``[m, n, D + 1]``.
            start: The first member.
            stop: The one after the last.
        """
        mean, log_variance = output[..., : self._targets], output[..., self._targets :]
        high, low = self._bounds(start, stop)
        # The variance within the bounds of `_bounded` in fewer operations, by e^softplus(z) = 1 + e^z.
        variance = torch.addcmul(low.exp(), high.exp(), (log_variance - high).sigmoid_())
        target = torch.addcmul(mean, variance.sqrt_(), noise)
        return torch.addcmul(self.target_mean, target, self.target_std)

    def _bounds(self, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """The bounds of log σ² of members ``start`` to ``stop``, ``[m, 1, D + 1]`` each."""
        return self.max_log_variance[start:stop], self.min_log_variance[start:stop]

    def _bounded(self, log_variance: Tensor) -> Tensor:
        """Soft bounds of PETS, appendix A.1, on all members' log σ² ``[M, N, D + 1]``."""
        high, low = self._bounds()
        log_variance = high - F.softplus(high - log_variance)
        return low + F.softplus(log_variance - low)

    def _disagreement(self, inputs: Tensor) -> Tensor:
        """Uncertainty ``[B]``: every member is computed on every row ``[B, I]``."""
        output = self.dynamics(inputs.expand(self.members, -1, -1))
        varying = self.target_std > 0
        variance = output[..., : self._targets].var(0, correction=0) * varying
        return (variance.sum(-1) / varying.sum().clamp_min(1)).sqrt()

    def _prediction(
        self,
        observation: Tensor,
        action: Tensor,
        next_observation: Tensor,
        reward: Tensor,
        rest: Any,  # None where nothing is read from it
        uncertainty: Tensor | None,
    ) -> Prediction:
        """What a step says, given the Gaussian's reward and what the arrival networks say (rows ``[B, …]``)."""
        if self._termination_fn is not None:
            terminated = self._termination_fn(observation, action, next_observation).to(torch.float32)
        else:
            terminated = rest[:, 0].sigmoid() if self._ends else torch.zeros_like(reward)
        if self._reward_fn is not None:
            reward = self._reward_fn(observation, action, next_observation)
        elif self._rewards_apart:
            terminal = torch.addcmul(self.terminal_reward_mean, rest[:, 1], self.terminal_reward_std)
            reward = torch.lerp(reward, terminal, terminated)
        extras = {"action_mask": rest[:, 2:].sigmoid()} if self.action_mask else {}
        return Prediction(reward, terminated, uncertainty, extras)

    def _predicted(self, transitions: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """All members on pairs ``[N, 2, …]``, in units of the spread.

        Returns:
            Mean and log σ² ``[M, N, D + 1]``, target ``[N, D + 1]``.
        """
        inputs = self._inputs(self._raw_inputs(_flat(transitions.observation)[:, 0], transitions.action[:, 1]))
        mean, log_variance = self.dynamics(inputs.expand(self.members, -1, -1)).split(self._targets, -1)
        varying = self.target_std > 0
        target = (self._raw_targets(transitions) - self.target_mean) / torch.where(varying, self.target_std, 1.0)
        return mean * varying, self._bounded(log_variance), target * varying

    def _counted(self, transitions: Batch) -> Tensor:
        """Which targets carry loss, ``[N, D + 1]``: what varies; not the reward of an end that is learned apart."""
        counted = (self.target_std > 0).float().repeat(len(transitions.index), 1)
        counted[:, -1] *= 1 - transitions.terminated[:, 1] * self.rewards_apart
        return counted

    def _note_buffers(self, *_: Any) -> None:
        """Keeps host copies of what the buffers say, so that a dream need not ask the device in every step."""
        self._ends, self._rewards_apart = bool(self.terminates), bool(self.rewards_apart)
        learns_end = self._ends and self._termination_fn is None
        learns_terminal_reward = self._rewards_apart and self._reward_fn is None
        self._needs_arrival = self.action_mask or learns_end or learns_terminal_reward

    def _bootstrap_weights(self, index: Tensor) -> Tensor:
        """How often each member's bootstrap drew each record: Poisson(1) counts ``[M, N]``.

        A function of the record's number alone, so that a member keeps its resampling while the data grows, whatever
        the order of the batches.
        """
        member = self.resampling.to(torch.int64)[:, None]
        bits = (index[None] + 1) * 0x5851F42D4C957F2D + member * 0x14057B7EF767814F
        for shift in (29, 32):  # a finaliser in the style of MurmurHash3; products wrap around
            bits = (bits ^ ((bits >> shift) & ((1 << (64 - shift)) - 1))) * 0x369DEA0F31A53F85
        uniform = ((bits >> 11) & ((1 << 53) - 1)).double() / (1 << 53)
        return sum((uniform > threshold).float() for threshold in _POISSON_1)  # type: ignore[return-value]


class _Deal:
    """Deals the rows of a batch out to the elites in equal shares: slot s belongs to elite s // share.

    The permutation is drawn for the padded batch, so that every row meets every elite with the same probability. Of a
    single row only its own elite is computed.

    Args:
        rows: B.
        elites: E.
        generator: Source of the permutation, and of the noise after it.
        device: Where the rows are.

    Attributes:
        start: The first member that has rows.
        stop: The one after the last.
    """

    def __init__(self, rows: int, elites: int, generator: torch.Generator | None, device: torch.device) -> None:
        self._share = -(-rows // elites)
        self._count = self._share * elites
        self._generator = generator
        self._slots = torch.randperm(self._count, generator=generator, device=device)[:rows]
        self._single = rows == 1  # share is 1
        self.start = int(self._slots) if self._single else 0
        self.stop = self.start + 1 if self._single else elites

    def draw(self, width: int) -> Tensor:
        """Standard normal noise ``[m, share, width]``, drawn for all elites whoever is computed."""
        noise = torch.randn(self._count, width, generator=self._generator, device=self._slots.device)
        noise = noise.view(-1, self._share, width)
        return noise[self.start : self.stop] if self._single else noise

    def out(self, rows: Tensor) -> Tensor:
        """``[B, W] → [m, share, W]``; slots without a row are zero."""
        if self._single:
            return rows[None]
        slots = rows.new_zeros(self._count, rows.shape[1]).index_copy_(0, self._slots, rows)
        return slots.view(-1, self._share, rows.shape[1])

    def back(self, dealt: Tensor) -> Tensor:
        """``[m, share, W] → [B, W]``."""
        return dealt[0] if self._single else dealt.flatten(0, 1).index_select(0, self._slots)


def _center_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ``[N, D]``; what is constant has exactly its value and no spread."""
    spread = values.std(0, correction=0)
    constant = spread <= 1e-6 * values.abs().amax(0).clamp_min(1e-6)
    return torch.where(constant, values[0], values.mean(0)), spread.masked_fill(constant, 0)


def _flat(observation: Observation) -> Tensor:
    assert isinstance(observation, Tensor)
    return observation.to(torch.float32)


def _pairs(batch: Batch) -> Batch:
    """All consecutive pairs of the windows, ``[B · (T − 1), 2, …]``."""
    length = batch.shape[1]
    if length == 2:
        return batch
    return batch.map(lambda tensor: torch.stack([tensor[:, :-1], tensor[:, 1:]], 2).flatten(0, 1))
