"""The house: imports run downwards only, and nothing legacy is installed."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("imagine_envs", "wrappers", "imagine_agents", "zoo")
MODULES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imported_floors(source: str, package: tuple[str, ...]) -> set[str]:
    """The floors that a module imports from, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            names = [".".join(part for part in (base, node.module) if part)]
        elif isinstance(node, ast.Call):  # importlib.import_module("zoo.…"), __import__("zoo")
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                names = [str(node.args[0].value)]
        found |= {name.partition(".")[0] for name in names}
    return found & set(FLOORS)


@pytest.mark.parametrize(
    ("source", "package", "floors"),
    [
        ("import zoo.cli", ("wrappers",), {"zoo"}),
        ("def f():\n    from imagine_agents import x", ("wrappers",), {"imagine_agents"}),
        ("from . import x", ("wrappers",), {"wrappers"}),
        ("from ..spaces import x", ("imagine_envs", "dreams"), {"imagine_envs"}),
        ("import importlib\nimportlib.import_module('zoo.cli')", ("wrappers",), {"zoo"}),
        ("import numpy, torch", ("wrappers",), set()),
        ("import zoology", ("wrappers",), set()),
    ],
)
def test_the_finder_of_imports_finds_them(source: str, package: tuple[str, ...], floors: set[str]) -> None:
    assert imported_floors(source, package) == floors


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards_only(path: Path) -> None:
    package = path.relative_to(ROOT).parent.parts
    below = set(FLOORS[: FLOORS.index(package[0]) + 1])
    above = imported_floors(path.read_text(encoding="utf-8"), package) - below
    assert not above, f"{path.relative_to(ROOT)} imports from {', '.join(sorted(above))}, which is above it"


def test_every_floor_has_modules() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(FLOORS)
    assert len(MODULES) > 20


def test_pygame_ce_is_installed_and_legacy_pygame_is_not() -> None:
    # Both share one import name, and the legacy wheel silently shadows the maintained one.
    assert importlib.metadata.version("pygame-ce")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("pygame")


def test_importing_the_package_registers_ids_without_importing_torch_or_numba() -> None:
    code = (
        "import sys, imagine_envs, gymnasium; "
        "print('torch' in sys.modules, 'numba' in sys.modules, 'Imagine/Dream-v0' in gymnasium.registry)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "False", "True"]


def test_a_task_is_made_without_torch() -> None:
    code = "import sys, imagine_envs, gymnasium; gymnasium.make('Imagine/DynaMaze-v0'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False"]
