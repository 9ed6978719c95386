"""The benchmark of the levels of Sokoban: what it says of levels, and of what it measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagine_envs.tasks.sokoban import Generator, Level
from zoo.benchmarks.sokoban_levels import DEFAULT, GYM, Making, box_swaps, distribution, draw, report

TWO = Level("########\n#@$ . ##\n# $ .  #\n########")


def test_box_swaps_are_counted_in_runs_of_pushes() -> None:
    assert box_swaps(TWO, [4, 4]) == 1
    assert box_swaps(TWO, [4, 3, 2, 4]) == 2
    assert box_swaps(TWO, [4, 3, 2, 4, 3, 1, 4, 4]) == 3
    assert box_swaps(TWO, [2, 1]) == 0


def test_a_distribution_is_of_shortest_solutions() -> None:
    found = distribution([TWO, Level("#####\n#@$.#\n#####", plan=(4,))])
    # Both boxes go two cells to the right; the player comes back for the second one.
    assert found["levels"] == 2
    assert found["steps"]["counts"] == [1, 1]
    assert found["steps"]["most"] == 7
    assert found["steps"]["mean"] == 4.0
    assert found["steps"]["error"] == pytest.approx(3 / 2**0.5)
    assert found["swaps"]["counts"] == [0, 1, 1]
    assert found["cells"]["counts"] == [0, 1, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="this level cannot be solved:\n####"):
        distribution([Level("######\n#$@ .#\n######")])


def test_contestants_make_the_generators_levels_one_after_the_other() -> None:
    maker = Generator(7, 1, seed=3, states=100)
    for threads in (1, 2):
        making = Making(maker, threads)
        assert making(2) > 0
        assert making(3) > 0
        assert making.levels == list(maker.levels(5))


def results(speed: float, ours: float, theirs: float) -> dict[str, Any]:
    def judged(mean: float) -> dict[str, Any]:
        values = {"mean": mean, "error": 0.4, "low": 1.0, "median": 2.0, "high": 3.0, "most": 4, "counts": [0, 3, 1]}
        return {"levels": 4, "steps": values, "swaps": values, "cells": values}

    def rate(median: float) -> dict[str, float]:
        return {"median": median, "low": median, "high": median}

    name = f"ours, {DEFAULT:,} states"
    return {
        "machine": {"processor": "Abacus", "cores": 2},
        "speed": {
            name: {"states": DEFAULT, "1": rate(60.0), "2": rate(speed), "ratio": rate(200.0)},
            GYM: {"states": 300_000, "1": rate(0.3)},
        },
        "levels": {name: judged(ours), GYM: judged(theirs), "Boxoban, unfiltered": judged(33.0)},
    }


def test_the_table_says_what_was_reached_and_what_was_missed() -> None:
    good = report(results(120.0, 35.0, 33.0))
    assert "| 60 | 120 (≥ 100) | 200 × | 35.0 ± 0.4 (1–3) |" in good
    assert "no easier than gym-sokoban's: +2.0 ± 0.6 steps" in good
    assert "| Boxoban, unfiltered |  |  |  |  | 33.0 ± 0.4" in good
    bad = report(results(99.0, 31.0, 33.0))
    assert "99 (**missed**: ≥ 100)" in bad
    assert "**easier** than gym-sokoban's: -2.0" in bad


def test_the_picture_has_a_curve_for_each_source() -> None:
    figure = draw(results(120.0, 35.0, 33.0))
    assert [len(axis.get_lines()) for axis in figure.axes] == [3, 3, 3]
    for line in figure.axes[1].get_lines():
        np.testing.assert_allclose(line.get_ydata(), [0, 75, 25, 0])
