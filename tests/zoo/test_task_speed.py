"""The benchmark of the tasks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from zoo.benchmarks import task_speed


def test_it_measures_and_shows_a_table(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, env_id = tmp_path / "speed.json", "Imagine/DynaMaze-v0"
    task_speed.main(["--env", env_id, "--quick", "--results", str(path)])
    shown = capsys.readouterr().out
    results = json.loads(path.read_text())
    assert list(results["steps_per_second"][env_id]) == ["single", "1", "64", "1024"]
    assert "numba" in results["machine"]["versions"]
    assert f"| {env_id} | " in shown
    assert "batch of 1,024" in shown
    found = task_speed.table({**results, "steps_per_second": {env_id: {"1024": {"median": 1_234_567.8}}}})
    assert f"| {env_id} | 1,234,568 |" in found
    task_speed.main(["--report", "--results", str(path)])
    assert capsys.readouterr().out == shown


def test_a_batch_counts_as_many_steps_as_it_has_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        task_speed, "interleaved", lambda contestants, rounds: {name: np.full(rounds, 0.5) for name in contestants}
    )
    found = task_speed.measured(["Imagine/DynaMaze-v0"], (1, 64), rounds=3)["Imagine/DynaMaze-v0"]
    assert {kind: values["median"] for kind, values in found.items()} == {"single": 2, "1": 2, "64": 128}
