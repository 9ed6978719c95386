"""The recurrent state-space model of PlaNet and the Dreamers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from imagine_envs.experience.batch import Batch
from imagine_envs.spaces import Observation, map_observation
from imagine_envs.world_models.actions import ActionEncoder
from imagine_envs.world_models.protocol import Loss, Prediction, State, WorldModel
from imagine_envs.world_models.rssm.architecture import architecture_of
from imagine_envs.world_models.rssm.cells import GRU, BlockGRU, Cell
from imagine_envs.world_models.rssm.codecs import Decoder, Encoder
from imagine_envs.world_models.rssm.heads import GaussianHead, ScalarHead, TwoHotHead
from imagine_envs.world_models.rssm.latents import CategoricalLatent, GaussianLatent, Latent
from imagine_envs.world_models.rssm.networks import ACTIVATIONS, MLP, Norm, linear

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["RSSM", "Representation"]

_MOST_RECORDS = 10_000  # that the units of observations are taken from

Representation = Literal["reconstruction", "reward", "contrastive"]


class RSSM(WorldModel):
    r"""A world whose state is learned: half of it remembers, the other half is uncertain.

    ============ ======================================== ===================================
    cell         h_t = f(h_{t−1}, z_{t−1}, a_t)           what must be remembered, "deter"
    posterior    z_t ~ q(z_t | h_t, e(o_t))               "stoch", when the observation is seen
    prior        z_t ~ p(z_t | h_t)                       "stoch", when it is dreamed
    decoder      o_t ~ p(o_t | h_t, z_t)                  not for every representation
    reward       r_t ~ p(r_t | h_t, z_t)                  received on arriving in (h_t, z_t)
    termination  P(the episode ended in (h_t, z_t))
    ============ ======================================== ===================================

    a_t is the action that led to o_t: the arrival convention of :class:`~imagine_envs.experience.Batch`. The loss of a
    record is −log p(o_t) − log p(r_t) − log P(end or not) + KL terms; which of them shape the state is the choice of
    representation:

    - "reconstruction": all of them;
    - "reward": without the observation. The world cannot decode, and its state holds only what pays;
    - "contrastive": in place of the observation, which state belongs to it among all states of the batch, by InfoNCE:
      log q(s_t | o_t) − log Σ_{o'} q(s_t | o') with a Gaussian q of unit variance (Dreamer V1, section 4).

    Shapes: B rows, T records, D deterministic entries, S stochastic entries, F = D + S features.

    Source: Hafner et al., "Learning latent dynamics for planning from pixels" (PlaNet, 2019), section 3; "Dream to
    control" (Dreamer V1, 2020), appendix A; "Mastering diverse domains through world models" (DreamerV3, 2023).

    What differs from the published code:

    - The termination head learns P(terminated) itself, so that a dream ends as often as reality; an agent multiplies
      by its discount. (V3's head learns the discounted probability of going on.)
    - Neither the reward nor the termination of a ``first`` record, nor of a window's first record, carries a loss: the
      action that led there is not known to the model. (The Dreamers learn from them.)
    - Windows are filtered from an empty state. (V3 keeps the states of its last visit in the replay.)
    - V3: layer normalisation in place of RMS normalisation; convolutions of stride 2 (kernel 4), as in V1 and V3's
      first edition, in place of convolutions with pooling; a decoder with one dense layer in place of a block-wise one.
    - V1: convolutions are padded, so that sides are halved exactly and pictures need not be 64 × 64.
    - V1: ELU in the convolutions too, in place of ReLU; GRU and dense layers of torch; a decoder with one more
      activation, and a sigmoid on its pictures. The termination's weight is 1, not 10. What is reported of the KL
      counts it twice; its gradient is that of a single one.
    - Vectors are seen and compared in units of their spread in the first data, V3's through symlog from there on. Their
      errors weigh ``vector_scale``, not 1: a world that is fitted once is wanted for what it shows.
    - V3: actions of a Box without bounds come as they are. (V3 brings them to [−1, 1].)

    Args:
        observation_space: Box, Discrete, or a ``Dict`` of those; uint8 Boxes of rank 3 from 0 to 255 are images of
            either layout.
        action_space: ``Discrete`` or ``Box``.
        preset: "v3" (categorical, block GRU, symlog, two-hot rewards) or "v1" (Gaussian, GRU; PlaNet's too).
        size: Of V3: "1m" (None), "12m", "25m", …, "400m".
        representation: What shapes the state besides reward and termination.
        sequence_length: Records in a training window.
        vector_scale: Weight of the squared errors of vectors, which are in units of their spread. With the papers' 1,
            what is less than about a third of the spread is not worth its nats, and dreams of it are coarse.
        architecture: What to change of the preset: attributes of
            :class:`~imagine_envs.world_models.rssm.architecture.Architecture` by name.

    Raises:
        ValueError: If a space is not supported, an image too small, or a setting makes no sense.

    Example:
        >>> env = gym.make("Pendulum-v1")
        >>> model = RSSM(env.observation_space, env.action_space, size="1m")
        >>> world = fit(model, collect(env, steps=5_000, seed=0), seed=0, progress=True)
    """

    family: ClassVar[str] = "rssm"
    markov = False
    fit_defaults: ClassVar[dict[str, Any]] = {
        "batch_size": 16,
        "learning_rate": 3e-4,
        "weight_decay": 0.0,
        "validate_every": 100,
        "patience": 5,
    }

    terminates: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        preset: str = "v3",
        size: str | None = None,
        representation: Representation = "reconstruction",
        sequence_length: int = 64,
        vector_scale: float = 30.0,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        if representation not in get_args(Representation):
            raise ValueError(
                f"representation={representation!r} must be one of {', '.join(map(repr, get_args(Representation)))}"
            )
        if sequence_length < 2:
            raise ValueError(f"sequence_length={sequence_length} must be at least 2: an action and what it led to")
        if not vector_scale >= 0:
            raise ValueError(f"vector_scale={vector_scale} must not be negative")
        self.preset, self.size, self.representation = preset, size, representation
        self.sequence_length, self.vector_scale = int(sequence_length), float(vector_scale)
        self.changes = dict(architecture or {})
        self.architecture = shape = architecture_of(preset, size, **self.changes)
        self.can_decode = representation == "reconstruction"

        self.actions = ActionEncoder(action_space)
        around: dict[str, Any] = {
            "units": shape.units,
            "layers": shape.codec_layers,
            "depth": shape.depth,
            "multipliers": shape.multipliers,
            "activation": shape.activation,
            "norm": shape.norm,
            "squash": shape.squash,
        }
        self.encoder = Encoder(observation_space, **around)
        self.latent: Latent = (
            CategoricalLatent(shape.stoch, shape.classes) if shape.classes else GaussianLatent(shape.stoch)
        )
        transition = (shape.deter, self.latent.width, self.actions.width, shape.hidden)
        self.cell: Cell = (
            BlockGRU(*transition, shape.blocks, shape.activation)
            if shape.blocks > 1
            else GRU(*transition, shape.activation)
        )
        self.num_features = shape.deter + self.latent.width
        # The posterior's first layer, on (h, e), as a sum: the part of e is computed for a whole sequence at once.
        seen = shape.deter + self.encoder.width
        self.posterior_deter = linear(shape.deter, shape.hidden, fan_in=seen)
        self.posterior_embedding = linear(self.encoder.width, shape.hidden, fan_in=seen, bias=False)
        self.posterior_norm = Norm(shape.hidden) if shape.norm else nn.Identity()
        self.posterior_out = linear(shape.hidden, self.latent.parameters)
        self.prior = MLP(shape.deter, shape.hidden, shape.prior_layers, shape.activation, shape.norm)
        self.prior_out = linear(self.prior.width, self.latent.parameters)
        self._activation = ACTIVATIONS[shape.activation]

        if representation == "reconstruction":
            self.decoder = Decoder(observation_space, self.num_features, vector_scale=self.vector_scale, **around)
        elif representation == "contrastive":
            self.matcher = nn.Sequential(
                MLP(self.encoder.width, shape.units, 1, shape.activation, shape.norm),
                linear(shape.units, self.num_features),
            )
        self.reward = self.scalar_head(shape.reward_layers)
        trunk = self._trunk(shape.termination_layers)
        self.termination = nn.Sequential(trunk, linear(trunk.width, 1))
        self.register_buffer("terminates", torch.ones(()))

    def scalar_head(self, layers: int) -> ScalarHead:
        """A new head of this architecture that predicts one number from features: rewards, values."""
        trunk = self._trunk(layers)
        return TwoHotHead(trunk) if self.architecture.squash else GaussianHead(trunk)

    def _trunk(self, layers: int) -> MLP:
        shape = self.architecture
        return MLP(self.num_features, shape.units, layers, shape.activation, shape.norm)

    # --- simulation -------------------------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> State:
        """Zeros: "deter" ``[B, D]`` and "stoch" ``[B, S]``."""
        zeros = self.terminates.new_zeros
        return {
            "deter": zeros(batch_size, self.architecture.deter),
            "stoch": zeros(batch_size, self.latent.width),
        }

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
        """One step of the posterior; see :meth:`WorldModel.observe`."""
        noise = self.latent.noise((len(first),), first.device, generator)
        kept = (~first).to(torch.float32)[:, None]
        deter = self.cell(
            state["deter"] * kept, state["stoch"] * kept, self.cell.embed_action(self.actions(action) * kept)
        )
        parameters = self._posterior(deter, self.posterior_embedding(self.encoder(observation)))
        return {"deter": deter, "stoch": self.latent.sample(parameters, noise if sample else None)}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """One step of the prior, and what its heads say; see :meth:`WorldModel.imagine`.

        Raises:
            ValueError: If ``uncertainty`` is asked for.
        """
        if uncertainty:
            raise ValueError("uncertainty=True was asked of an RSSM, which has none")
        noise = self.latent.noise((action.shape[0],), action.device, generator)
        state = self.dream(state, self.actions(action), noise, temperature)
        return state, self.predict(self.features(state))

    def dream(self, state: State, action: Tensor, noise: Tensor, temperature: float = 1.0) -> State:
        """One step of the prior alone, with an encoded action ``[B, A]`` that gradients may flow through."""
        deter = self.cell(state["deter"], state["stoch"], self.cell.embed_action(action))
        return {"deter": deter, "stoch": self.latent.sample(self._prior(deter), noise, temperature)}

    def predict(self, features: Tensor) -> Prediction:
        """What the heads say of features ``[…, F]``."""
        reward = self.reward.mean(self.reward(features))
        terminated = self.termination(features).squeeze(-1).float().sigmoid() * self.terminates
        return Prediction(reward, terminated)

    def features(self, state: State) -> Tensor:
        """Both halves side by side: ``[…, D + S]``."""
        return torch.cat([state["deter"], state["stoch"]], -1)

    def decode(self, state: State) -> Observation:
        """The mean of the observation, clipped to its space; see :meth:`WorldModel.decode`."""
        if not self.can_decode:
            return super().decode(state)
        return self.decoder.observation(self.decoder(self.features(state)))

    def _posterior(self, deter: Tensor, embedding: Tensor) -> Tensor:
        hidden = self._activation(self.posterior_norm(self.posterior_deter(deter) + embedding))
        return self.posterior_out(hidden).float()

    def _prior(self, deter: Tensor) -> Tensor:
        return self.prior_out(self.prior(deter)).float()

    # --- learning ---------------------------------------------------------------------------------------------------

    def standardize(self, batch: Batch) -> None:
        """Sees vectors in units of their spread in these windows ``[B, T, …]`` from now on."""
        seen = _records(batch)
        self.encoder.standard.adopt(seen)
        if self.can_decode:
            self.decoder.standard.adopt(seen)

    def prepare(self, replay: Replay) -> None:
        """Takes the units of vectors from the data, and says aloud if no episode in it ends.

        Warns:
            UserWarning: If the data holds no termination: the dream of such a world never terminates.
        """
        every = replay.window_index(1)
        self.standardize(replay.windows(every[:: -(-len(every) // _MOST_RECORDS)], 1))
        ends = any(episode.terminated for episode in replay.episodes())
        self.terminates.fill_(float(ends))
        if not ends:
            warnings.warn(
                f"none of the {replay.num_transitions} transitions terminates: this world will never terminate an "
                "episode (only its horizon will end one)",
                stacklevel=2,
            )

    def loss(self, batch: Batch, *, generator: torch.Generator | None = None) -> Loss:
        """Negative evidence lower bound of windows ``[B, T, …]``, averaged over their records.

        Source: DreamerV3, "World model learning"; Dreamer V1, section 4, for the three representations.
        """
        shape, size = self.architecture, batch.shape
        seen = _records(batch)
        embedding = self.encoder(seen)
        states, posterior = self._filter(batch, embedding.unflatten(0, size), generator)
        features = self.features(states)
        flat = features.flatten(0, 1)

        prior = self._prior(states["deter"])
        dynamics = self.latent.divergence(posterior.detach(), prior)
        representation = self.latent.divergence(posterior, prior.detach())
        metrics = {"kl": dynamics.detach().mean()}
        losses = {"dynamics": shape.dynamics_scale * self._beyond_free_nats(dynamics)}
        losses["representation"] = shape.representation_scale * self._beyond_free_nats(representation)
        if self.representation == "reconstruction":
            losses["observation"] = self.decoder.loss(self.decoder(flat), seen).mean()
        elif self.representation == "contrastive":
            losses["observation"] = self._info_nce(flat, embedding)

        known = (~batch.first).to(torch.float32)
        known[:, 0] = 0
        count = known.sum().clamp_min(1)
        losses["reward"] = (self.reward.loss(self.reward(features), batch.reward) * known).sum() / count
        termination = F.binary_cross_entropy_with_logits(
            self.termination(features).squeeze(-1).float(), batch.terminated.to(torch.float32), reduction="none"
        )
        # Without a single example the logit would be pushed down forever; such a world never terminates anyway.
        losses["termination"] = (termination * known).sum() / count * self.terminates
        metrics.update({name: value.detach() for name, value in losses.items()})
        return Loss(torch.stack(list(losses.values())).sum(), metrics, states)

    @torch.no_grad()
    def validate(self, batch: Batch) -> Tensor:
        """The loss of held-out windows, always with the same noise; ``[1]``."""
        generator = torch.Generator(self.device).manual_seed(0)
        pieces = torch.arange(batch.shape[0]).split(64)
        losses = torch.stack([self.loss(batch[rows], generator=generator).total * len(rows) for rows in pieces])
        return losses.sum().reshape(1) / batch.shape[0]

    def _filter(self, batch: Batch, embedding: Tensor, generator: torch.Generator | None) -> tuple[State, Tensor]:
        """The posterior along windows, from an empty state: states ``[B, T, …]`` and parameters ``[B, T, P]``."""
        size, length = batch.shape
        kept = (~batch.first).to(torch.float32)
        kept[:, 0] = 0
        kept = kept.transpose(0, 1)[..., None]
        action = self.cell.embed_action(self.actions(batch.action.transpose(0, 1)) * kept)
        seen = self.posterior_embedding(embedding.transpose(0, 1))
        noise = self.latent.noise((length, size), embedding.device, generator)
        deter, stoch = self.initial(size).values()
        deters, stochs, parameters = [], [], []
        for t in range(length):
            deter = self.cell(deter * kept[t], stoch * kept[t], action[t])
            parameter = self._posterior(deter, seen[t])
            stoch = self.latent.sample(parameter, noise[t])
            deters.append(deter)
            stochs.append(stoch)
            parameters.append(parameter)
        return {"deter": torch.stack(deters, 1), "stoch": torch.stack(stochs, 1)}, torch.stack(parameters, 1)

    def _beyond_free_nats(self, divergence: Tensor) -> Tensor:
        """max(KL, free nats) of ``[B, T]``, averaged after or before."""
        free = self.architecture.free_nats
        if self.architecture.free_average:
            return divergence.mean().clamp_min(free)
        return divergence.clamp_min(free).mean()

    def _info_nce(self, features: Tensor, embedding: Tensor) -> Tensor:
        """−log q(s | o) + log Σ_{o'} q(s | o') over all records ``[N, …]`` of the batch.

        With q(s | o) = N(s; μ(o), 1) the terms ‖s‖² cancel: what is left is s · μ(o) − ½ ‖μ(o)‖².
        """
        mean = self.matcher(embedding)
        scores = features @ mean.T - 0.5 * mean.square().sum(-1)
        return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))

    # --- storage ----------------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's keyword arguments."""
        return {
            "preset": self.preset,
            "size": self.size,
            "representation": self.representation,
            "sequence_length": self.sequence_length,
            "vector_scale": self.vector_scale,
            "architecture": {name: list(v) if isinstance(v, tuple) else v for name, v in self.changes.items()},
        }


def _records(batch: Batch) -> Observation:
    """What is seen in windows ``[B, T, …]``, record after record: ``[B · T, …]``."""
    return map_observation(lambda tensor: tensor.flatten(0, 1), batch.observation)
