from __future__ import annotations

import copy
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs import storage
from imagine_envs.dreams import Dream
from imagine_envs.experience import Replay
from imagine_envs.storage import StorageError, load_tensors, save_tensors, sha256
from imagine_envs.world_models import CopyModel, Ensemble, World, WorldSpec, fit, load, register_reward, save
from imagine_envs.world_models.protocol import Prediction, State, WorldModel
from imagine_envs.world_models.world import FORMAT_VERSION, Contexts

FILES = ["card.md", "config.json", "model.safetensors", "starts.safetensors"]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@torch.no_grad()
def dreamed(world: World, steps: int = 5) -> list[Tensor]:
    """Everything that a short dream of a world says."""
    dream = Dream(world, uncertainty_penalty=0.1 if world.model.has_uncertainty else 0.0)
    state, said = dream.reset(9, seed=3), []
    for t in range(steps):
        if isinstance(world.action_space, spaces.Discrete):
            action = (torch.arange(9) + t) % int(world.action_space.n)
        else:
            action = torch.linspace(-1, 1, 9)[:, None].expand(9, *world.action_space.shape).contiguous()  # type: ignore[misc]
        state, step = dream.step(state, action)
        said += [*state.model.values(), step.reward, step.terminated]
        state = dream.restart(state, step.terminated | (torch.arange(9) == t))
    return said


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, two, strict=True))


# --- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cartpole_world", "pendulum_world", "rssm_world", "perfect_cartpole", "perfect_pendulum"]
)
def test_a_loaded_world_dreams_the_same_to_the_bit(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    world: World = request.getfixturevalue(name)
    world.save(tmp_path / "w")
    assert names(tmp_path) == ["w"]
    assert names(tmp_path / "w") == FILES
    again = World.load(tmp_path / "w")
    assert same(dreamed(world), dreamed(again))
    assert again.digest == world.digest
    assert again.spec == world.spec
    assert again.model.hyperparameters() == world.model.hyperparameters()
    assert not again.model.training
    assert torch.equal(again.contexts.initial, world.contexts.initial)
    if world.uncertainty_quantiles is None:
        assert again.uncertainty_quantiles is None
    else:
        assert again.uncertainty_quantiles is not None
        assert torch.equal(again.uncertainty_quantiles, world.uncertainty_quantiles)
        assert again.uncertainty_quantiles.dtype == torch.float64


def mixed_replay() -> Replay:
    """Images, doubles, continuous actions and columns, of two environments."""
    space = spaces.Dict({"image": spaces.Box(0, 255, (2, 3), np.uint8), "speed": spaces.Box(-9, 9, (2,), np.float64)})
    replay = Replay(space, spaces.Box(-1, 1, (2,)), num_envs=2, columns={"goal": ((2,), np.float32), "n": ((), int)})
    rng = np.random.default_rng(0)
    replay.env_kwargs = {"level": 3, "names": ["a", None], "scale": 0.1}
    for step in range(8):
        observation = {"image": rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), "speed": rng.normal(size=(2, 2))}
        goal, n = rng.normal(size=(2, 2)), np.array([step, -step])
        if step % 4 == 0:
            replay.add_reset(observation, goal=goal, n=n)
        else:
            ended = np.full(2, step % 4 == 3)
            no = np.zeros(2, bool)
            replay.add(observation, rng.uniform(-1, 1, (2, 2)), [0.1, -2], ended, no, no, goal=goal, n=n)
    return replay


def test_a_world_of_dicts_images_and_columns(tmp_path: Path) -> None:
    replay = mixed_replay()
    world = fit(CopyModel.for_replay(replay), replay, seed=0)
    world.save(tmp_path / "w")
    again = World.load(tmp_path / "w")
    assert same(dreamed(world), dreamed(again))
    assert again.spec == world.spec
    assert again.observation_space == replay.observation_space
    assert again.spec.env_kwargs == {"level": 3, "names": ["a", None], "scale": 0.1}
    assert again.contexts.columns.keys() == {"goal", "n"}
    for key, value in world.contexts.columns.items():
        assert torch.equal(again.contexts.columns[key], value)
    assert again.starts["observation.image"].dtype == torch.uint8


