"""``imagine parity``: checks, reports, and the comparison of CarRacing (skipped where Box2D is not installed)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import imageio.v3
import numpy as np
import pytest

import imagine_envs  # noqa: F401 (registers the ids)
from zoo.cli import main
from zoo.commands import parity
from zoo.parity.driver import Driver
from zoo.parity.report import Check, Report, strip


def test_checks() -> None:
    assert Check("a", 1.0, "<=", 1.0).holds
    assert not Check("a", 1.0, ">=", 1.1).holds
    assert not Check("a", float("nan"), "<=", 1.0).holds
    assert str(Check("tiles", 99.5, ">=", 99.0, "%")) == "yes  tiles: 99.5 % (target >= 99 %)"
    assert str(Check("apart", 2.0, "<=", 1.0)).startswith("NO   apart: 2 (target <= 1)")


def test_a_strip_has_a_row_for_each_engine() -> None:
    pictures = [[np.full((8, 6, 3), 10 * (row + 1), np.uint8)] * 3 for row in range(2)]
    shown = strip(pictures, ("one", "other"), height=16)
    assert shown.shape == (2 * (16 + 24), 3 * 12 + 2 * 4, 3)
    assert (shown[:16, :12] == 10).all()
    assert (shown[:16, 12:16] == 255).all()
    assert (shown[40:56, 32:] == 20).all()


def test_the_command_writes_numbers_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def compare(**arguments: Any) -> Report:
        asked.update(arguments)
        checks = (Check("near", 0.5, "<=", 1.0, "units"), Check("far", 3.0, "<=", 1.0))
        return Report("pong", checks, {"episodes": 3}, np.zeros((4, 5, 3), np.uint8))

    module = ModuleType("pong_parity")
    module.compare = compare  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pong_parity", module)
    monkeypatch.setitem(parity.TASKS, "pong", "pong_parity")
    assert main(["parity", "pong", "-o", str(tmp_path / "out"), "--episodes", "3", "--seed", "4"]) == 0
    assert asked == {"episodes": 3, "seed": 4, "progress": True}
    shown = capsys.readouterr().out
    assert "yes  near: 0.5 units" in shown
    assert "NO   far: 3" in shown
    numbers = json.loads((tmp_path / "out" / "pong.json").read_text())
    assert [check["holds"] for check in numbers["checks"]] == [True, False]
    assert numbers["episodes"] == 3
    assert "processor" in numbers["machine"]
    assert imageio.v3.imread(tmp_path / "out" / "pong.png").shape == (4, 5, 3)


def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "checkers"]) == 2
    assert "invalid choice: 'checkers'" in capsys.readouterr().err
    assert main(["parity", "car-racing", "--episodes", "1"]) == 2
    assert "--episodes 1: at least 2 was expected" in capsys.readouterr().err


def test_the_driver_drives_well_and_like_a_person() -> None:
    env = gym.make("Imagine/CarRacing-v0", size=64).unwrapped
    for seed in (3, 10):
        _, info = env.reset(seed=seed)
        driver, actions, total, over = Driver(env.track), [], 0.0, False  # type: ignore[attr-defined]
        while not over:
            actions.append(driver.act(info["pose"]))
            assert env.action_space.contains(actions[-1])
            _, reward, terminated, truncated, info = env.step(actions[-1])
            total += float(reward)
            over = terminated or truncated
        assert total > 800
        steps = np.diff(actions, axis=0)
        assert np.abs(steps).max(0) == pytest.approx([0.15, 0.3, 0.2], abs=0.16)
        assert np.abs(steps[:, 0]).max() <= 0.15 + 1e-6


def test_car_racing_is_near_to_box2d(tmp_path: Path) -> None:
    pytest.importorskip("Box2D")
    from zoo.parity import car_racing

    report = car_racing.compare(episodes=2, seed=3)
    assert [check.name for check in report.checks if not check.holds] == []
    assert report.results["largest_track_difference"] == 0
    assert report.results["replays"]["random actions"]["first_frames"]["position"]["mean"] < 0.01
    assert report.results["pictures"]["96x96"]["mean_difference"] < 0.5
    assert report.picture.ndim == 3
    report.save(tmp_path)
    assert json.loads((tmp_path / "car-racing.json").read_text())["returns_of_the_driver"]["native"]["mean"] > 700
