from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plain_sokoban import PlainSokoban

from imagine_envs.tasks import TaskVectorEnv
from imagine_envs.tasks.sokoban import Level, LevelError, Sokoban, read_levels, write_levels
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL

BOXOBAN = Path(__file__).parents[3] / "shared" / "levels" / "boxoban"

CORRIDOR = ("#####", "#@$.#", "#####")


def test_a_level_from_rows_and_from_text() -> None:
    level = Level("\n#####\n#@$.#\n#####\n", plan=np.array([4]))
    assert level.rows == CORRIDOR
    assert level == Level(CORRIDOR, (4,))
    assert str(level) == "#####\n#@$.#\n#####"
    assert (level.shape, level.boxes, level.plan) == ((3, 5), 1, (4,))


def test_cells_are_bits() -> None:
    level = Level(("######", "#+*$ #", "######"))
    np.testing.assert_array_equal(
        level.grid[1], np.array([WALL, PLAYER | TARGET, BOX | TARGET, BOX, 0, WALL], dtype=np.uint8)
    )
    assert level.grid.dtype == np.uint8
    assert Level.from_grid(level.grid) == level
    assert Level.from_grid(level.grid, [1, 2]).plan == (1, 2)


FAULTS = {
    "symbol": (("#####", "#@x.#", "#####"), 1, "'x' is no symbol"),
    "symbol before its length": (("#####", "#@x.##", "#####"), 1, "'x' is no symbol"),
    "ragged": (("#####", "#@$.#", "####"), 2, "the row has 4 symbols, the first row 5"),
    "no player": (("#####", "# $.#", "#####"), None, "there is no player"),
    "two players": (("#####", "#@$.#", "#  +#", "#####"), 2, "there are 2 players"),
    "more boxes": (("#####", "#@$.#", "# $ #", "#####"), None, "2 boxes and 1 targets"),
    "more targets": (("#####", "#@$.#", "# . #", "#####"), None, "1 boxes and 2 targets"),
    "no boxes": (("#####", "#@  #", "#####"), None, "there are no boxes"),
    "solved": (("#####", "#@* #", "#####"), None, "every box is on a target already"),
    "open at once": (("#####", "@$. #", "#####"), 1, "walk out of the board at column 1"),
    "open behind a box": (("#####", "#@ .#", "##$##"), 2, "walk out of the board at column 3"),
    "open at the top": (("## ##", "#@$.#", "#####"), 0, "walk out of the board at column 3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named_with_their_row(name: str) -> None:
    rows, row, text = FAULTS[name]
    with pytest.raises(LevelError) as raised:
        Level(rows)
    assert text in str(raised.value)
    assert str(raised.value).startswith("" if row is None else f"row {row + 1}: ")
    assert str(raised.value).startswith("row ") == (row is not None)


@pytest.mark.parametrize("name", FAULTS)
def test_faults_in_files_are_named_with_file_level_and_line(name: str, tmp_path: Path) -> None:
    rows, row, text = FAULTS[name]
    file = tmp_path / "levels.txt"
    file.write_text("; 0\n" + "\n".join(CORRIDOR) + "\n\n; 1\n" + "\n".join(rows) + "\n")
    with pytest.raises(LevelError) as raised:
        read_levels(file)
    assert str(raised.value).startswith(f"{file}, level 1, line {7 + (row or 0)}: ")
    assert text in str(raised.value)


def test_rows_without_any() -> None:
    with pytest.raises(LevelError, match="a level has no rows"):
        Level("\n")


def test_floor_beyond_the_walls_is_no_way_out() -> None:
    assert Level((" #####", "##@$.#", " #####")).boxes == 1


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LevelError, match=r"nowhere is missing; a file of levels, or a folder"):
        read_levels(tmp_path / "nowhere")
    with pytest.raises(LevelError, match="holds no levels: files"):
        read_levels(tmp_path)
    (tmp_path / "empty.txt").write_text("; 0\n\n; 1\n")
    with pytest.raises(LevelError, match=r"empty\.txt holds no levels: rows"):
        read_levels(tmp_path)
    (tmp_path / "empty.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LevelError, match=r"empty\.txt is no text file"):
        read_levels(tmp_path / "empty.txt")


def test_files_are_read_in_order_with_either_line_ending_and_separator(tmp_path: Path) -> None:
    wide = ("######", "#@ $.#", "######")
    (tmp_path / "b.txt").write_bytes("\r\n".join(CORRIDOR).encode())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.txt").write_text("\n".join(wide) + "\n; a comment\n" + "\n".join(CORRIDOR) + "\n\n\n")
    (tmp_path / "LICENSE").write_text("not a level")
    assert [level.rows for level in read_levels(tmp_path)] == [wide, CORRIDOR, CORRIDOR]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    levels = [Level(CORRIDOR, plan=(4,)), Level(("######", "#+*$ #", "######"))]
    write_levels(tmp_path / "levels.txt", levels)
    assert (tmp_path / "levels.txt").read_text() == "; 0\n#####\n#@$.#\n#####\n\n; 1\n######\n#+*$ #\n######\n\n"
    assert [level.rows for level in read_levels(tmp_path / "levels.txt")] == [level.rows for level in levels]


@pytest.mark.skipif(not BOXOBAN.is_dir(), reason="the levels of Boxoban are not here")
def test_every_file_of_boxoban_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    files = sorted(BOXOBAN.glob("*.txt"))
    assert len(read_levels(BOXOBAN)) == 1000 * len(files) > 0
    for file in files:
        levels = read_levels(file)
        assert {(level.shape, level.boxes) for level in levels} == {((10, 10), 4)}
        write_levels(tmp_path / file.name, levels)
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


@pytest.mark.skipif(not BOXOBAN.is_dir(), reason="the levels of Boxoban are not here")
def test_every_level_of_boxoban_is_played_by_the_plain_rules() -> None:
    levels = read_levels(BOXOBAN)
    envs = TaskVectorEnv(Sokoban(levels=BOXOBAN), len(levels))
    observations, infos = envs.reset(seed=0, options={"level": np.arange(len(levels))})
    assert infos["level"].tolist() == list(range(len(levels)))
    assert "solution_length" not in infos
    np.testing.assert_array_equal(observations[..., 0] > 0, [level.grid & WALL for level in levels])
    games = [PlainSokoban(level.rows) for level in levels]
    for actions in np.random.default_rng(0).integers(5, size=(20, len(levels))):
        observations, rewards, terminations, _, _ = envs.step(actions)
        expected = [game.step(action) for game, action in zip(games, actions.tolist(), strict=True)]
        np.testing.assert_allclose(rewards, [reward for reward, _ in expected], atol=1e-12)
        assert not terminations.any()
    cells = envs.snapshot()["cells"]
    assert [Level.from_grid(grid).rows for grid in cells] == [game.show() for game in games]
    assert (cells != [level.grid for level in levels]).any(axis=(1, 2)).mean() > 0.9