def test_the_functions_are_the_methods(cartpole_world: World, tmp_path: Path) -> None:
    save(cartpole_world, tmp_path / "w")
    with pytest.raises(StorageError, match="exists already"):
        save(cartpole_world, tmp_path / "w")
    save(cartpole_world, tmp_path / "w", overwrite=True)
    assert load(tmp_path / "w").digest == cartpole_world.digest


def test_a_world_is_loaded_by_any_spelling_of_its_path(
    cartpole_path: str, monkeypatch: pytest.MonkeyPatch, cartpole_world: World
) -> None:
    monkeypatch.chdir(cartpole_path)
    for path in (cartpole_path, Path(cartpole_path), cartpole_path + "/", ".", "../cartpole"):
        assert World.load(path).digest == cartpole_world.digest


def test_what_is_on_disk_is_strict_json_and_no_pickle(cartpole_path: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    config = json.loads((Path(cartpole_path) / "config.json").read_text(), parse_constant=refuse)
    assert config["format"] == "imagine-rl world"
    assert config["version"] == FORMAT_VERSION
    assert config["family"] == "ensemble"
    assert config["sha256"] == {
        name: sha256(Path(cartpole_path) / name) for name in ("model.safetensors", "starts.safetensors")
    }
    for name in ("model.safetensors", "starts.safetensors"):
        content = (Path(cartpole_path) / name).read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert all(set(entry) == {"dtype", "shape", "data_offsets"} for entry in header.values())


def test_the_card_is_for_people(cartpole_path: str, cartpole_world: World) -> None:
    card = (Path(cartpole_path) / "card.md").read_text()
    assert card.startswith("# A dream of CartPole-v1\n")
    for part in (
        "`ensemble`",
        "real_steps: 300",
        "not measured yet",
        "Discrete(2)",
        "Imagine/Dream-v0",
        "step limit 500",
    ):
        assert part in card
    measured = cartpole_world.with_fidelity({"dream_return": 123.4})
    assert "dream_return: 123.4" in measured.card()
    assert "not measured yet" not in measured.card()
    assert cartpole_world.spec.fidelity is None
    assert measured.digest == cartpole_world.digest


def test_fidelity_is_saved(cartpole_world: World, tmp_path: Path) -> None:
    fidelity = {"horizon": [1, 2], "alarm": None, "error": 0.25}
    cartpole_world.with_fidelity(fidelity).save(tmp_path / "w")
    assert World.load(tmp_path / "w").spec.fidelity == fidelity


# --- the digest -----------------------------------------------------------------------------------------------------


def test_the_digest_tells_models_apart(cartpole_world: World) -> None:
    def rebuilt(**changes: Any) -> World:
        model = Ensemble(
            cartpole_world.observation_space,
            cartpole_world.action_space,
            **{**cartpole_world.model.hyperparameters(), **changes},
        )
        model.load_state_dict(cartpole_world.model.state_dict())
        return World(model, cartpole_world.contexts, cartpole_world.spec)

    assert rebuilt().digest == cartpole_world.digest
    assert rebuilt(elites=2).digest != cartpole_world.digest
    assert rebuilt(termination="CartPole-v1").digest != cartpole_world.digest
    other = rebuilt()
    with torch.no_grad():
        other.model.target_mean[0] += 1e-7  # type: ignore[index, operator]
    assert other.digest != cartpole_world.digest
    assert len(cartpole_world.digest) == 64


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(cartpole_path: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cartpole_path, tmp_path / "w"))


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            part = config
            for parent in parents:
                part = part[parent]
            if value is ...:
                del part[last]
            else:
                part[last] = value
        (path / "config.json").write_text(json.dumps(config))

    return change


