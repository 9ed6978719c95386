from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from imagine_envs.spaces import Observation, map_observation, to_tensor
from imagine_envs.world_models.rssm.codecs import Decoder, Encoder
from imagine_envs.world_models.rssm.networks import symlog

FEATURES = 5
VECTOR = spaces.Box(np.array([-1, -np.inf, 0]), np.array([1, np.inf, 4]), dtype=np.float64)
HWC, CHW = spaces.Box(0, 255, (16, 12, 3), np.uint8), spaces.Box(0, 255, (3, 16, 12), np.uint8)
SPACES: dict[str, spaces.Space[Any]] = {
    "vector": VECTOR,
    "matrix": spaces.Box(-2, 2, (2, 3), np.float32),
    "scalar": spaces.Box(-2, 2, (), np.float32),
    "integers": spaces.Box(-5, 5, (4,), np.int64),
    "bytes": spaces.Box(0, 255, (6,), np.uint8),
    "planes": spaces.Box(0, 1, (5, 5, 3), np.uint8),  # no picture: it does not go from 0 to 255
    "discrete": spaces.Discrete(4, start=-2),
    "hwc": HWC,
    "chw": CHW,
    "stack": spaces.Box(0, 255, (4, 16, 16), np.uint8),
    "dict": spaces.Dict(
        {
            "camera": HWC,
            "where": spaces.Discrete(3, start=5),
            "speed": VECTOR,
            "other": CHW,
            "load": spaces.Box(-2, 2, (), np.float32),
        }
    ),
}


def options(squash: bool = True, norm: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "units": 8,
        "layers": 2,
        "depth": 2,
        "multipliers": (1, 2, 3, 4),
        "activation": "silu",
        "norm": norm,
        "squash": squash,
        **changes,
    }


