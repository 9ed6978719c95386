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
from imagine_envs.world_models.known import reward_function, termination_function
from imagine_envs.world_models.protocol import Loss, Prediction, State, WorldModel

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["Ensemble"]

# P(count <= k) of a Poisson(1) variable for k = 0, 1, …: online bagging's bootstrap (Oza & Russell, 2001).
_POISSON_1 = tuple(math.exp(-1) * sum(1 / math.factorial(i) for i in range(k + 1)) for k in range(6))


class Ensemble(WorldModel):
    """Bootstrapped probabilistic MLPs for flat Box observations and Discrete or Box actions.

    Each member maps (observation, action) to a diagonal Gaussian over (Δobservation, reward) and the probability of
    termination. In a dream every row is computed by one randomly chosen elite member (trajectory sampling, TS1): the rows
    are dealt out to the elites in equal shares, so that a layer is one batched matrix product and no member is computed
    in vain. Every member is computed only when the uncertainty is asked for.

    The uncertainty is the members' disagreement: the root mean square, over the predicted quantities in units of
    their spread in the data, of the standard deviation of the members' means.

    Shapes: M members, E elites, B rows, D observation entries.

    Source: Chua et al., "Deep reinforcement learning in a handful of trials" (PETS, 2018), sections 3–4 and appendix A.1;
    Janner et al., "When to trust your model" (MBPO, 2019), appendix: 7 members, 5 elites, 4 × 200 swish units.

    Args:
        observation_space: Flat ``Box``.
        action_space: ``Discrete`` or flat ``Box``.
        members: Networks in the ensemble.
        elites: The best of them, by held-out error, that dreams are made of.
        hidden: Units of the hidden layers.
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
        bootstrap: bool = True,
        reward: str | None = None,
        termination: str | None = None,
        action_mask: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not (isinstance(observation_space, spaces.Box) and len(observation_space.shape) == 1):
            raise ValueError(f"Ensemble needs a flat Box observation space, not {observation_space}")
        if isinstance(action_space, spaces.Discrete):
            self._action_width = int(action_space.n)
        elif isinstance(action_space, spaces.Box) and len(action_space.shape) == 1:
            self._action_width = int(action_space.shape[0])
        else:
            raise ValueError(f"Ensemble needs a Discrete or a flat Box action space, not {action_space}")
        if not 1 <= elites <= members:
            raise ValueError(f"elites={elites} must lie between 1 and members={members}")
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden={tuple(hidden)} must name at least one layer of at least one unit")
        if action_mask and not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_mask=True needs a Discrete action space, not {action_space}")
        self.members, self.elites, self.hidden, self.bootstrap = members, elites, tuple(hidden), bootstrap
        self.reward, self.termination, self.action_mask = reward, termination, action_mask
        self._reward_fn = None if reward is None else reward_function(reward)
        self._termination_fn = None if termination is None else termination_function(termination)

        width = int(observation_space.shape[0])
        self._targets = width + 1  # Δobservation and reward
        outputs = 2 * self._targets + 1 + (self._action_width if action_mask else 0)
        sizes = [width + self._action_width, *hidden, outputs]
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(members, i, o)) for i, o in zip(sizes, sizes[1:], strict=False))
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(members, 1, o)) for o in sizes[1:])
        self.max_log_variance = nn.Parameter(torch.empty(members, 1, self._targets))
        self.min_log_variance = nn.Parameter(torch.empty(members, 1, self._targets))
        self.reset_parameters()

        # Statistics of the data, in the environment's units (see `prepare`).
        self.register_buffer("input_mean", torch.zeros(sizes[0]))
        self.register_buffer("input_scale", torch.ones(sizes[0]))
        self.register_buffer("target_mean", torch.zeros(self._targets))
        self.register_buffer("target_std", torch.ones(self._targets))
        self.register_buffer("terminates", torch.zeros(()))
        low, high = torch.as_tensor(observation_space.low), torch.as_tensor(observation_space.high)
        self.register_buffer("_low", low.float(), persistent=False)
        self.register_buffer("_high", high.float(), persistent=False)
        self._first_action = int(action_space.start) if isinstance(action_space, spaces.Discrete) else 0

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_std: Tensor
    terminates: Tensor
    _low: Tensor
    _high: Tensor

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws fresh weights from torch's global generator (as ``nn.Linear`` does) and forgets every member."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)
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
        batch = observation.shape[0]
        inputs = self._inputs(observation, action)

        # Rows are dealt to the elites in equal shares: slot s belongs to elite s // share. The permutation is drawn for
        # the padded batch, so that every row meets every elite with the same probability.
        share = -(-batch // self.elites)
        slots = torch.randperm(share * self.elites, generator=generator, device=inputs.device)[:batch]
        noise = torch.randn(batch, self._targets, generator=generator, device=inputs.device)
        disagreement = None
        if uncertainty:
            every = self._forward(inputs.expand(self.members, batch, -1), 0, self.members)  # [M, B, O]
            elite = torch.div(slots, share, rounding_mode="floor")
            output = every[elite, torch.arange(batch, device=elite.device)]
            disagreement = self._disagreement(every)
        elif batch == 1:
            elite_of_row = int(slots[0])  # share is 1: only this elite is computed
            output = self._forward(inputs[None], elite_of_row, elite_of_row + 1)[0]
            elite = slots
        else:
            dealt = inputs.new_zeros(share * self.elites, inputs.shape[1]).index_copy(0, slots, inputs)
            output = self._forward(dealt.view(self.elites, share, -1), 0, self.elites).flatten(0, 1).index_select(0, slots)
            elite = torch.div(slots, share, rounding_mode="floor")

        mean = output[:, : self._targets]
        if temperature > 0:
            log_variance = self._bounded(output[:, self._targets : 2 * self._targets], self._bounds_of(elite))
            mean = mean + temperature * (0.5 * log_variance).exp() * noise
        target = torch.addcmul(self.target_mean, mean, self.target_std)
        next_observation = observation + target[:, :-1]
        return {"observation": next_observation}, self._prediction(
            observation, action, next_observation, target[:, -1], output[:, 2 * self._targets :], disagreement
        )

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
            target: Any = single.get_submodule(holder) if holder else single
            target[int(attribute)] = view if holder else None
            if not holder:
                setattr(single, attribute, view)
        for name, buffer in self.named_buffers():
            setattr(single, name, buffer)
        return single

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
        mean[-self._action_width :], std[-self._action_width :] = 0, 1  # actions are scaled by their space
        self.input_mean.copy_(mean)
        self.input_scale.copy_(torch.where(std > 1e-6, 1 / std.clamp_min(1e-12), 1.0))
        self.target_mean.copy_(targets.mean(0))
        # What is constant in the data is predicted exactly: its spread is zero.
        spread = targets.std(0, correction=0)
        self.target_std.copy_(torch.where(spread > 1e-6 * targets.abs().amax(0).clamp_min(1e-6), spread, 0.0))
        self.terminates.fill_(float(data.terminated[:, 1].any()))
        if not self.terminates and self._termination_fn is None:
            warnings.warn(
                f"none of the {len(data.terminated)} transitions terminates: this world will never terminate an episode "
                "(only its horizon will end one)",
                stacklevel=2,
            )

    def loss(self, batch: Batch) -> Loss:
        """Gaussian negative log-likelihood, bounds of the variance, and cross-entropy of the termination.

        PETS, appendix A.1: −log N(y; μ, σ²) = ½ [(μ − y)² / σ² + log σ²] with soft bounds on log σ² that are themselves
        learned under a small penalty.
        """
        mean, log_variance, rest, target, transitions, valid = self._evaluate(batch)
        weight = valid * self._bootstrap_weights(transitions.index[:, 1]) if self.bootstrap else valid.expand(self.members, -1)
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1.0)  # [M, B]

        error = (mean - target).square()
        nll = 0.5 * (error * (-log_variance).exp() + log_variance) * (self.target_std > 0)
        bound = 0.01 * (self.max_log_variance - self.min_log_variance).sum(-1).mean()
        total = (nll.sum(-1) * weight).sum(1).mean() + bound
        metrics = {"nll": total.detach(), "mse": (error.mean(-1) * weight).sum(1).mean().detach()}
        terminated = transitions.terminated[:, 1].float().expand(self.members, -1)
        cross_entropy = F.binary_cross_entropy_with_logits(rest[..., 0], terminated, reduction="none")
        # Without a single example the logit would be pushed down forever; such a world never terminates anyway.
        termination_loss = (cross_entropy * weight).sum(1).mean() * self.terminates
        metrics["termination"] = termination_loss.detach()
        total = total + termination_loss
        if self.action_mask:
            mask = transitions.columns["action_mask"][:, 1].float().expand(self.members, -1, -1)
            mask_loss = F.binary_cross_entropy_with_logits(rest[..., 1:], mask, reduction="none")
            mask_loss = (mask_loss.mean(-1) * weight).sum(1).mean()
            metrics["action_mask"] = mask_loss.detach()
            total = total + mask_loss
        return Loss(total, metrics)

    @torch.no_grad()
    def validate(self, batch: Batch) -> Tensor:
        """Mean squared error in units of the data's spread, plus cross-entropy of the termination: ``[M]``."""
        mean, _, rest, target, transitions, valid = self._evaluate(batch)
        error = (mean - target).square().mean(-1)
        terminated = transitions.terminated[:, 1].float().expand(self.members, -1)
        error = error + self.terminates * F.binary_cross_entropy_with_logits(rest[..., 0], terminated, reduction="none")
        return (error * valid).sum(1) / valid.sum().clamp_min(1.0)

    @torch.no_grad()
    def conclude(self, errors: Tensor) -> None:
        """Sorts the members by held-out error, so that the elites are the first ones."""
        order = errors.argsort()
        for parameter in self.parameters():
            parameter.copy_(parameter[order])

    # --- storage ----------------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's keyword arguments."""
        return {
            "members": self.members,
            "elites": self.elites,
            "hidden": list(self.hidden),
            "bootstrap": self.bootstrap,
            "reward": self.reward,
            "termination": self.termination,
            "action_mask": self.action_mask,
        }

    # --- the network ------------------------------------------------------------------------------------------------

    def _raw_inputs(self, observation: Tensor, action: Tensor) -> Tensor:
        """Observation and action side by side, ``[B, I]``; Discrete actions one-hot, bounded ones in [−1, 1]."""
        if isinstance(self.action_space, spaces.Discrete):
            encoded = F.one_hot(action - self._first_action, self._action_width).to(torch.float32)
        else:
            assert isinstance(self.action_space, spaces.Box)
            encoded = action.to(torch.float32)
            if self.action_space.is_bounded():
                low, high = (torch.as_tensor(b, device=action.device) for b in (self.action_space.low, self.action_space.high))
                encoded = 2 * (encoded - low) / (high - low) - 1
        return torch.cat([observation, encoded], 1)

    def _inputs(self, observation: Tensor, action: Tensor) -> Tensor:
        return (self._raw_inputs(observation, action) - self.input_mean) * self.input_scale

    @staticmethod
    def _raw_targets(transitions: Batch) -> Tensor:
        """(Δobservation, reward) ``[B, D + 1]`` in the environment's units."""
        observation = _flat(transitions.observation)
        return torch.cat([observation[:, 1] - observation[:, 0], transitions.reward[:, 1:]], 1)

    def _forward(self, hidden: Tensor, start: int, stop: int) -> Tensor:
        """Members ``start`` to ``stop`` on ``[stop − start, B, I]``: one batched matrix product a layer."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer == last:
                return torch.baddbmm(bias[start:stop], hidden, weight[start:stop])
            # swish(x) = x·sigmoid(x) = h + h·tanh(h) with h = x / 2: the half comes free with the product, and
            # tanh is vectorised better than the exponential in silu (half the time of the activations on AVX-512).
            half = torch.baddbmm(bias[start:stop], hidden, weight[start:stop], beta=0.5, alpha=0.5)
            hidden = torch.addcmul(half, half, half.tanh())
        raise AssertionError("a network has at least one layer")

    def _bounds_of(self, elite: Tensor) -> tuple[Tensor, Tensor]:
        return self.max_log_variance[elite, 0], self.min_log_variance[elite, 0]

    @staticmethod
    def _bounded(log_variance: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
        """Soft bounds of PETS, appendix A.1."""
        high, low = bounds
        log_variance = high - F.softplus(high - log_variance)
        return low + F.softplus(log_variance - low)

    def _disagreement(self, every: Tensor) -> Tensor:
        """Uncertainty ``[B]`` from the outputs of all members ``[M, B, O]``."""
        varying = self.target_std > 0
        variance = every[..., : self._targets].var(0, correction=0) * varying
        return (variance.sum(-1) / varying.sum().clamp_min(1)).sqrt()

    def _prediction(
        self,
        observation: Tensor,
        action: Tensor,
        next_observation: Tensor,
        reward: Tensor,
        rest: Tensor,
        uncertainty: Tensor | None,
    ) -> Prediction:
        if self._reward_fn is not None:
            reward = self._reward_fn(observation, action, next_observation)
        if self._termination_fn is not None:
            terminated = self._termination_fn(observation, action, next_observation).to(torch.float32)
        else:
            terminated = rest[:, 0].sigmoid() * self.terminates
        extras = {"action_mask": rest[:, 1:].sigmoid()} if self.action_mask else {}
        return Prediction(reward, terminated, uncertainty, extras)

    def _evaluate(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Batch, Tensor]:
        """All members on a batch: mean, log σ² ``[M, N, D + 1]``, other logits, target ``[N, D + 1]``, transitions, valid ``[N]``."""
        transitions = _pairs(batch)
        inputs = self._inputs(_flat(transitions.observation)[:, 0], transitions.action[:, 1])
        output = self._forward(inputs.expand(self.members, *inputs.shape), 0, self.members)
        mean, log_variance, rest = output.split([self._targets, self._targets, output.shape[-1] - 2 * self._targets], -1)
        log_variance = self._bounded(log_variance, (self.max_log_variance, self.min_log_variance))
        scale = torch.where(self.target_std > 0, self.target_std, 1.0)
        target = (self._raw_targets(transitions) - self.target_mean) / scale
        mean = mean * (self.target_std > 0)
        return mean, log_variance, rest, target, transitions, (~transitions.first[:, 1]).float()

    def _bootstrap_weights(self, index: Tensor) -> Tensor:
        """How often each member's bootstrap drew each record: Poisson(1) counts ``[M, N]``.

        A function of the record's number alone, so that a member keeps its resampling while the data grows, whatever
        the order of the batches.
        """
        member = torch.arange(1, self.members + 1, device=index.device)[:, None]
        bits = (index[None] + 1) * 0x5851F42D4C957F2D + member * 0x14057B7EF767814F
        for shift in (29, 32):  # a finaliser in the style of MurmurHash3; products wrap around
            bits = (bits ^ ((bits >> shift) & ((1 << (64 - shift)) - 1))) * 0x369DEA0F31A53F85
        uniform = ((bits >> 11) & ((1 << 53) - 1)).double() / (1 << 53)
        return sum((uniform > threshold).float() for threshold in _POISSON_1)  # type: ignore[return-value]


def _flat(observation: Observation) -> Tensor:
    assert isinstance(observation, Tensor)
    return observation.to(torch.float32)


def _pairs(batch: Batch) -> Batch:
    """All consecutive pairs of the windows, ``[B · (T − 1), 2, …]``."""
    length = batch.shape[1]
    if length == 2:
        return batch
    return batch.map(lambda tensor: torch.stack([tensor[:, :-1], tensor[:, 1:]], 2).flatten(0, 1))