def rewrite(name: str, change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    """Changes tensors and their digest: damage that only a look at the contents finds."""

    def rewritten(path: Path) -> None:
        tensors = load_tensors(path / name)
        change(tensors)
        config = json.loads((path / "config.json").read_text())
        config["sha256"][name] = save_tensors(path / name, tensors)
        (path / "config.json").write_text(json.dumps(config))

    return rewritten


def truncate(name: str, by: int = 1) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-by]) and None


def flip(name: str) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[-1] ^= 1
        (path / name).write_bytes(content)

    return flipped


OTHER_BOX = {"type": "Box", "shape": [5], "dtype": "float32", "low": -1, "high": 1}

DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "directory missing": (shutil.rmtree, r"w: no world is there"),
    "a file instead": (lambda p: (shutil.rmtree(p), p.write_text("x")), r"w: no world is there"),
    "directory empty": (lambda p: [f.unlink() for f in p.iterdir()], r"config\.json is missing"),
    "config missing": (lambda p: (p / "config.json").unlink(), r"config\.json is missing"),
    "model missing": (lambda p: (p / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "starts missing": (lambda p: (p / "starts.safetensors").unlink(), r"starts\.safetensors is missing"),
    "config truncated": (truncate("config.json", 20), r"config\.json is not JSON"),
    "config empty": (lambda p: (p / "config.json").write_text(""), r"config\.json is not JSON"),
    "config binary": (lambda p: (p / "config.json").write_bytes(b"\xff\xfe"), r"config\.json is not JSON"),
    "config no object": (lambda p: (p / "config.json").write_text("[]"), r"config\.json holds a JSON list"),
    "model truncated": (truncate("model.safetensors"), r"model\.safetensors is truncated or was changed"),
    "starts truncated": (truncate("starts.safetensors"), r"starts\.safetensors is truncated or was changed"),
    "model changed": (flip("model.safetensors"), r"model\.safetensors is truncated or was changed"),
    "starts changed": (flip("starts.safetensors"), r"starts\.safetensors is truncated or was changed"),
    "another format": (edit(format="something else"), r"config\.json does not describe a world"),
    "no format": (edit(format=...), r"config\.json does not describe a world"),
    "newer version": (edit(version=FORMAT_VERSION + 1), rf"config\.json has format version {FORMAT_VERSION + 1}"),
    "no version": (edit(version=...), r"config\.json has format version None"),
    "unknown family": (edit(family="oracle"), r"config\.json .*unknown world model family 'oracle'"),
    "family of no name": (edit(family=["ensemble"]), r"config\.json does not describe a world"),
    "no family": (edit(family=...), r"config\.json .*'family'"),
    "no spec": (edit(spec=...), r"config\.json .*'spec'"),
    "spec of no object": (edit(spec=[1]), r"config\.json does not describe a world"),
    "spec of other fields": (edit(spec__colour="red"), r"config\.json .*colour"),
    "spec without a field": (edit(spec__env_id=...), r"config\.json .*env_id"),
    "no hyperparameters": (edit(hyperparameters=...), r"config\.json .*'hyperparameters'"),
    "unknown hyperparameter": (edit(hyperparameters__depth=3), r"config\.json .*depth"),
    "senseless hyperparameter": (edit(hyperparameters__elites=99), r"config\.json .*elites=99"),
    "hyperparameter of another type": (edit(hyperparameters__members="7"), r"config\.json does not describe a world"),
    "impossible size": (edit(hyperparameters__hidden=[10**15]), r"config\.json does not describe a world"),
    "another width": (edit(hyperparameters__hidden=[32, 33]), r"model\.safetensors does not fit the model"),
    "unknown reward": (edit(hyperparameters__reward="unheard-of"), r"config\.json .*unheard-of.*register_reward"),
    "space of no kind": (edit(spec__observation_space={"type": "Sphere"}), r"config\.json .*not the description"),
    "space of no object": (edit(spec__action_space=None), r"config\.json .*not the description"),
    "another observation space": (edit(spec__observation_space=OTHER_BOX), r"model\.safetensors does not fit"),
    "another action space": (
        edit(spec__action_space={"type": "Discrete", "n": 3, "start": 0}),
        r"model\.safetensors does not fit",
    ),
    "no digests": (edit(sha256=...), r"config\.json .*'sha256'"),
    "a digest less": (edit(sha256__starts=1, **{"sha256__starts.safetensors": ...}), r"config\.json .*starts\.safeten"),
    "a digest of nothing": (edit(**{"sha256__model.safetensors": None}), r"model\.safetensors is truncated or was ch"),
    "a tensor less": (
        rewrite("model.safetensors", lambda t: t.pop("target_mean")),
        r"model\.safetensors does not fit the model.*target_mean",
    ),
    "a tensor more": (
        rewrite("model.safetensors", lambda t: t.update(more=torch.zeros(1))),
        r"model\.safetensors does not fit the model.*more",
    ),
    "starts without actions": (rewrite("starts.safetensors", lambda t: t.pop("action")), r"starts\.safet.*'action'"),
    "starts without observations": (
        rewrite("starts.safetensors", lambda t: t.pop("observation.")),
        r"starts\.safetensors does not fit the spaces",
    ),
    "starts of another space": (
        rewrite("starts.safetensors", lambda t: t.update({"observation.": torch.zeros(len(t["first"]), 1, 5)})),
        r"starts\.safetensors does not fit the spaces.*observation is \(\d+, 1, 5\), \(\d+, 1, 4\) was expected",
    ),
    "no starts": (
        rewrite("starts.safetensors", lambda t: t.update({k: v[:0] for k, v in t.items()})),
        r"starts\.safetensors holds no context",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_error_that_names_the_file(saved: Path, damage: str) -> None:
    act, message = DAMAGE[damage]
    act(saved)
    with pytest.raises(StorageError, match=f"(?s){message}"):
        World.load(saved)


def test_a_world_whose_model_fits_any_space_is_checked_by_its_starts(tmp_path: Path) -> None:
    replay = mixed_replay()
    fit(CopyModel.for_replay(replay), replay, seed=0).save(tmp_path / "w")
    edit(spec__observation_space=OTHER_BOX)(tmp_path / "w")
    with pytest.raises(StorageError, match=r"starts\.safetensors does not fit the spaces.*observation is a dict"):
        World.load(tmp_path / "w")
    edit(spec__observation_space={"type": "Dict", "spaces": {"image": OTHER_BOX}})(tmp_path / "w")
    with pytest.raises(StorageError, match=r"starts\.safetensors does not fit the spaces.*keys \['image', 'speed'\]"):
        World.load(tmp_path / "w")


def test_a_card_less_does_not_matter(saved: Path, cartpole_world: World) -> None:
    (saved / "card.md").unlink()
    assert World.load(saved).digest == cartpole_world.digest


def test_a_stranger_runs_no_code(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stranger_module.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(family="perfect", hyperparameters={"env_id": "stranger_module:Env-v0"}, spec__env_id="stranger_module:Env-v0")(
        saved
    )
    with pytest.raises(StorageError, match=r"config\.json"):
        World.load(saved)
    assert "stranger_module" not in sys.modules


# --- written whole or not at all ------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no ``except Exception`` sees it."""


def write_calls(monkeypatch: pytest.MonkeyPatch, fail_at: int) -> list[str]:
    """Counts what a save does to the disk, and interrupts it at call number ``fail_at``."""
    calls: list[str] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) - 1 == fail_at:
                raise Interrupted(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(os, "replace")
    watch(os, "fsync")
    watch(storage.safetensors.torch, "save_file")
    watch(Path, "write_text")
    watch(Path, "mkdir")
    return calls


@pytest.fixture(scope="module")
def steps_of_a_save(cartpole_world: World, tmp_path_factory: pytest.TempPathFactory) -> int:
    path = tmp_path_factory.mktemp("count") / "w"
    cartpole_world.save(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls = write_calls(monkeypatch, -1)
        cartpole_world.save(path, overwrite=True)
    assert {"replace", "fsync", "save_file", "write_text", "mkdir"} == set(calls)
    return len(calls)


def test_an_interrupted_save_keeps_the_old_world(
    steps_of_a_save: int, cartpole_world: World, perfect_cartpole: World, tmp_path: Path
) -> None:
    path = tmp_path / "w"
    perfect_cartpole.save(path)
    outcomes = []
    for step in range(steps_of_a_save):
        with pytest.MonkeyPatch.context() as monkeypatch:
            write_calls(monkeypatch, step)
            with pytest.raises(Interrupted):
                cartpole_world.save(path, overwrite=True)
        assert names(tmp_path) == ["w"], step
        assert World.load(path).digest == perfect_cartpole.digest, step
        outcomes.append(step)
    assert len(outcomes) > 15
    cartpole_world.save(path, overwrite=True)
    assert World.load(path).digest == cartpole_world.digest


def test_an_interrupted_first_save_leaves_nothing(steps_of_a_save: int, cartpole_world: World, tmp_path: Path) -> None:
    path = tmp_path / "w"
    for step in range(steps_of_a_save - 1):  # one rename less
        with pytest.MonkeyPatch.context() as monkeypatch:
            write_calls(monkeypatch, step)
            with pytest.raises(Interrupted):
                cartpole_world.save(path)
        assert names(tmp_path) == [], step


def test_a_kill_between_the_renames_is_undone_by_whoever_comes_next(
    cartpole_world: World, perfect_cartpole: World, tmp_path: Path
) -> None:
    path = tmp_path / "w"
    perfect_cartpole.save(path)
    os.replace(path, tmp_path / ".w.previous")
    cartpole_world.save(tmp_path / ".w.12345678")  # the new one, whole, but not yet in place
    assert World.load(path).digest == perfect_cartpole.digest
    os.replace(path, tmp_path / ".w.previous")
    with pytest.raises(StorageError, match="exists already"):
        cartpole_world.save(path)
    os.replace(path, tmp_path / ".w.previous")
    cartpole_world.save(path, overwrite=True)
    assert World.load(path).digest == cartpole_world.digest
    assert ".w.previous" not in names(tmp_path)


def test_a_kill_before_the_old_one_was_removed(cartpole_world: World, perfect_cartpole: World, tmp_path: Path) -> None:
    cartpole_world.save(tmp_path / "w")
    perfect_cartpole.save(tmp_path / ".w.previous")
    assert World.load(tmp_path / "w").digest == cartpole_world.digest
    assert names(tmp_path) == ["w"]


def test_what_is_no_world_is_never_overwritten(cartpole_world: World, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"format": "of another program"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for name in ("thesis", "other", "broken"):
        before = {file.name: file.read_text() for file in (tmp_path / name).iterdir()}
        with pytest.raises(StorageError, match=f"{name} exists already"):
            cartpole_world.save(tmp_path / name)
        with pytest.raises(StorageError, match=f"{name} is not a world .*will not be overwritten"):
            cartpole_world.save(tmp_path / name, overwrite=True)
        assert {file.name: file.read_text() for file in (tmp_path / name).iterdir()} == before
    (tmp_path / "file").write_text("x")
    for overwrite in (True, False):
        with pytest.raises(StorageError, match="file is a file"):
            cartpole_world.save(tmp_path / "file", overwrite=overwrite)
    assert names(tmp_path) == ["broken", "file", "other", "thesis"]


def test_an_empty_directory_may_be_overwritten(cartpole_world: World, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    cartpole_world.save(tmp_path / "w", overwrite=True)
    assert names(tmp_path / "w") == FILES


def test_what_json_cannot_express_is_refused_and_nothing_is_written(cartpole_world: World, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        cartpole_world.with_fidelity({"error": float("nan")}).save(tmp_path / "w")
    assert names(tmp_path) == []


# --- starts ---------------------------------------------------------------------------------------------------------


def numbered(episodes: list[tuple[int, str]], **kwargs: Any) -> Replay:
    """Episodes of (steps, how they end), whose observations count all records from 0."""
    replay = Replay(spaces.Box(-1, 1e6, (1,)), spaces.Discrete(2), columns={"number": ((), np.int64)}, **kwargs)
    count = 0
    for steps, end in episodes:
        replay.add_reset([[count]], number=[count])
        count += 1
        for step in range(1, steps + 1):
            ended = [step == steps and end == "terminated"], [step == steps and end == "truncated"]
            replay.add([[count]], [0], [1.0], *ended, [False], number=[count])
            count += 1
    return replay


def starts_of(replay: Replay, **kwargs: Any) -> World:
    return World.from_replay(CopyModel.for_replay(replay), replay, **kwargs)


def test_dreams_start_from_every_record_that_goes_on_and_from_no_other() -> None:
    #                     0 … 3 (end)       4 … 6 (cut)       7 … 9, left open  10 … 11, still open
    replay = numbered([(3, "terminated"), (2, "truncated"), (2, "open"), (1, "open")])
    world = starts_of(replay)
    x = world.starts["observation"][:, 0].long()
    assert sorted(x.tolist()) == [0, 1, 2, 4, 5, 7, 8, 9, 10, 11]
    assert torch.equal(world.contexts.columns["number"], x)
    assert sorted(x[world.contexts.initial].tolist()) == [0, 4, 7, 10]
    assert len(world.contexts) == 10


def test_too_many_starts_are_left_out_at_random_but_half_may_be_resets() -> None:
    replay = numbered([(20, "terminated")] * 30)
    chosen = [starts_of(replay, max_starts=40, seed=seed) for seed in (0, 0, 1)]
    for world in chosen:
        assert len(world.contexts) == 40
        assert int(world.contexts.initial.sum()) == 20
        assert len(world.starts["observation"].unique()) == 40
    assert torch.equal(chosen[0].starts["observation"], chosen[1].starts["observation"])
    assert not torch.equal(chosen[0].starts["observation"], chosen[2].starts["observation"])
    few = starts_of(numbered([(50, "terminated")] * 3), max_starts=40, seed=0)
    assert (len(few.contexts), int(few.contexts.initial.sum())) == (40, 3)
    one = starts_of(replay, max_starts=1, seed=0)
    assert one.contexts.initial.tolist() == [True]


def test_the_share_of_each_episode_is_fair() -> None:
    replay = numbered([(20, "terminated")] * 30)
    x = torch.cat([starts_of(replay, max_starts=60, seed=seed).starts["observation"] for seed in range(60)])
    counts = torch.bincount(x[:, 0].long(), minlength=630).reshape(30, 21)
    assert not counts[:, 20].any()  # terminal
    assert counts[:, 0].eq(60).all()  # 30 resets find room among 30
    assert counts[:, 1:20].sum(1).min() > 30  # 60 each
    assert counts[:, 1:20].sum(0).min() > 50  # 95 each


def test_the_oldest_record_of_a_ring_may_start_a_dream() -> None:
    replay = numbered([(20, "terminated")], capacity=10)  # records 11 … 20 live
    assert sorted(starts_of(replay).starts["observation"][:, 0].tolist()) == list(range(11, 20))


class Adder(WorldModel):
    """A model with memory: it adds up the observations since the last reset."""

    family = "adder"
    markov = False
    can_learn = False

    def initial(self, batch_size: int) -> State:
        return {"sum": torch.zeros(batch_size), "seen": torch.zeros(batch_size)}

    def observe(self, state: State, action: Tensor, observation: Any, first: Tensor, **_: Any) -> State:
        state = {key: value.masked_fill(first, 0) for key, value in state.items()}
        return {"sum": state["sum"] + observation[:, 0], "seen": state["seen"] + 1}

    def imagine(self, state: State, action: Tensor, **_: Any) -> tuple[State, Prediction]:
        return state, Prediction(state["sum"], state["sum"])

    def features(self, state: State) -> Tensor:
        return state["sum"][:, None]


def test_a_model_with_memory_is_burned_in_without_leaking_over_resets() -> None:
    replay = numbered([(30, "terminated"), (4, "truncated"), (30, "open")])
    world = World.from_replay(Adder(replay.observation_space, replay.action_space), replay)
    last = world.contexts.columns["number"]
    assert last.is_contiguous()
    begin = torch.tensor([0, 31, 36])
    start = begin[torch.bucketize(last, begin, right=True) - 1].maximum(last - 15)  # sixteen records at most
    assert sorted(last.tolist()) == [n for n in range(67) if n not in (30, 35)]  # the stream's first ones too
    assert torch.equal(world.starts["seen"], (last - start + 1).float())
    expected = [float(sum(range(a, b + 1))) for a, b in zip(start.tolist(), last.tolist(), strict=True)]
    assert world.starts["sum"].tolist() == expected
    assert sorted(last[world.contexts.initial].tolist()) == [0, 31, 36]


def test_no_window_to_start_from() -> None:
    replay = numbered([])
    with pytest.raises(ValueError, match="none that a dream could start from"):
        Contexts.from_replay(replay, 16, 10, 0)
    for most in (0, -1):
        with pytest.raises(ValueError, match=f"max_contexts={most} must be a whole number of at least 1"):
            Contexts.from_replay(replay, 1, most, 0)


# --- the spec -------------------------------------------------------------------------------------------------------


def test_the_spec_says_what_the_world_was_fitted_on() -> None:
    replay = numbered([(3, "terminated"), (2, "truncated"), (5, "open")])
    replay.env_id, replay.env_kwargs, replay.max_episode_steps = "Some-v0", {"a": 1}, 20
    world = starts_of(replay)
    assert world.spec == WorldSpec(
        "Some-v0",
        {"a": 1},
        20,
        replay.observation_space,
        replay.action_space,
        {
            "real_steps": 10,
            "transitions": 10,
            "episodes": 2,
            "terminations": 1,
            "reward_min": 1.0,
            "reward_max": 1.0,
            "mean_return": 2.5,
        },
    )
    assert WorldSpec.from_json(json.loads(json.dumps(world.spec.to_json()))) == world.spec
    assert starts_of(numbered([(3, "open")])).spec.data["mean_return"] is None


def test_a_world_moves_and_its_members_are_worlds(cartpole_world: World) -> None:
    world = copy.deepcopy(cartpole_world)
    assert world.to("cpu") is world
    assert same(dreamed(world), dreamed(cartpole_world))
    member = cartpole_world.member(1)
    assert member.starts["observation"].shape == cartpole_world.starts["observation"].shape
    assert member.spec == cartpole_world.spec
    assert member.digest != cartpole_world.digest
    with pytest.raises(ValueError, match="no ensemble"):
        starts_of(numbered([(3, "open")])).member(0)


def test_quantiles_are_those_of_the_uncertainty_of_the_transitions(
    cartpole_world: World, cartpole_replay: Replay
) -> None:
    data = cartpole_replay.transitions()
    before = {"observation": data.observation[:, 0]}  # type: ignore[index]
    uncertainty = cartpole_world.model.imagine(before, data.action[:, 1], uncertainty=True)[1].uncertainty
    assert uncertainty is not None
    expected = np.quantile(uncertainty.detach().double().numpy(), np.linspace(0, 1, 1001))
    assert cartpole_world.uncertainty_quantiles is not None
    np.testing.assert_allclose(cartpole_world.uncertainty_quantiles.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_world_without_uncertainty_has_no_quantiles(perfect_cartpole: World) -> None:
    with pytest.raises(ValueError, match="family 'perfect' has no uncertainty"):
        perfect_cartpole.uncertainty_quantile(0.5)


@register_reward("test-world")
def _known_reward(observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
    return next_observation[:, 0]


def test_a_known_function_is_found_again_by_its_name(cartpole_replay: Replay, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Ensemble.for_replay(cartpole_replay, members=2, elites=1, hidden=(4,), reward="test-world")
    fit(model, cartpole_replay, max_epochs=1, seed=0).save(tmp_path / "w")
    world = World.load(tmp_path / "w")
    dream = Dream(world)
    state, step = dream.step(dream.reset(4), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(step.reward, state.model["observation"][:, 0])