def encoder(space: spaces.Space[Any], **changes: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(space, **options(**changes))


def decoder(space: spaces.Space[Any], **changes: Any) -> Decoder:
    torch.manual_seed(0)
    return Decoder(space, FEATURES, **options(**changes))


def samples(space: spaces.Space[Any], count: int = 6) -> Observation:
    space.seed(0)
    rows = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return to_tensor({key: np.stack([row[key] for row in rows]) for key in space.spaces}, space, "cpu")  # type: ignore[no-any-return]
    return to_tensor(np.stack(rows), space, "cpu")  # type: ignore[no-any-return]


def named(observation: Observation) -> dict[str, Tensor]:
    return observation if isinstance(observation, dict) else {"": observation}


def perfect(observation: Observation, space: spaces.Space[Any], squash: bool) -> dict[str, Tensor]:
    """The means of a decoder that is right, worked out here: symlog of vectors, [0, 1] of pixels, certain logits."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    means = {}
    for name, value in named(observation).items():
        part = parts[name]
        if isinstance(part, spaces.Discrete):
            means[name] = 1e4 * F.one_hot(value - int(part.start), int(part.n)).float()
        elif part == HWC:
            means[name] = value.permute(0, 3, 1, 2).float() / 255
        elif part in (CHW, SPACES["stack"]):
            means[name] = value.float() / 255
        else:
            flat = value.reshape(len(value), -1).float()
            means[name] = torch.sign(flat) * torch.log(flat.abs() + 1) if squash else flat
    return means


def same(one: Observation, other: Observation) -> bool:
    left, right = named(one), named(other)
    return left.keys() == right.keys() and all(
        value.shape == right[key].shape and torch.allclose(value.double(), right[key].double(), rtol=1e-5, atol=1e-5)
        for key, value in left.items()
    )


# --- the encoder ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_every_observation_is_embedded_row_by_row(name: str) -> None:
    model, seen = encoder(SPACES[name]), samples(SPACES[name])
    embedding = model(seen)
    assert embedding.shape == (6, model.width)
    assert embedding.dtype == torch.float32
    assert embedding.std(0).max() > 0.01
    for row in range(6):
        alone = model(map_observation(lambda value, row=row: value[row : row + 1], seen))
        assert torch.allclose(alone[0], embedding[row], atol=1e-5)


def test_a_picture_is_the_same_in_either_layout() -> None:
    one, other = encoder(HWC), encoder(CHW)
    assert one.state_dict().keys() == other.state_dict().keys()
    picture = samples(HWC)
    assert isinstance(picture, Tensor)
    assert torch.allclose(one(picture), other(picture.permute(0, 3, 1, 2)), atol=1e-6)
    assert one.width == 2 * 8 * 6  # one halving: 6 pixels are not halved again

    back, forth = decoder(HWC), decoder(CHW)
    features = torch.randn(4, FEATURES)
    assert torch.allclose(back(features)[""], forth(features)[""], atol=1e-6)
    shown, seen = back.observation(back(features)), forth.observation(forth(features))
    assert isinstance(shown, Tensor)
    assert isinstance(seen, Tensor)
    assert torch.equal(shown, seen.permute(0, 2, 3, 1))


def test_the_first_convolution_by_hand() -> None:
    """Pixels from −½ to ½, channels in their order, kernel 4, stride 2, padding 1."""
    model, picture = encoder(HWC, norm=False, multipliers=(1,)), samples(HWC)
    assert isinstance(picture, Tensor)
    layer = model.convolutions[0].convolutions[0]  # type: ignore[union-attr,index]
    planes = picture.permute(0, 3, 1, 2).double() / 255 - 0.5
    padded = F.pad(planes, (1, 1, 1, 1))
    expected = torch.zeros(6, 8, 6, 2, dtype=torch.float64)
    for i in range(8):
        for j in range(6):
            patch = padded[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            expected[:, i, j] = torch.einsum("nchw,ochw->no", patch, layer.weight.double()) + layer.bias.double()  # type: ignore[operator,union-attr]
    assert torch.allclose(model(picture).double(), F.silu(expected).flatten(1), atol=1e-5)


@pytest.mark.parametrize("squash", [True, False])
def test_vectors_are_squashed_and_discrete_parts_are_one_hot(squash: bool) -> None:
    space = spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3, start=5)})
    model = encoder(space, squash=squash)
    a, b = torch.tensor([[0.5, -100.0, 3.0]]), torch.tensor([6])
    flat = torch.tensor([[0.5, -100.0, 3.0, 0.0, 1.0, 0.0]])
    if squash:
        flat = flat.sign() * (flat.abs() + 1).log()
    assert torch.allclose(model({"a": a, "b": b}), model.mlp(flat), atol=1e-6)
    assert torch.equal(model({"b": b, "a": a}), model({"a": a, "b": b}))  # the space's order counts, not the dict's


@pytest.mark.parametrize(
    ("shape", "sides", "stages"),
    [
        ((64, 64, 3), (4, 4), 4),
        ((96, 96, 3), (6, 6), 4),
        ((84, 84, 1), (21, 21), 2),
        ((8, 8, 3), (4, 4), 1),
        ((3, 8, 40), (4, 20), 1),
        ((128, 64, 4), (8, 4), 4),
        ((12, 12, 3), (6, 6), 1),
    ],
)
@pytest.mark.parametrize("norm", [True, False])
def test_pictures_of_many_sizes_go_in_and_come_out(
    shape: tuple[int, ...], sides: tuple[int, int], stages: int, norm: bool
) -> None:
    space = spaces.Box(0, 255, shape, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, back = encoder(space, norm=norm), decoder(space, norm=norm)
    assert len(model.convolutions[0].convolutions) == stages  # type: ignore[union-attr,arg-type]
    assert model.width == 2 * (1, 2, 3, 4)[stages - 1] * sides[0] * sides[1]
    picture = samples(space, 2)
    assert model(picture).shape == (2, model.width)
    shown = back.observation(back(torch.randn(2, FEATURES)))
    assert isinstance(shown, Tensor)
    assert shown.shape == (2, *shape)
    assert shown.dtype == torch.uint8
    assert back.loss(back(torch.randn(2, FEATURES)), picture).shape == (2,)


@pytest.mark.parametrize("multipliers", [(3,), (1, 2)])
def test_there_are_no_more_convolutions_than_multipliers(multipliers: tuple[int, ...]) -> None:
    space = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    model, back = encoder(space, multipliers=multipliers), decoder(space, multipliers=multipliers)
    assert model(samples(space)).shape == (6, model.width)
    assert back(torch.randn(2, FEATURES))[""].shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    "shape", [(63, 64, 3), (64, 65, 3), (6, 64, 3), (4, 4, 3), (3, 9, 12), (66, 66, 3), (210, 160, 3)]
)
@pytest.mark.parametrize("kind", [encoder, decoder])
def test_odd_and_small_pictures_are_refused(kind: Any, shape: tuple[int, ...]) -> None:
    sides = shape[1:] if shape[0] == 3 else shape[:2]
    message = (
        f"cannot take images of {sides[0]} × {sides[1]} pixels: sides of at least 8 were expected that can be halved"
    )
    with pytest.raises(ValueError, match=message):
        kind(spaces.Box(0, 255, shape, np.uint8))
    with pytest.raises(ValueError, match=message):
        kind(spaces.Dict({"a": VECTOR, "b": spaces.Box(0, 255, shape, np.uint8)}))


@pytest.mark.parametrize("part", [spaces.MultiBinary(3), spaces.MultiDiscrete([2, 2]), spaces.Dict({"x": VECTOR})])
def test_other_spaces_are_refused(part: spaces.Space[Any]) -> None:
    for space in (part, spaces.Dict({"a": VECTOR, "b": part})):
        if space != spaces.Dict({"x": VECTOR}):
            with pytest.raises(ValueError, match="needs observations of Box or Discrete, or a Dict of those, not"):
                encoder(space)
    with pytest.raises(ValueError, match="needs something to observe"):
        encoder(spaces.Dict({}))


def test_a_single_number_is_a_vector_too() -> None:
    space = spaces.Dict({"a": spaces.Box(-1, 1, (), np.float32), "b": VECTOR})
    model, back = encoder(space), decoder(space)
    seen = samples(space)
    for one in (model, back):
        one.standard.adopt(seen)
    assert model(seen).shape == (6, model.width)
    assert back.loss(back(torch.randn(6, FEATURES)), seen).shape == (6,)
    assert back.observation(back(torch.randn(2, FEATURES)))["a"].shape == (2,)  # type: ignore[index]


# --- the decoder ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("name", SPACES)
def test_means_that_equal_the_target_cost_nothing_and_decode_to_it(name: str, squash: bool) -> None:
    space = SPACES[name]
    model, seen = decoder(space, squash=squash), samples(space)
    means = perfect(seen, space, squash)
    assert {key: value.shape for key, value in means.items()} == {
        key: value.shape for key, value in model(torch.randn(6, FEATURES)).items()
    }
    assert torch.allclose(model.loss(means, seen), torch.zeros(6), atol=1e-6)
    assert same(model.observation(means), seen)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("squash", "weight"), [(True, 1.0), (False, 0.5)])  # V1 halves the squares, V3 does not
@pytest.mark.parametrize("name", SPACES)
def test_the_loss_is_the_sum_over_all_entries_of_each_record(
    name: str, squash: bool, weight: float, scale: float
) -> None:
    space = SPACES[name]
    model, seen = decoder(space, squash=squash, vector_scale=scale), samples(space)
    means, target = model(torch.randn(6, FEATURES)), perfect(seen, space, squash)
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    expected = torch.zeros(6)
    for key, part in parts.items():
        if isinstance(part, spaces.Discrete):
            expected -= (means[key].log_softmax(-1) * (target[key] / 1e4)).sum(-1)
        else:
            own = scale if key in model.vectors else 1.0  # pictures keep theirs
            expected += own * weight * (means[key] - target[key]).square().flatten(1).sum(1)
    loss = model.loss(means, seen)
    assert loss.shape == (6,)
    assert torch.allclose(loss, expected, rtol=1e-4)


def test_squashed_vectors_are_compared_in_symlog_by_hand() -> None:
    model = decoder(spaces.Box(-np.inf, np.inf, (2,)))
    means = {"": torch.tensor([[0.0, 2.0]])}
    seen = torch.tensor([[math.e - 1, -(math.e - 1)]])  # symlog: 1 and −1
    assert model.loss(means, seen).item() == pytest.approx(1 + 9)


def test_what_is_decoded_is_clipped_to_the_space() -> None:
    model = decoder(VECTOR, squash=False)
    shown = model.observation({"": torch.tensor([[-9.0, -1e6, -9.0], [9.0, 1e6, 9.0], [0.5, 3.0, 2.0]])})
    assert isinstance(shown, Tensor)
    assert shown.tolist() == [[-1, -1e6, 0], [1, 1e6, 4], [0.5, 3, 2]]
    far = {"": symlog(torch.tensor([[-9.0, 5e5, 7.0]]))}
    squashed = decoder(VECTOR).observation(far)
    assert isinstance(squashed, Tensor)
    assert squashed.tolist() == [[-1, pytest.approx(5e5, rel=1e-4), 4]]


def test_pixels_are_rounded_and_stay_within_their_range() -> None:
    model = decoder(CHW)
    planes = torch.linspace(0, 1, 3 * 16 * 12).reshape(1, 3, 16, 12)
    shown = model.observation({"": planes})
    assert isinstance(shown, Tensor)
    assert shown.dtype == torch.uint8
    assert torch.equal(shown.double(), (planes.double() * 255).round())
    assert (shown.min(), shown.max()) == (0, 255)
    wild = model(1e6 * torch.randn(3, FEATURES))[""]
    assert wild.min() >= 0
    assert wild.max() <= 1


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_decoded_lies_in_the_space(name: str) -> None:
    space = SPACES[name]
    model = decoder(space)
    shown = map_observation(Tensor.detach, model.observation(model(30 * torch.randn(20, FEATURES))))
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for key, value in named(shown).items():
        part = parts[key]
        assert value.shape == (20, *(part.shape or ()))
        for row in value:
            array = np.asarray(row.double() if isinstance(part, spaces.Box) else row)
            if isinstance(part, spaces.Box):
                assert (array >= part.low).all()
                assert (array <= part.high).all()
            else:
                assert part.contains(np.int64(array))
    assert isinstance(shown, dict) == isinstance(space, spaces.Dict)


def test_several_images_keep_their_own_convolutions() -> None:
    space = spaces.Dict({"left": HWC, "right": HWC})
    model = encoder(space)
    left, right = samples(HWC), samples(HWC)
    assert isinstance(right, Tensor)
    right = right.flip(0)
    halves = model({"left": left, "right": right}).chunk(2, -1)
    other = model({"left": left, "right": left}).chunk(2, -1)
    assert torch.equal(halves[0], other[0])
    assert not torch.allclose(halves[1], other[1])


def test_bounds_are_no_weights_and_move_with_the_module() -> None:
    model = decoder(VECTOR)
    assert not any("low" in name or "high" in name for name in model.state_dict())
    assert {buffer.dtype for buffer in model.double().buffers()} == {torch.float64}


# --- units ------------------------------------------------------------------------------------------------------------

WIDE = spaces.Dict({"numbers": spaces.Box(-100, 100, (3,), np.float32), "where": spaces.Discrete(3, start=5)})
NUMBERS = torch.tensor([[0.1, 40.0, 7.0], [0.3, 60.0, 7.0], [0.1, 40.0, 7.0], [0.3, 60.0, 7.0]])
SEEN = {"numbers": NUMBERS, "where": torch.tensor([5, 7, 6, 5])}
STANDARD = torch.tensor([[-1.0, -1, 0], [1, 1, 0], [-1, -1, 0], [1, 1, 0]])  # what never changes keeps its unit


@pytest.mark.parametrize("squash", [True, False])
def test_vectors_are_seen_in_units_of_their_spread(squash: bool) -> None:
    model = encoder(WIDE, squash=squash)
    expected = model({**SEEN, "numbers": STANDARD})
    assert not torch.allclose(model(SEEN), expected, atol=1e-3)
    model.standard.adopt(SEEN)
    torch.testing.assert_close(model(SEEN), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("squash", [True, False])
def test_vectors_are_compared_in_units_of_their_spread_and_shown_in_their_own(squash: bool) -> None:
    model = decoder(WIDE, squash=squash)
    model.standard.adopt(SEEN)
    targets = {**SEEN, "numbers": STANDARD}
    means = perfect(targets, WIDE, squash)
    torch.testing.assert_close(model.observation(means)["numbers"], NUMBERS)  # type: ignore[index]
    assert float(model.loss(means, SEEN).max()) < 1e-5
    means["numbers"] = means["numbers"] + torch.tensor([0.5, 0.0, 0.0])
    error = 0.25 if squash else 0.125  # of half a spread, which is 0.05 in the space's units
    torch.testing.assert_close(model.loss(means, SEEN), torch.full((4,), error), atol=1e-4, rtol=0)
    means["numbers"] = means["numbers"] + torch.tensor([0.0, 1e3, 0.0])
    assert (model.observation(means)["numbers"][:, 1] == 100).all()  # type: ignore[index]  # within the space
