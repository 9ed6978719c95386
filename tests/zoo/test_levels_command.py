"""``imagine levels``."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagine_envs.tasks.sokoban import Generator, LevelPool, read_levels
from zoo.cli import main

MAKE = ["levels", "-n", "3", "--size", "6", "7", "--boxes", "2", "--seed", "5", "--states", "300", "--threads", "1"]


def test_a_pool_of_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "levels.npz"
    assert main([*MAKE, "--depth", "50", "--topologies", "2", "--placements", "3", "-o", str(file)]) == 0
    assert f"{file}: 3 levels in " in capsys.readouterr().out
    pool = LevelPool.load(file)
    maker = Generator((6, 7), 2, 5, states=300, depth=50, topologies=2, placements=3)
    assert dict(pool.made) == maker.settings
    assert [pool.level(number) for number in range(3)] == list(maker.levels(3))


def test_text_in_a_file_and_on_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "levels.txt"
    assert main([*MAKE, "-o", str(file)]) == 0
    levels = list(Generator((6, 7), 2, 5, states=300).levels(3))
    assert [level.rows for level in read_levels(file)] == [level.rows for level in levels]
    capsys.readouterr()
    assert main(MAKE) == 0
    shown = capsys.readouterr().out
    assert shown == "".join(f"; {i}: {len(level.plan or ())} steps\n{level}\n\n" for i, level in enumerate(levels))


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "levels.txt"
    file.write_text("mine")
    assert main([*MAKE, "-o", str(file)]) == 1
    assert "exists already; choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main([*MAKE, "-o", str(file), "--overwrite"]) == 0
    assert len(read_levels(file)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "levels.json"], "-o levels.json: the name must end in .npz (a pool with plans) or .txt (text)"),
        (["-n", "0"], "-n 0: at least 1 was expected"),
        (["--size", "7", "7", "7"], "--size 7 7 7: one or two numbers were expected"),
        (["--size", "4", "--boxes", "2"], "size=4 cannot hold boxes=2"),
        (["--size", "4", "--boxes", "1"], "no level of 4 × 4 cells with 1 boxes came out of 20 attempts"),
        (["--threads", "0"], "threads=0 must be a whole number of at least 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["levels", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
