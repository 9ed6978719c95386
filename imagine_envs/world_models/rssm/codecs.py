"""Observations to embeddings, and features back to observations."""

from __future__ import annotations

import itertools
from typing import Any, TypeGuard

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from torch import Tensor, nn
from torch.nn import functional as F

from imagine_envs.spaces import Observation
from imagine_envs.world_models.rssm.networks import ACTIVATIONS, MLP, Norm, linear, symexp, symlog

__all__ = ["Decoder", "Encoder", "leaves"]

_LARGEST = 88.0  # whose exponential is still finite
_SMALLEST = 4  # pixels that a side is not halved below
_LARGEST = 32  # before the dense layer, where a side cannot be halved further


def leaves(space: spaces.Space[Any]) -> dict[str, spaces.Box | spaces.Discrete]:
    """The parts of an observation space by name; one part of an empty name, if it is no ``Dict``.

    Raises:
        ValueError: If a part is neither a Box nor a Discrete.
    """
    named: dict[str, spaces.Box | spaces.Discrete] = {}
    for name, part in (space.spaces if isinstance(space, spaces.Dict) else {"": space}).items():
        if not isinstance(part, (spaces.Box, spaces.Discrete)):
            raise ValueError(f"an RSSM needs observations of Box or Discrete, or a Dict of those, not {space}")
        named[name] = part
    if not named:
        raise ValueError(f"an RSSM needs something to observe; {space} is empty")
    return named


def _is_image(space: spaces.Space[Any]) -> TypeGuard[spaces.Box]:
    return is_image_space(space)


def _part(observation: Observation, name: str) -> Tensor:
    return observation[name] if isinstance(observation, dict) else observation


