"""The benchmark of CarRacing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.benchmarks import car_racing_speed


def test_it_measures_and_shows_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A process that compiles everything takes as long as all other tests of this file.
    monkeypatch.setattr(car_racing_speed, "first_step", lambda: {"compiling": 12.3, "cached": 2.5})
    path = tmp_path / "speed.json"
    car_racing_speed.main(["--quick", "--no-peers", "--results", str(path)])
    shown = capsys.readouterr().out
    results = json.loads(path.read_text())
    names = list(results["contestants"])
    assert "native, 64 at 64x64, one thread" in names
    assert "native, 64 at 96x96, 2 threads" in names
    assert all(found["steps_per_second"]["median"] > 0 for found in results["contestants"].values())
    assert results["contestants"]["native, 64 at 64x64, 2 threads"]["native_is_faster"]["median"] == 1
    assert "12.3 s while kernels are compiled (target ≤ 15 s), 2.5 s afterwards" in shown
    assert "Without envpool: it was not asked for" in shown
    car_racing_speed.main(["--report", "--results", str(path)])
    assert capsys.readouterr().out == shown


def test_missed_targets_say_so() -> None:
    def found(rate: float) -> dict[str, Any]:
        return {"steps_per_second": {"median": rate}, "native_is_faster": {"median": 1.0}}

    results = {
        "contestants": {"native, 64 at 64x64, 2 threads": found(39_999), "envpool, 64 at 96x96, 2 threads": found(9)},
        "first_step": {"compiling": 20.0, "cached": 2.0},
        "load": [0.0, 0.0],
        "machine": {"processor": "abacus", "cores": 2, "date": "today"},
        "peer_versions": {"envpool": "1.0"},
        "left_out": "",
    }
    shown = car_racing_speed.table(results)
    assert "| native, 64 at 64x64, 2 threads | 39,999 | 1.0 × as fast | **missed**: ≥ 40,000 |" in shown
    assert "(target **missed**: ≤ 15 s)" in shown
    assert "Peer: envpool 1.0." in shown


def test_rows_count_as_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(
        car_racing_speed, "interleaved", lambda runs, rounds, block: {name: np.full(rounds, 0.5) for name in runs}
    )
    asked = []
    found = car_racing_speed.measured(3, 0.1, lambda threads: asked.append(threads) or (lambda times: 1.0))  # type: ignore[func-returns-value]
    assert asked == [1, 2]
    assert found["native, 64 at 64x64, 2 threads"]["steps_per_second"]["median"] == 128
    assert found["native, one at 64x64"]["steps_per_second"]["median"] == 2
    assert found["envpool, 64 at 96x96, 2 threads"]["native_is_faster"]["median"] == 1
