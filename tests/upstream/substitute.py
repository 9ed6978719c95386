"""A pytest plugin: puts our class in the place of SB3's, and runs the tests that apply to it.

``run.py`` loads it in a process of its own; the environment variable ``IMAGINE_UPSTREAM_SUITE`` names the suite.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from typing import Any

import pytest
from suites import SUITES, Suite

_PACKAGES = ("stable_baselines3", "sb3_contrib")


def _suite() -> Suite:
    return SUITES[os.environ["IMAGINE_UPSTREAM_SUITE"]]


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def pytest_configure(config: pytest.Config) -> None:
    """Replaces the class under every name that any module of SB3 has for it, before a test imports one."""
    config.addinivalue_line("markers", "expensive: SB3's own marker")
    suite = _suite()
    ours, theirs = _load(suite.by), _load(suite.replaces)
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    replaced = 0
    for module_name, loaded in list(sys.modules.items()):
        if module_name.split(".")[0] in _PACKAGES:
            for name, value in list(vars(loaded).items()):
                if value is theirs:
                    setattr(loaded, name, ours)
                    replaced += 1
    if not replaced:
        raise pytest.UsageError(f"no module of SB3 knows {suite.replaces}: nothing was replaced")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests that apply, and stops at functions that nobody has decided on."""
    suite = _suite()
    kept: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    undecided: set[str] = set()
    for item in items:
        file, function = suite.files[item.path.name], getattr(item, "originalname", item.name)
        if function in file.applicable:
            (deselected if any(part in item.name for part in suite.deselected) else kept).append(item)
        elif function in file.not_applicable:
            deselected.append(item)
        else:
            undecided.add(f"{item.path.name}::{function}")
    if undecided:
        raise pytest.UsageError(
            "this version of SB3 has tests that suites.py neither runs nor says why not: "
            + ", ".join(sorted(undecided))
        )
    config.hook.pytest_deselected(items=deselected)
    items[:] = kept
