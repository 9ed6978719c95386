"""The tables of ``dreamer_speed`` in Markdown, each number beside what it must reach."""

from __future__ import annotations

from typing import Any

__all__ = ["TARGETS", "floor", "report"]

TARGETS: dict[str, float] = {"update / theirs": 0.5, "act, ms": 2.0}


def report(results: dict[str, Any]) -> str:
    """All tables; what misses its target says so."""
    sections = ["\n".join([*_sizes(results["sizes"]), ""])]
    for threads, found in sorted(results["threads"].items()):
        speed = found["rates"]
        lines = [
            f"**{threads} thread{'s' if threads != '1' else ''}** ({results['machine']['processor']}; "
            f"matrix products {speed['products']['median']:.0f} GFLOP/s, "
            f"convolutions {speed['convolutions']['median']:.0f} GFLOP/s)",
            "",
        ]
        if found["update"]:
            lines += [*_updates(found, results["sizes"]), ""]
        if found["act"]:
            lines += [*_acting(found["act"]), ""]
        sections.append("\n".join(lines))
    return "\n".join(sections)


def floor(operations: dict[str, float], rates: dict[str, dict[str, float]]) -> float:
    """Seconds of so many operations at the machine's rates in GFLOP/s, by kind."""
    return sum(count / (1e9 * rates[kind]["median"]) for kind, count in operations.items())


def _sizes(sizes: dict[str, Any]) -> list[str]:
    lines = [
        "| size | peer | parameters: world, actor, critic | theirs | GFLOP of an update | theirs |",
        "|---|---|---|---|---|---|",
    ]
    for name, size in sizes.items():
        cells = [size["peer"]]
        for what, cell in (("parameters", _parameters), ("operations", _gflop)):
            cells += [cell(size[what][side]) if side in size[what] else "" for side in ("ours", "theirs")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _parameters(parts: dict[str, int]) -> str:
    return ", ".join(f"{parts[name]:,}" for name in ("world", "actor", "critic"))


def _gflop(operations: dict[str, float]) -> str:
    return f"{1e-9 * sum(operations.values()):.1f}"


def _updates(found: dict[str, Any], sizes: dict[str, Any]) -> list[str]:
    lines = ["| one update, 16 × 64 | ours | theirs | ours / theirs | our floor |", "|---|---|---|---|---|"]
    for name, row in found["update"].items():
        seconds, most = row["seconds"], TARGETS["update / theirs"]
        cells = [_range(seconds["ours"], "s"), "", ""]
        if "theirs" in seconds:
            ratio = row["ratio"]["median"]
            cells[1:] = [_range(seconds["theirs"], "s"), f"{ratio:.2f} ×{_verdict(ratio <= most, f'≤ {most:.2f}')}"]
        at_least = floor(sizes[name]["operations"]["ours"], found["rates"])
        share = at_least / seconds["ours"]["median"]
        lines.append(f"| {name} | {' | '.join(cells)} | {at_least:.2f} s, {share:.0%} of ours |")
    return lines


def _acting(found: dict[str, Any]) -> list[str]:
    lines = ["| one action, one environment | ours | theirs |", "|---|---|---|"]
    for name, row in found.items():
        milliseconds = {
            side: {kind: 1e3 * value for kind, value in values.items()} for side, values in row["seconds"].items()
        }
        most = TARGETS["act, ms"]
        verdict = _verdict(milliseconds["ours"]["median"] <= most, f"≤ {most:.1f} ms")
        theirs = _range(milliseconds["theirs"], "ms") if "theirs" in milliseconds else ""
        lines.append(f"| {name} | {_range(milliseconds['ours'], 'ms')}{verdict} | {theirs} |")
    return lines


def _range(values: dict[str, float], unit: str) -> str:
    return f"{values['median']:.2f} {unit} ({values['low']:.2f}–{values['high']:.2f})"


def _verdict(reached: bool, target: str) -> str:
    return f" ({target})" if reached else f" (**missed**: {target})"
