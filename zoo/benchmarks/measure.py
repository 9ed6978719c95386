"""What every benchmark shares: which machine it ran on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["machine"]

_PACKAGES = ("torch", "numpy", "gymnasium", "stable-baselines3", "sb3-contrib", "rl_zoo3")


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions, date and commit, in JSON types."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "date": datetime.date.today().isoformat(),
        "commit": commit,
    }
