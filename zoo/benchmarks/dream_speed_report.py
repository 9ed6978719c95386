"""The tables of ``dream_speed`` in Markdown, each number beside what it must reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["TARGETS", "report"]

TARGETS: dict[str, float] = {
    "DreamVectorEnv / imagine": 1.10,
    "SB3VecEnv / imagine": 1.25,
    "restarting / imagine": 1.30,
    "DreamEnv - imagine, µs": 100,
    "DreamEnv, steps/s": 5_000,
    "times mbrl-lib at 64": 2.0,
    "times mbrl-lib at 1024": 1.5,
    "share of sgemm at 1024": 0.60,
    "frames lost by PPO": 0.15,
}


def report(results: dict[str, Any]) -> str:
    """All tables; what misses its target says so."""
    sections = []
    for threads, found in sorted(results["threads"].items()):
        lines = [f"**{threads} thread{'s' if threads != '1' else ''}** ({results['machine']['processor']})", ""]
        for part, table in _TABLES.items():
            if part in found:
                lines += [*table(found[part]), ""]
        sections.append("\n".join(lines))
    return "\n".join(sections)


def _overhead(found: dict[str, Any]) -> list[str]:
    lines = [
        "| 1,024 dreams | rows restarting per step | bare `imagine` | `DreamVectorEnv.step` | `SB3VecEnv.step` |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        micro = {kind: values["median"] for kind, values in row["microseconds"].items()}
        cells = [f"{row['rows_ended_per_step']:.1f}", f"{micro['imagine']:,.0f} µs"]
        for kind in ("DreamVectorEnv", "SB3VecEnv"):
            limit = TARGETS["restarting / imagine" if name.startswith("CartPole") else f"{kind} / imagine"]
            ratio = row["ratio"][kind]["median"]
            cells.append(f"{micro[kind]:,.0f} µs, {ratio:.2f} ×{_verdict(ratio <= limit, f'≤ {limit:.2f}')}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _single(found: dict[str, Any]) -> list[str]:
    rate, above = found["steps_per_second"]["median"], found["difference"]["median"]
    least, most = TARGETS["DreamEnv, steps/s"], TARGETS["DreamEnv - imagine, µs"]
    return [
        "| | steps/s | above a bare batch of one |",
        "|---|---|---|",
        f"| one `DreamEnv` of Pendulum | {rate:,.0f}{_verdict(rate >= least, f'≥ {least:,}')} "
        f"| {above:.0f} µs{_verdict(above <= most, f'≤ {most} µs')} |",
    ]


def _throughput(found: dict[str, Any]) -> list[str]:
    sizes = [
        f"{int(ours):,}" + (f" ({row['peer_batch']:,})" if "peer_batch" in row else "") for ours, row in found.items()
    ]
    lines = [f"| transitions/s at a batch of (mbrl-lib's) | {' | '.join(sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    names = list(next(iter(found.values()))["transitions_per_second"])
    for name in names:
        cells = []
        for ours, row in found.items():
            cell = f"{row['transitions_per_second'][name]['median']:,.0f}"
            if name in row.get("times_mbrl", {}):
                times, least = row["times_mbrl"][name]["median"], TARGETS.get(f"times mbrl-lib at {ours}")
                cell += f", {times:.2f} ×" + ("" if least is None else _verdict(times >= least, f"≥ {least}"))
            cells.append(cell)
        lines.append(f"| {_title(name)} | {' | '.join(cells)} |")
    for name in names:
        cells = []
        for ours, row in found.items():
            share, least = row["share_of_sgemm"][name]["median"], TARGETS.get(f"share of sgemm at {ours}")
            judged = least is not None and name.startswith("imagine")
            cells.append(f"{share:.0%}" + (_verdict(share >= least, f"≥ {least:.0%}") if judged and least else ""))
        lines.append(f"| useful arithmetic, {_title(name)} | {' | '.join(cells)} |")
    rates = [f"{row['gflops_of_sgemm']['median']:.0f} GFLOP/s" for row in found.values()]
    return [*lines, f"| 100 % is the machine's sgemm (2,048³) | {' | '.join(rates)} |"]


def _ppo(found: dict[str, Any]) -> list[str]:
    rate = {name: f"{values['median']:,.0f}" for name, values in found["frames_per_second"].items()}
    lost, most = found["lost"]["median"], TARGETS["frames lost by PPO"]
    return [
        "| stock PPO, 1,024 environments | frames/s |",
        "|---|---|",
        f"| dreams of CartPole | {rate['dream']} |",
        f"| environments that cost nothing | {rate['nothing']} |",
        f"| the same, plus the time of the bare model | {rate['nothing + model']} |",
        f"| lost in the dream | {lost:.1%}{_verdict(lost <= most, f'≤ {most:.0%}')} |",
    ]


def _batch_sizes(found: dict[str, Any]) -> list[str]:
    rates = [f"{row['median']:,.0f}" for row in found.values()]
    return [
        f"| PPO's `batch_size` | {' | '.join(f'{int(size):,}' for size in found)} |",
        "|---" * (len(found) + 1) + "|",
        f"| frames/s, environments that cost nothing | {' | '.join(rates)} |",
    ]


_TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "overhead": _overhead,
    "single": _single,
    "throughput": _throughput,
    "ppo": _ppo,
    "batch-sizes": _batch_sizes,
}


def _title(name: str) -> str:
    return f"mbrl-lib `{name}`" if name.startswith("ModelEnv") else f"`{name}`"


def _verdict(reached: bool, target: str) -> str:
    return f" ({target})" if reached else f" (**missed**: {target})"
