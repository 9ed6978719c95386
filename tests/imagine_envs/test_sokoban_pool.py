from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_envs.storage import StorageError
from imagine_envs.tasks.sokoban import Generator, Level, LevelPool, generate_levels
from imagine_envs.tasks.sokoban.kernel import place, step
from imagine_envs.tasks.sokoban.pool import shipped_pool, shipped_pools

SHIPPED = {((10, 10), 4), ((7, 7), 1), ((7, 7), 2), ((8, 8), 2)}


@pytest.fixture(scope="module")
def levels() -> list[Level]:
    return generate_levels(5, size=(6, 9), boxes=2, seed=1, states=200)


def test_a_pool_holds_its_levels(levels: list[Level]) -> None:
    pool = LevelPool.of(levels, {"seed": 1})
    assert (len(pool), pool.shape, pool.boxes, pool.made) == (5, (6, 9), 2, {"seed": 1})
    assert [pool.level(number) for number in range(5)] == levels


def test_what_was_saved_is_read_and_equal_pools_are_equal_bytes(levels: list[Level], tmp_path: Path) -> None:
    for count in (5, 4, 3, 2, 1):  # plans of any length fill bytes of four actions
        pool = LevelPool.of(levels[:count], {"seed": 1})
        pool.save(tmp_path / "a.npz")
        again = LevelPool.load(tmp_path / "a.npz")
        assert [again.level(number) for number in range(count)] == levels[:count]
        assert again.made == {"seed": 1}
        again.save(tmp_path / "b.npz")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_levels_that_make_no_pool(levels: list[Level]) -> None:
    with pytest.raises(ValueError, match="at least one level"):
        LevelPool.of([])
    with pytest.raises(ValueError, match=r"level 5 is 3 × 5 cells with 1 box, level 0 6 × 9 cells with 2 boxes"):
        LevelPool.of([*levels, Level("#####\n#@$.#\n#####", (4,))])
    with pytest.raises(ValueError, match="level 1 has no plan"):
        LevelPool.of([levels[0], Level(levels[1].rows)])


def rewritten(source: Path, path: Path, **changes: Any) -> Path:
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_what_is_no_pool_is_named(levels: list[Level], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    with pytest.raises(StorageError, match=r"good\.npz is missing"):
        LevelPool.load(good)
    LevelPool.of(levels).save(good)
    data = good.read_bytes()
    for broken in (b"", b"text", data[: len(data) // 2], data[:-200]):
        bad.write_bytes(broken)
        with pytest.raises(StorageError, match=r"bad\.npz is not a whole pool of levels"):
            LevelPool.load(bad)
    with np.load(good) as file:
        walls, boxes, targets, players, lengths = (
            file[name].copy() for name in ("walls", "boxes", "targets", "players", "lengths")
        )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"format": np.int64(2)}, "has format 2; this version reads format 1"),
        ({"plans": None}, "plans"),
        ({"boxes": boxes + 1000}, "not a whole pool"),
        ({"boxes": np.array([{"pickled": 1}])}, "not a whole pool"),
        ({"boxes": boxes[:, :1]}, "not as many boxes as targets"),
        ({"boxes": boxes * 0}, "walls do not enclose the levels"),
        ({"targets": targets[:3]}, "not a whole pool"),
        ({"players": np.concatenate([players, boxes[:, :1]], 1)}, "not one player"),
        ({"walls": walls * 0}, "walls do not enclose the levels"),
        ({"lengths": lengths + 1000}, "levels and plans do not belong together"),
        ({"lengths": lengths[:-1]}, "levels and plans do not belong together"),
    ]
    for changes, message in wrong:
        with pytest.raises(StorageError, match=message):
            LevelPool.load(rewritten(good, bad, **changes))
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr("format.npy", "text")
    with pytest.raises(StorageError, match="not a whole pool"):
        LevelPool.load(bad)


# --- the pools of the package ---------------------------------------------------------------------------------------


def test_ten_thousand_levels_of_each_size_are_shipped() -> None:
    assert set(shipped_pools()) == SHIPPED
    for (shape, boxes), file in shipped_pools().items():
        pool = shipped_pool(shape, boxes)
        assert (len(pool), pool.shape, pool.boxes, pool.made["seed"]) == (10_000, shape, boxes, 0)
        assert pool is shipped_pool(shape, boxes)
        assert file.stat().st_size < 750_000
    with pytest.raises(ValueError, match=r"no pool of levels of 9 × 9 cells with 1 box, only of 10 × 10 cells with 4"):
        shipped_pool((9, 9), 1)


@pytest.mark.parametrize("kind", sorted(SHIPPED))
def test_anybody_can_make_the_shipped_levels_again(kind: tuple[tuple[int, int], int]) -> None:
    pool = shipped_pool(*kind)
    maker = Generator(**pool.made)
    assert [maker.level(number) for number in (0, 1, 2, 9_999)] == [pool.level(number) for number in (0, 1, 2, 9_999)]


@pytest.mark.parametrize("kind", sorted(SHIPPED))
def test_every_shipped_plan_solves_its_level_within_the_step_limit(kind: tuple[tuple[int, int], int]) -> None:
    pool = shipped_pool(*kind)
    every = np.arange(len(pool))
    longest = int(pool.lengths.max())
    assert longest <= 120
    plans = np.zeros((len(pool), longest), dtype=np.int64)
    plans[np.arange(longest) < pool.lengths[:, None]] = pool.actions
    cells = pool.grids.reshape(len(pool), -1).copy()
    player, before, missing = np.zeros((3, len(pool)), dtype=np.int32)
    place(cells, player, before, missing, every, pool.grids.reshape(len(pool), -1), every)
    assert (missing == kind[1]).all()
    solved_after = np.full(len(pool), -1)
    for number in range(longest):
        reward, terminated = np.zeros(len(pool)), np.zeros(len(pool), dtype=bool)
        step(cells, player, before, missing, plans[:, number], kind[0][1], reward, terminated)
        solved_after[terminated & (solved_after < 0)] = number + 1
    np.testing.assert_array_equal(solved_after, pool.lengths)
