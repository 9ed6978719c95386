"""Gradient updates of NM512's dreamerv3-torch; runs in the virtual environment of sheeprl, from a checkout.

    build/venv-sheeprl/bin/python -m zoo.benchmarks.peers.dreamerv3_torch --checkout ../dreamerv3-torch --threads 2

For requests and answers see :func:`~zoo.benchmarks.peers.serving.serve`; a learner is ``{"recipe": "dmc_vision",
"image": true}``. The recipe is a section of its ``configs.yaml`` on top of ``defaults``. Only the device is changed,
and the layers that see vectors, which are given the sizes of all its other layers (its later commits have more and
wider ones there alone). What is timed is what ``Dreamer._train`` does with a random batch: ``WorldModel._train`` and
``ImagBehavior._train``, their metrics included, which cannot be turned off. Its default ``compile: True`` wraps both
modules without changing what these methods run, so nothing is compiled here.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from zoo.benchmarks.peers.serving import Learner, serve

BATCH, LENGTH = 16, 64
SOURCES = ("models.py", "networks.py", "tools.py", "configs.yaml")


class DreamerV3Torch(Learner):
    """The agent of a recipe, for Pendulum's dimensions or for images of 64 × 64.

    Args:
        recipe: A section of ``configs.yaml``.
        image: Whether it sees images in place of three numbers.
        checkout: Where its files are; they must be importable.
    """

    def __init__(self, recipe: str, image: bool, checkout: Path) -> None:
        sections = yaml.safe_load((checkout / "configs.yaml").read_text())
        settings = numbers(merged(sections["defaults"], sections[recipe]))
        layers = next(settings[name] for name in ("reward_layers", "reward_head") if name in settings)
        layers = layers["layers"] if isinstance(layers, dict) else layers
        for side in ("encoder", "decoder"):
            settings[side].update(mlp_layers=layers, mlp_units=settings["units"])
        settings.update(device="cpu", num_actions=1)
        for name in ("actor_entropy", "actor_state_entropy", "imag_gradient_mix"):
            # Its earlier commits schedule these, where dreamer.py makes functions of them.
            if "actor_entropy" in settings and name in settings:
                settings[name] = lambda value=settings[name]: value
        config = SimpleNamespace(**settings)
        shapes = {"image": (64, 64, 3)} if image else {"state": (3,)}
        spaces = SimpleNamespace(spaces={name: SimpleNamespace(shape=shape) for name, shape in shapes.items()})
        mlp: Any = import_module("networks").MLP  # which is told no device where it sees vectors
        mlp.__init__.__defaults__ = tuple("cpu" if value == "cuda" else value for value in mlp.__init__.__defaults__)
        models = import_module("models")
        torch.manual_seed(0)
        self.world = models.WorldModel(spaces, None, 0, config).requires_grad_(False)
        self.behaviour = models.ImagBehavior(config, self.world).requires_grad_(False)
        self.batch = _batch(image)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """See :class:`Learner`."""
        parts = {"world": self.world, "actor": self.behaviour.actor, "critic": self.behaviour.value}
        return {name: part.parameters() for name, part in parts.items()}

    def update(self) -> None:
        """What its ``Dreamer._train`` does."""
        start, _, _ = self.world._train({name: value.copy() for name, value in self.batch.items()})
        self.behaviour._train(start, self._reward)

    def _reward(self, _features: Any, state: Any, _action: Any) -> Any:
        return self.world.heads["reward"](self.world.dynamics.get_feat(state)).mode()


def _batch(image: bool) -> dict[str, np.ndarray]:
    """Random sequences in which no episode ends. Its ``preprocess`` wants an image in any case: a pixel, if unseen."""
    rng, shape = np.random.default_rng(0), (BATCH, LENGTH)
    side = 64 if image else 1
    batch: dict[str, np.ndarray] = {
        "image": rng.integers(0, 256, (*shape, side, side, 3)).astype(np.uint8),
        "action": rng.uniform(-1, 1, (*shape, 1)),
        "reward": rng.normal(size=shape),
        "is_first": np.zeros(shape),
        "is_terminal": np.zeros(shape),
        "discount": np.ones(shape),
    }
    batch["is_first"][:, 0] = 1
    if not image:
        batch["state"] = rng.normal(size=(*shape, 3))
    return {name: value if value.dtype == np.uint8 else value.astype(np.float32) for name, value in batch.items()}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, which may name parts of its parts."""
    result = dict(base)
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if nested else value
    return result


def numbers(value: Any) -> Any:
    """Settings in which texts like "3e-4" became numbers, as YAML 1.2 and dreamerv3-torch's schedules read them."""
    if isinstance(value, dict):
        return {name: numbers(part) for name, part in value.items()}
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def revision(checkout: Path) -> str:
    """The commit of a checkout; where there is none, a digest of its files."""
    if (checkout / ".git").exists():
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()
    digest = hashlib.sha256(b"".join((checkout / name).read_bytes() for name in SOURCES))
    return f"sha256 {digest.hexdigest()[:12]}"


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.path.insert(0, str(args.checkout))
    versions = {"dreamerv3-torch": revision(args.checkout), **{name: version(name) for name in ("torch", "numpy")}}
    serve(lambda recipe, image: DreamerV3Torch(recipe, image, args.checkout), versions)


if __name__ == "__main__":
    main()