class _Layout:
    """How images of a space lie in memory, and how small at most ``stages`` convolutions of stride 2 make them.

    Raises:
        ValueError: If the image is too small, or its sides become odd while they are large: dense layers would have
            to do the rest, and be enormous.
    """

    def __init__(self, space: spaces.Box, stages: int) -> None:
        self.channels_first = is_image_space_channels_first(space)
        height, width, channels = np.roll(space.shape, -1) if self.channels_first else space.shape
        self.channels, self.sides, self.stages = int(channels), (int(height), int(width)), 0
        while self.stages < stages and all(side % 2 == 0 and side // 2 >= _SMALLEST for side in self.sides):
            self.sides = (self.sides[0] // 2, self.sides[1] // 2)
            self.stages += 1
        if self.stages == 0 or (self.stages < stages and max(self.sides) > _LARGEST):
            raise ValueError(
                f"an RSSM cannot take images of {height} × {width} pixels: sides of at least {2 * _SMALLEST} were "
                f"expected that can be halved until they are at most {_LARGEST} (64 × 64 is usual; "
                "gymnasium.wrappers.ResizeObservation makes them so)"
            )

    def planes(self, image: Tensor) -> Tensor:
        """uint8 of the space's layout → float ``[N, C, H, W]`` in [0, 1], the channels last in memory."""
        planes = image if self.channels_first else image.permute(0, 3, 1, 2)
        return planes.to(torch.float32, memory_format=torch.channels_last) / 255

    def image(self, planes: Tensor) -> Tensor:
        """The reverse of :meth:`planes`."""
        image = planes.mul(255).round_().to(torch.uint8)
        return image if self.channels_first else image.permute(0, 2, 3, 1)


class _Stages(nn.Module):
    """(Transposed) convolutions of kernel 4 and stride 2 in a row, ``[N, C, H, W]``, the channels last in memory.

    Args:
        kind: ``nn.Conv2d`` halves the sides, ``nn.ConvTranspose2d`` doubles them.
        channels: Before the first, and after each.
        activation: A name in :data:`~imagine_envs.world_models.rssm.networks.ACTIVATIONS`.
        norm: Whether the channels of every pixel are normalised.
        plain_end: Whether the last one has neither normalisation nor activation.
    """

    def __init__(
        self,
        kind: type[nn.Conv2d] | type[nn.ConvTranspose2d],
        channels: list[int],
        activation: str,
        norm: bool,
        plain_end: bool,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(kind(i, o, 4, 2, 1) for i, o in itertools.pairwise(channels))
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        hidden = channels[1 : len(channels) - plain_end]
        self.norms = nn.ModuleList(Norm(width) if norm else nn.Identity() for width in hidden)
        self.activation = ACTIVATIONS[activation]

    def forward(self, planes: Tensor) -> Tensor:
        for convolution, norm in itertools.zip_longest(self.convolutions, self.norms):
            planes = convolution(planes)
            if norm is not None:
                pixels = norm(planes.permute(0, 2, 3, 1))  # contiguous, as the channels are last in memory
                planes = self.activation(pixels).permute(0, 3, 1, 2)
        return planes


def _vectors_and_layouts(
    space: spaces.Space[Any], stages: int
) -> tuple[dict[str, spaces.Box | spaces.Discrete], dict[str, _Layout]]:
    """The parts that are seen as vectors, and the layouts of those that are images."""
    parts = leaves(space)
    vectors = {name: part for name, part in parts.items() if not _is_image(part)}
    return vectors, {name: _Layout(part, stages) for name, part in parts.items() if _is_image(part)}


def _channels(depth: int, multipliers: tuple[int, ...], stages: int) -> list[int]:
    return [depth * multiplier for multiplier in multipliers[:stages]]


class _Standard(nn.Module):
    """Numbers in units of their spread, from their mean; as they are, until :meth:`adopt` has seen some.

    Squared errors weigh all entries of a vector alike only then: an angle of a tenth of a radian, which decides whether
    a pole falls, would be a hundredth of what a velocity is.

    Args:
        parts: The vectors by name; Discrete ones have no units.
    """

    def __init__(self, parts: dict[str, spaces.Box | spaces.Discrete]) -> None:
        super().__init__()
        self._numbers = {name: i for i, (name, part) in enumerate(parts.items()) if isinstance(part, spaces.Box)}
        for name, i in self._numbers.items():
            self.register_buffer(f"mean_{i}", torch.zeros(_width(parts[name])))
            self.register_buffer(f"spread_{i}", torch.ones(_width(parts[name])))

    @torch.no_grad()
    def adopt(self, observation: Observation) -> None:
        """Takes mean and spread from observations ``[N, …]``; what is constant in them keeps its unit."""
        for name, i in self._numbers.items():
            values = _part(observation, name).double()
            values = values.reshape(len(values), -1)
            spread = values.std(0, correction=0)
            self.get_buffer(f"mean_{i}").copy_(values.mean(0))
            self.get_buffer(f"spread_{i}").copy_(torch.where(spread > 1e-6, spread, 1.0))

    def forward(self, name: str, values: Tensor) -> Tensor:
        """``[N, W]`` of a part, from the environment's units."""
        if name not in self._numbers:
            return values
        i = self._numbers[name]
        return (values - self.get_buffer(f"mean_{i}")) / self.get_buffer(f"spread_{i}")

    def original(self, name: str, values: Tensor) -> Tensor:
        """The reverse of :meth:`forward`."""
        i = self._numbers[name]
        return torch.addcmul(self.get_buffer(f"mean_{i}"), values, self.get_buffer(f"spread_{i}"))


class Encoder(nn.Module):
    """Observations ``[N, …]`` to embeddings ``[N, E]``: convolutions on images, an MLP on all the rest.

    Every convolution halves the sides (kernel 4, stride 2), as in Dreamer V1 and DreamerV3's first edition.

    Args:
        space: Box, Discrete, or a Dict of those. uint8 Boxes of rank 3 from 0 to 255 are images, of either layout.
        units: Of the MLP.
        layers: Of the MLP.
        depth: Channels are multiples of it.
        multipliers: Which, for each halving.
        activation: A name in :data:`~imagine_envs.world_models.rssm.networks.ACTIVATIONS`.
        norm: Whether layers are normalised.
        squash: Whether vectors are seen through symlog.

    Attributes:
        standard: The units in which vectors are seen.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        *,
        units: int,
        layers: int,
        depth: int,
        multipliers: tuple[int, ...],
        activation: str,
        norm: bool,
        squash: bool,
    ) -> None:
        super().__init__()
        self.squash = squash
        self.vectors, self.layouts = _vectors_and_layouts(space, len(multipliers))
        self.standard = _Standard(self.vectors)
        self.width = 0
        if self.vectors:
            self.mlp = MLP(sum(map(_width, self.vectors.values())), units, layers, activation, norm)
            self.width += self.mlp.width
        self.convolutions = nn.ModuleList()
        for layout in self.layouts.values():
            channels = [layout.channels, *_channels(depth, multipliers, layout.stages)]
            self.convolutions.append(_Stages(nn.Conv2d, channels, activation, norm, plain_end=False))
            self.width += channels[-1] * layout.sides[0] * layout.sides[1]

    def forward(self, observation: Observation) -> Tensor:
        """``[N, …] → [N, E]``."""
        parts: list[Tensor] = []
        if self.vectors:
            seen = {name: _vector(_part(observation, name), part) for name, part in self.vectors.items()}
            vector = torch.cat([self.standard(name, part) for name, part in seen.items()], -1)
            parts.append(self.mlp(symlog(vector) if self.squash else vector))
        for (name, layout), stages in zip(self.layouts.items(), self.convolutions, strict=True):
            planes = stages(layout.planes(_part(observation, name)) - 0.5)
            parts.append(planes.permute(0, 2, 3, 1).flatten(1))
        return torch.cat(parts, -1)


class Decoder(nn.Module):
    """Features ``[N, F]`` to the mean of a Gaussian of unit variance over observations (pixels in [0, 1]).

    The mirror image of :class:`Encoder`; the arguments are the same, and:

    Args:
        vector_scale: Weight of the squared errors of vectors.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        features: int,
        *,
        units: int,
        layers: int,
        depth: int,
        multipliers: tuple[int, ...],
        activation: str,
        norm: bool,
        squash: bool,
        vector_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.space, self.squash, self.activation = space, squash, ACTIVATIONS[activation]
        self.vector_scale = vector_scale
        self.vectors, self.layouts = _vectors_and_layouts(space, len(multipliers))
        self.standard = _Standard(self.vectors)
        if self.vectors:
            self.mlp = MLP(features, units, layers, activation, norm)
            self.outs = nn.ModuleList(linear(self.mlp.width, _width(part)) for part in self.vectors.values())
        for i, part in enumerate(self.vectors.values()):
            if isinstance(part, spaces.Box):
                for bound in ("low", "high"):
                    value = torch.as_tensor(np.asarray(getattr(part, bound), np.float64)).float()
                    self.register_buffer(f"_{bound}_{i}", value, persistent=False)
        self.stems, self.convolutions = nn.ModuleList(), nn.ModuleList()
        for layout in self.layouts.values():
            channels = [*_channels(depth, multipliers, layout.stages)[::-1], layout.channels]
            self.stems.append(
                nn.Sequential(
                    linear(features, channels[0] * layout.sides[0] * layout.sides[1]),
                    nn.Unflatten(-1, (*layout.sides, channels[0])),
                    Norm(channels[0]) if norm else nn.Identity(),
                )
            )
            self.convolutions.append(_Stages(nn.ConvTranspose2d, channels, activation, norm, plain_end=True))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``[N, F]`` → for each part: ``[N, width]`` of a vector, ``[N, C, H, W]`` of an image."""
        means: dict[str, Tensor] = {}
        if self.vectors:
            hidden = self.mlp(features)
            means.update({name: out(hidden) for name, out in zip(self.vectors, self.outs, strict=True)})
        for name, stem, stages in zip(self.layouts, self.stems, self.convolutions, strict=True):
            planes = self.activation(stem(features)).permute(0, 3, 1, 2)
            means[name] = stages(planes).sigmoid()
        return means

    def loss(self, means: dict[str, Tensor], observation: Observation) -> Tensor:
        """Σ (mean − x)² over all entries, and the cross-entropy of Discrete parts: ``[N]``.

        Vectors are compared in units of their spread, and squashed ones in symlog of that. The squares are those of V3;
        V1's are halved, as a Gaussian's are.
        """
        weight = 1.0 if self.squash else 0.5
        total: list[Tensor] = []
        for name, part in self.vectors.items():
            seen = _part(observation, name)
            if isinstance(part, spaces.Discrete):
                total.append(F.cross_entropy(means[name], seen - int(part.start), reduction="none"))
                continue
            vector = self.standard(name, _vector(seen, part))
            error = means[name] - (symlog(vector) if self.squash else vector)
            total.append(weight * self.vector_scale * error.square().sum(-1))
        for name, layout in self.layouts.items():
            error = means[name] - layout.planes(_part(observation, name))
            total.append(weight * error.square().sum((1, 2, 3)))
        return torch.stack(total).sum(0)

    def observation(self, means: dict[str, Tensor]) -> Observation:
        """The observation that means of :meth:`forward` stand for, clipped to its space."""
        seen: dict[str, Tensor] = {}
        for i, (name, part) in enumerate(self.vectors.items()):
            if isinstance(part, spaces.Discrete):
                seen[name] = means[name].argmax(-1) + int(part.start)
                continue
            value = symexp(means[name].clamp(-_LARGEST, _LARGEST)) if self.squash else means[name]
            value = self.standard.original(name, value).reshape(-1, *part.shape)
            seen[name] = torch.clamp(value, self.get_buffer(f"_low_{i}"), self.get_buffer(f"_high_{i}"))
        for name, layout in self.layouts.items():
            seen[name] = layout.image(means[name])
        return seen if isinstance(self.space, spaces.Dict) else seen[""]


def _width(space: spaces.Box | spaces.Discrete) -> int:
    return int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))


def _vector(value: Tensor, space: spaces.Box | spaces.Discrete) -> Tensor:
    """``[N, …] → [N, width]``; Discrete values one-hot."""
    if isinstance(space, spaces.Discrete):
        return F.one_hot(value - int(space.start), int(space.n)).to(torch.float32)
    return value.reshape(len(value), -1).to(torch.float32)
