from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from imagine_envs.world_models.rssm.cells import GRU, BlockGRU, Cell
from imagine_envs.world_models.rssm.networks import BlockLinear

ROWS, DETER, STOCH, ACTION, HIDDEN = 5, 12, 6, 3, 4


def scramble(cell: Cell) -> Cell:
    """Every weight at random, biases and normalisations too: a wrong one shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return cell


def block_gru(blocks: int) -> BlockGRU:
    torch.manual_seed(0)
    cell = scramble(BlockGRU(DETER, STOCH, ACTION, HIDDEN, blocks, "silu"))
    assert isinstance(cell, BlockGRU)
    return cell


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    h, z, a = (torch.randn(ROWS, width, generator=generator) for width in (DETER, STOCH, ACTION))
    return h, z, a


def normed(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    spread = values.var(-1, keepdim=True, unbiased=False) + 1e-3
    return (values - values.mean(-1, keepdim=True)) / spread.sqrt() * weight + bias


def dense_block_gru(cell: BlockGRU, h: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """As DreamerV3 writes it: (h, z, a) embedded, side by side, repeated for every block beside its part of h."""
    blocks, width = cell.own.blocks, DETER // cell.own.blocks
    embedded = []
    for values, (layer, norm) in zip((h, z, a), cell.embeddings, strict=True):  # type: ignore[misc]
        embedded.append(F.silu(normed(values @ layer.weight.T + layer.bias, norm.weight, norm.bias)))
    everything = torch.cat(embedded, -1)
    hidden = []
    for g in range(blocks):
        part = slice(g * width, (g + 1) * width)
        seen = torch.cat([h[:, part], everything], -1)
        weight = torch.cat([cell.own.weight[g], cell.shared.weight[part].T])
        hidden.append(seen @ weight + cell.own.bias[g])
    joined = F.silu(normed(torch.cat(hidden, -1), cell.norm.weight, cell.norm.bias))
    after = []
    for g in range(blocks):
        part = slice(g * width, (g + 1) * width)
        gates = joined[:, part] @ cell.gates.weight[g] + cell.gates.bias[g]
        reset, candidate, update = gates[:, :width], gates[:, width : 2 * width], gates[:, 2 * width :]
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        after.append(update * candidate + (1 - update) * h[:, part])
    return torch.cat(after, -1)


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_the_block_gru_equals_its_dense_form(blocks: int) -> None:
    cell, (h, z, a) = block_gru(blocks), inputs()
    found = cell(h, z, cell.embed_action(a))
    assert found.shape == (ROWS, DETER)
    assert torch.allclose(found, dense_block_gru(cell, h, z, a), atol=1e-5)
    assert not torch.allclose(found, h, atol=0.1)


def test_a_block_keeps_the_rest_of_the_state_out_of_its_own_weights() -> None:
    """What a block sees of the other blocks, it sees through the embedding of the whole of h alone."""
    cell, (h, z, a) = block_gru(3), inputs()
    with torch.no_grad():
        cell.embeddings[0][0].weight.zero_()  # type: ignore[index,union-attr,operator]
        cell.norm = torch.nn.Identity()  # type: ignore[assignment]
    jacobian = torch.autograd.functional.jacobian(lambda h: cell(h, z[:1], cell.embed_action(a[:1]))[0], h[:1])
    own = torch.block_diag(*[torch.ones(4, 4)] * 3).bool()
    assert (jacobian[:, 0][~own] == 0).all()
    assert (jacobian[:, 0][own] != 0).all()


def test_block_linear_by_hand() -> None:
    torch.manual_seed(0)
    layer = BlockLinear(6, 4, 2)
    with torch.no_grad():
        layer.bias.normal_()
    values = torch.randn(ROWS, 6)
    dense = torch.block_diag(*layer.weight)
    assert dense.shape == (6, 4)
    assert torch.allclose(layer.together(layer(values)), values @ dense + layer.bias.flatten(), atol=1e-6)
    assert torch.equal(layer.together(layer.apart(values)), values)


def test_the_gru_by_hand() -> None:
    torch.manual_seed(0)
    cell = scramble(GRU(DETER, STOCH, ACTION, HIDDEN, "elu"))
    assert isinstance(cell, GRU)
    h, z, a = inputs()
    weight = torch.cat([cell.stoch.weight, cell.action.weight], 1)  # one layer on (z, a)
    x = F.elu(torch.cat([z, a], 1) @ weight.T + cell.stoch.bias)
    gru = cell.cell
    of_x = (x @ gru.weight_ih.T + gru.bias_ih).chunk(3, 1)
    of_h = (h @ gru.weight_hh.T + gru.bias_hh).chunk(3, 1)
    reset, update = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
    candidate = torch.tanh(of_x[2] + reset * of_h[2])
    expected = (1 - update) * candidate + update * h
    assert torch.allclose(cell(h, z, cell.embed_action(a)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "block"])
def test_actions_of_a_whole_sequence_are_embedded_as_one_by_one(kind: str) -> None:
    cell = GRU(DETER, STOCH, ACTION, HIDDEN, "elu") if kind == "gru" else block_gru(2)
    actions = torch.randn(7, ROWS, ACTION)
    at_once = cell.embed_action(actions)
    for t in range(7):
        assert torch.allclose(at_once[t], cell.embed_action(actions[t]), atol=1e-6)


def test_the_variance_of_a_split_layer_is_that_of_the_whole() -> None:
    torch.manual_seed(0)
    gru = GRU(8, 300, 100, 500, "elu")
    for layer in (gru.stoch, gru.action):
        assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    block = BlockGRU(800, 10, 10, 50, 8, "silu")
    for weight in (block.shared.weight, block.own.weight):
        assert weight.std().item() == pytest.approx((100 + 150) ** -0.5, rel=0.02)
    assert block.gates.weight.std().item() == pytest.approx(100**-0.5, rel=0.02)
