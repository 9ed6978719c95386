"""The deterministic half of a recurrent state-space model: cells that carry what must be remembered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imagine_envs.world_models.rssm.networks import ACTIVATIONS, BlockLinear, Norm, linear

__all__ = ["GRU", "BlockGRU", "Cell"]


class Cell(nn.Module):
    """h' = f(h, z, a).

    The part that depends on the action alone comes in ready made, as :meth:`embed_action` of it: known actions of a
    whole sequence are embedded at once.
    """

    def embed_action(self, action: Tensor) -> Tensor:
        """``[…, A] → […, E]``."""
        raise NotImplementedError

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """``[B, D]``, ``[B, S]`` and the embedded action ``[B, E]`` → ``[B, D]``."""
        raise NotImplementedError


class GRU(Cell):
    """PlaNet's and Dreamer V1's: one layer on (z, a), then a gated recurrent unit.

    Args:
        deter: Width D.
        stoch: Width S of the stochastic state.
        action: Width A.
        hidden: Units of the layer before it.
        activation: A name in :data:`~imagine_envs.world_models.rssm.networks.ACTIVATIONS`.
    """

    def __init__(self, deter: int, stoch: int, action: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.stoch = linear(stoch, hidden, fan_in=stoch + action)
        self.action = linear(action, hidden, fan_in=stoch + action, bias=False)
        self.cell = nn.GRUCell(hidden, deter)
        self.activation = ACTIVATIONS[activation]

    def embed_action(self, action: Tensor) -> Tensor:
        """``[…, A] → […, hidden]``."""
        return self.action(action)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """See :class:`Cell`."""
        seen = self.activation(self.stoch(stoch) + action)
        with torch.autocast(deter.device.type, enabled=False):  # what is remembered is not rounded in every step
            return self.cell(seen.to(deter.dtype), deter)


class BlockGRU(Cell):
    """DreamerV3's: a gated recurrent unit whose recurrent weights are block-diagonal.

    Every block sees its own part of h and the whole of (h, z, a), each embedded in ``hidden`` units. What all blocks
    see is multiplied once, by a dense layer, in place of being copied to every block: the sum is the same.

    Args:
        deter: Width D, a multiple of ``blocks``.
        stoch: Width S of the stochastic state.
        action: Width A.
        hidden: Units that each of h, z and a is embedded in.
        blocks: Blocks.
        activation: A name in :data:`~imagine_envs.world_models.rssm.networks.ACTIVATIONS`.
    """

    def __init__(self, deter: int, stoch: int, action: int, hidden: int, blocks: int, activation: str) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Sequential(linear(w, hidden), Norm(hidden)) for w in (deter, stoch, action))
        fan_in = deter // blocks + 3 * hidden
        self.shared = linear(3 * hidden, deter, fan_in=fan_in, bias=False)
        self.own = BlockLinear(deter, deter, blocks, fan_in=fan_in)
        self.norm = Norm(deter)
        self.gates = BlockLinear(deter, 3 * deter, blocks)
        self.activation = ACTIVATIONS[activation]

    def embed_action(self, action: Tensor) -> Tensor:
        """``[…, A] → […, hidden]``."""
        return self.activation(self.embeddings[2](action))

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """See :class:`Cell`."""
        seen = torch.cat([self.embeddings[0](deter), self.embeddings[1](stoch)], -1)
        seen = torch.cat([self.activation(seen), action], -1)
        hidden = self.own.together(self.own(deter) + self.own.apart(self.shared(seen)))
        hidden = self.activation(self.norm(hidden))
        reset, candidate, update = self.gates(hidden).chunk(3, -1)
        candidate = (reset.sigmoid() * candidate).tanh().to(deter.dtype)  # lower precision ends here (autocast)
        update = (update - 1).sigmoid().to(deter.dtype)
        return self.own.together(torch.lerp(self.own.apart(deter), candidate, update))
