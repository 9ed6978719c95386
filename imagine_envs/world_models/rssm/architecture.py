"""The sizes and settings of published recurrent state-space models."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from imagine_envs.world_models.rssm.networks import ACTIVATIONS

__all__ = ["PRESETS", "SIZES", "Architecture", "architecture_of"]


@dataclass(frozen=True)
class Architecture:
    """Everything that shapes an RSSM besides its spaces.

    Attributes:
        deter: Width of the deterministic state.
        stoch: Entries of a Gaussian stochastic state, or variables of a categorical one.
        classes: Classes of each variable; 0 makes the state Gaussian.
        hidden: Units of the layers inside the transition.
        blocks: Blocks of the recurrent weights; 1 is a plain GRU.
        prior_layers: Layers of the prior.
        units: Units of the MLPs around it: encoder, decoder, heads, actor and critic.
        codec_layers: Layers of the MLPs that encode and decode vectors.
        reward_layers: Layers of the reward head.
        termination_layers: Layers of the termination head.
        depth: Channels of convolutions are multiples of it,
        multipliers: namely these, from the largest picture to the smallest; there are at most so many convolutions.
        activation: "elu", "relu" or "silu".
        norm: Whether layers are normalised.
        squash: V3's way with numbers: vectors are seen through symlog, rewards told by two-hot bins, and the squared
            errors of observations not halved.
        dynamics_scale: Weight of KL(sg(posterior) ‖ prior), by which the prior learns.
        representation_scale: Weight of KL(posterior ‖ sg(prior)), by which the posterior becomes predictable.
        free_nats: What each KL may cost for nothing,
        free_average: judged by the mean of the batch (Dreamer V1) or record by record (V3).
    """

    deter: int
    stoch: int
    classes: int
    hidden: int
    blocks: int
    prior_layers: int
    units: int
    codec_layers: int
    reward_layers: int
    termination_layers: int
    depth: int
    multipliers: tuple[int, ...]
    activation: str
    norm: bool
    squash: bool
    dynamics_scale: float
    representation_scale: float
    free_nats: float
    free_average: bool

    def __post_init__(self) -> None:
        least = dict.fromkeys(("deter", "stoch", "hidden", "blocks", "units", "depth"), 1)
        layers = ("classes", "prior_layers", "codec_layers", "reward_layers", "termination_layers")
        for name, number in {**least, **dict.fromkeys(layers, 0)}.items():
            if not isinstance(getattr(self, name), int) or getattr(self, name) < number:
                raise ValueError(f"{name}={getattr(self, name)!r} must be an integer of at least {number}")
        if not self.multipliers or not all(isinstance(m, int) and m > 0 for m in self.multipliers):
            raise ValueError(f"multipliers={self.multipliers} must be positive integers, one for each convolution")
        for name in ("dynamics_scale", "representation_scale", "free_nats"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        if self.deter % self.blocks:
            raise ValueError(f"deter={self.deter} must be a multiple of blocks={self.blocks}")
        if self.classes == 1:
            raise ValueError(f"classes={self.classes} must be 0 (Gaussian) or at least 2")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation={self.activation!r} must be one of {', '.join(map(repr, ACTIVATIONS))}")


# deter, hidden, classes, depth and units of danijar/dreamerv3's sizes.
SIZES: dict[str, tuple[int, int, int, int, int]] = {
    "1m": (512, 64, 4, 4, 64),
    "12m": (2048, 256, 16, 16, 256),
    "25m": (3072, 384, 24, 24, 384),
    "50m": (4096, 512, 32, 32, 512),
    "100m": (6144, 768, 48, 48, 768),
    "200m": (8192, 1024, 64, 64, 1024),
    "400m": (12288, 1536, 96, 96, 1536),
}
"""The sizes of DreamerV3, named after their parameters (with pictures, in the original's own networks)."""

PRESETS: dict[str, Architecture] = {
    # Dreamer V1 (Hafner et al., 2020), appendix A, and danijar/dreamer; PlaNet's transition is the same.
    "v1": Architecture(
        deter=200,
        stoch=30,
        classes=0,
        hidden=200,
        blocks=1,
        prior_layers=1,
        units=400,
        codec_layers=2,
        reward_layers=2,
        termination_layers=3,
        depth=32,
        multipliers=(1, 2, 4, 8),
        activation="elu",
        norm=False,
        squash=False,
        dynamics_scale=1.0,
        representation_scale=1.0,
        free_nats=3.0,
        free_average=True,
    ),
    # DreamerV3 (Hafner et al., 2023), appendix; the size is that of "1m".
    "v3": Architecture(
        deter=512,
        stoch=32,
        classes=4,
        hidden=64,
        blocks=8,
        prior_layers=2,
        units=64,
        codec_layers=3,
        reward_layers=1,
        termination_layers=1,
        depth=4,
        multipliers=(2, 3, 4, 4),
        activation="silu",
        norm=True,
        squash=True,
        dynamics_scale=1.0,
        representation_scale=0.1,
        free_nats=1.0,
        free_average=False,
    ),
}


def architecture_of(preset: str, size: str | None = None, /, **changes: Any) -> Architecture:
    """A preset in one of its sizes, with changes.

    Args:
        preset: "v1" or "v3".
        size: A key of :data:`SIZES`; None is "1m" for V3. V1 has one size, its own.
        **changes: Attributes of :class:`Architecture`.

    Raises:
        ValueError: If a name is unknown or a number makes no sense.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} must be one of {', '.join(map(repr, PRESETS))}")
    architecture = PRESETS[preset]
    if size is not None and preset == "v1":
        raise ValueError(f"size={size!r} was given, but preset='v1' brings its own sizes")
    if size is not None:
        if size not in SIZES:
            raise ValueError(f"size={size!r} must be one of {', '.join(map(repr, SIZES))}")
        deter, hidden, classes, depth, units = SIZES[size]
        architecture = replace(architecture, deter=deter, hidden=hidden, classes=classes, depth=depth, units=units)
    known = [item.name for item in fields(Architecture)]
    for name in changes:
        if name not in known:
            raise ValueError(f"an RSSM has no {name!r}; one of {', '.join(known)} was expected")
    if "multipliers" in changes:
        changes["multipliers"] = tuple(changes["multipliers"])
    return replace(architecture, **changes)
