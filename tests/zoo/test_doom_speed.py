"""The benchmark of Doom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.benchmarks import doom_speed


def test_it_measures_and_shows_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A process that compiles everything takes as long as all other tests of this file.
    monkeypatch.setattr(doom_speed, "first_step", lambda env_id: {"compiling": 9.1, "cached": 1.5})
    path = tmp_path / "speed.json"
    doom_speed.main(["--quick", "--no-peers", "--results", str(path)])
    shown = capsys.readouterr().out
    results = json.loads(path.read_text())
    assert list(results["contestants"])[:2] == ["native, 64 at 64x64, one thread", doom_speed.OURS]
    assert all(found["steps_per_second"]["median"] > 0 for found in results["contestants"].values())
    assert results["contestants"][doom_speed.OURS]["native_is_faster"]["median"] == 1
    assert "9.1 s while kernels are compiled (target ≤ 15 s), 1.5 s afterwards" in shown
    doom_speed.main(["--report", "--results", str(path)])
    assert capsys.readouterr().out == shown


def test_missed_targets_and_missing_peers_say_so() -> None:
    def found(rate: float) -> dict[str, Any]:
        return {"steps_per_second": {"median": rate}, "native_is_faster": {"median": 2.0}}

    results = {
        "contestants": {doom_speed.OURS: found(49_999), "envpool": found(9)},
        "first_step": {"compiling": 20.0, "cached": 2.0},
        "load": [0.0, 0.0],
        "machine": {"processor": "abacus", "cores": 2, "date": "today"},
        "peer_versions": {"envpool": {"envpool": "1.0", "numpy": "2"}},
        "left_out": {"vizdoom": "no wheel"},
    }
    shown = doom_speed.table(results)
    assert f"| {doom_speed.OURS} | 49,999 | 2.0 × as fast | **missed**: ≥ 50,000 |" in shown
    assert "(target **missed**: ≤ 15 s)" in shown
    assert "Peers: envpool 1.0." in shown
    assert "Without vizdoom: no wheel" in shown


def test_rows_count_as_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doom_speed, "interleaved", lambda runs, rounds, block: {name: np.full(rounds, 0.5) for name in runs}
    )
    found = doom_speed.measured(3, 0.1, {"ViZDoom": (1, lambda times: 1.0), "envpool": (64, lambda times: 1.0)})
    assert found[doom_speed.OURS]["steps_per_second"]["median"] == 128
    assert found["ViZDoom"]["steps_per_second"]["median"] == 2
    assert found["ViZDoom"]["native_is_faster"]["median"] == 64
    assert found["envpool"]["native_is_faster"]["median"] == 1


def test_a_peer_that_cannot_be_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def installed(directory: Path, *_: tuple[str, ...]) -> Path:
        raise ValueError(f"{directory.name} is not empty")

    monkeypatch.setattr(doom_speed, "installed", installed)
    with doom_speed.started(tmp_path) as (rivals, versions, left_out):
        assert (rivals, versions) == ({}, {})
        assert left_out == {name: f"venv-{name} is not empty" for name in ("vizdoom", "envpool")}
    assert "Going on without envpool" in capsys.readouterr().err


def test_every_peer_has_a_script_and_requirements() -> None:
    for name, (module, asked) in doom_speed.PEERS.items():
        assert (doom_speed.REQUIREMENTS / f"requirements-{name}.txt").is_file()
        assert (doom_speed.REQUIREMENTS / f"{module}.py").is_file()
        assert asked
