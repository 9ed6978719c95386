"""A logger under a prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from imagine_agents.common.prefix_logger import PrefixLogger


class Table(KVWriter):
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any], dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows.append((step, dict(key_values), dict(key_excluded)))

    def close(self) -> None: ...


def test_values_appear_under_the_prefix_and_only_the_parent_dumps(tmp_path: Path) -> None:
    table = Table()
    parent = Logger(str(tmp_path), [table])
    logger = PrefixLogger(parent, "imagine")
    assert logger.get_dir() == str(tmp_path)
    parent.record("rollout/ep_rew_mean", 1)
    logger.record("rollout/ep_rew_mean", 2)
    logger.record("train/loss", 3, exclude="tensorboard")
    for value in (1.0, 2.0, 6.0):
        logger.record_mean("train/mean", value)
    logger.dump(step=5)
    assert table.rows == []
    parent.dump(step=7)
    expected = {
        "rollout/ep_rew_mean": 1, "imagine/rollout/ep_rew_mean": 2, "imagine/train/loss": 3, "imagine/train/mean": 3.0,
    }  # fmt: skip
    ((step, values, excluded),) = table.rows
    assert (step, values) == (7, expected)
    assert excluded["imagine/train/loss"] == ("tensorboard",)
    parent.dump(step=8)
    assert table.rows[1][1] == {}


def test_it_nests() -> None:
    parent = Logger(None, [])
    PrefixLogger(PrefixLogger(parent, "outer"), "inner").record("key", 1)
    assert dict(parent.name_to_value) == {"outer/inner/key": 1}
