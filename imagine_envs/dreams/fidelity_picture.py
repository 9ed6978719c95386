"""The fidelity report as one picture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_envs.dreams.fidelity_returns import said
from imagine_envs.dreams.rendering import FrameRenderer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from imagine_envs.dreams.fidelity import FidelityReport

__all__ = ["draw"]

_WIDTH, _CURVES, _FILM = 13.5, 8.0, 0.75
"""Inches: the width, the height of everything but the film, and what the film needs besides its frames."""

_LEFT, _RIGHT = 0.055, 0.985

# Okabe & Ito's palette, which people with any colour vision can tell apart; the lines differ in their dashes too.
_REAL, _MODEL, _COPY, _UNTRAINED, _ALARM = "#000000", "#0072B2", "#E69F00", "#8C8C8C", "#D55E00"
_STYLES: dict[str, dict[str, Any]] = {
    "model": {"color": _MODEL, "lw": 2.2, "label": "this world"},
    "copy": {"color": _COPY, "lw": 1.6, "ls": (0, (5, 2)), "label": "control: nothing changes"},
    "untrained": {"color": _UNTRAINED, "lw": 1.6, "ls": (0, (1, 1.5)), "label": "control: untrained"},
}
_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": "#333333",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
}


def draw(report: FidelityReport) -> Figure:
    """Curves of the errors, calibration, returns, and film strips.

    Args:
        report: The report.

    Returns:
        A figure that belongs to no window.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        strips = _strips(report)
        height = _CURVES + (_FILM + 3 * _frame_height(strips) if strips else 0.2)
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)  # draws into memory, whatever window system there is

        def grid(rows: int, columns: int, top: float, bottom: float, **spaces: float) -> Any:
            """Places between two distances, in inches, from the top."""
            return figure.add_gridspec(
                rows, columns, left=_LEFT, right=_RIGHT, top=1 - top / height, bottom=1 - bottom / height, **spaces
            )

        _head(figure, report, height)
        panels = grid(2, 3, 1.15, _CURVES - 0.85, wspace=0.2, hspace=0.36)
        for place, panel in enumerate((_observation, _reward, _survival, _ranks, _reliability, _returns)):
            panel(figure.add_subplot(panels[place // 3, place % 3]), report)
        if strips:
            frames = grid(3, len(strips[0]), _CURVES + 0.05, height - 0.6, wspace=0.04, hspace=0.04)
            _film(figure, frames, strips, report)
        notes = [textwrap.shorten(note, 200) for note in report.notes]
        figure.text(0.012, 0.1 / height, "   ".join(notes), size=8.5, color="#777777", va="bottom")
    return figure


def _head(figure: Figure, report: FidelityReport, height: float) -> None:
    world, experience = report.world, report.experience
    fitted = world["fitted_on"].get("real_steps")
    name = world["env_id"] or "an environment without an id"
    figure.text(0.012, 1 - 0.3 / height, f"Fidelity of a dream of {name}", size=16, weight="bold", va="center")
    told = [
        f"{world['family']} world" + (f" fitted on {fitted:,} real steps" if fitted else ""),
        f"compared with {experience['transitions']:,} {report.data} real steps"
        + (f" ({experience['policy']} policy)" if experience["policy"] else ""),
        f"{experience['contexts']:,} contexts",
    ]
    figure.text(0.012, 1 - 0.63 / height, "  ·  ".join(told), size=10.5, color="#555555", va="center")
    if report.returns is not None:
        exploited = report.returns["exploited"]
        figure.text(
            0.98,
            1 - 0.42 / height,
            "ALARM: the policy exploits the model" if exploited else "No sign that the policy exploits the model",
            size=12,
            weight="bold" if exploited else "normal",
            ha="right",
            va="center",
            color="white" if exploited else "#333333",
            bbox={"boxstyle": "round,pad=0.5", "fc": _ALARM if exploited else "#EAF3F8", "ec": "none"},
        )


def _observation(axes: Axes, report: FidelityReport) -> None:
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    loop = report.open_loop
    highest = max(loop["observation"]["copy"]["high"] + loop["observation"]["model"]["median"])
    smallest = min((value for value in loop["observation"]["model"]["median"] if value > 0), default=highest)
    top = max(2 * highest, 1e-6)
    bottom = max(min(smallest / 3, top / 100), top / 1e5)
    for name, style in _STYLES.items():
        if name in loop["observation"]:
            curve = {key: np.maximum(values, bottom) for key, values in loop["observation"][name].items()}
            axes.plot(loop["steps"], curve["median"], **style)
            axes.fill_between(loop["steps"], curve["low"], curve["high"], color=style["color"], alpha=0.15, lw=0)
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"Error of {loop['observation']['of']}, open loop")
    axes.set_ylabel("RMS, in spreads of the data")
    _steps(axes, report)
    axes.legend(loc="lower right", fontsize=8.5)


def _reward(axes: Axes, report: FidelityReport) -> None:
    loop = report.open_loop
    for name, style in _STYLES.items():
        if name in loop["reward"]:
            axes.plot(loop["steps"], loop["reward"][name], **style)
    axes.set_title("Error of reward, open loop")
    axes.set_ylabel("mean absolute error")
    highest = max(max(loop["reward"][name]) for name in ("model", "copy"))
    axes.set_ylim(0, 1.15 * highest or 1.0)
    spread = loop["reward"]["spread"]
    told = f"rewards of the data spread by {spread:.3g}" if spread > 0 else "the reward is constant in the data"
    if highest == 0:
        told += ",\nand predicted exactly"
    axes.text(0.5, 0.5, told, transform=axes.transAxes, va="center", ha="center", fontsize=8.5, color="#555555")
    _steps(axes, report)


def _survival(axes: Axes, report: FidelityReport) -> None:
    loop, termination = report.open_loop, report.open_loop["termination"]
    steps = [0, *loop["steps"]]
    axes.plot(steps, [1.0, *termination["survival"]], color=_REAL, lw=3.2, alpha=0.85, label="real")
    for name, style in _STYLES.items():
        if name in termination:
            axes.plot(steps, [1.0, *termination[name]["survival"]], **style)
    axes.set_ylim(0, 1.04)
    axes.set_title("Episodes still alive, open loop")
    axes.set_ylabel("fraction")
    axes.legend(handles=axes.lines[:1], loc="lower left", fontsize=8.5)
    _steps(axes, report, first=0)


def _steps(axes: Axes, report: FidelityReport, first: int = 1) -> None:
    axes.set_xlim(first, max(report.open_loop["steps"][-1], 2))
    axes.set_xlabel("imagined steps")
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def _ranks(axes: Axes, report: FidelityReport) -> None:
    calibration = report.calibration
    axes.set_title("Calibration of one step")
    edges = np.linspace(0, 100, 11)
    told = []
    for name, color, step in (("observation", _MODEL, False), ("reward", _COPY, True)):
        part = calibration[name]
        if part is None:
            told.append(f"{name}: constant in the data")
            continue
        told.append(
            f"{name}: {100 * part['coverage_50']:.0f} % in the central 50 %, {100 * part['coverage_90']:.0f} % in 90 %"
        )
        heights = np.array(part["ranks"]) * 10
        if step:
            axes.stairs(heights, edges, color=color, lw=2, label=name)
        else:
            axes.stairs(heights, edges, color=color, fill=True, alpha=0.45, label=name)
    axes.axhline(1, color=_REAL, lw=1.2, ls="--", label="calibrated")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, max(2.6, axes.get_ylim()[1] * 1.35))
    axes.set_xlabel("rank of the real value among imagined ones, %\n(a hill: too unsure, a bowl: too sure)")
    axes.set_ylabel("relative frequency")
    _say(axes, 0.02, 0.98, told, va="top")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, 0.85), ncols=3, fontsize=8.5, handlelength=1.4)


def _reliability(axes: Axes, report: FidelityReport) -> None:
    ends = report.calibration["termination"]
    axes.set_title("Predicted terminations")
    axes.plot([0, 1], [0, 1], color=_REAL, lw=1.2, ls="--")
    count = np.array([part["count"] for part in ends["bins"]])
    axes.scatter(
        [part["predicted"] for part in ends["bins"]],
        [part["actual"] for part in ends["bins"]],
        s=25 + 50 * np.log10(count),
        color=_MODEL,
        alpha=0.85,
        zorder=3,
        clip_on=False,
    )
    for part in ends["bins"]:
        place, offset = (part["predicted"], part["actual"]), (-8, 5)
        right = part["predicted"] < 0.1
        axes.annotate(
            f"{part['count']:,}",
            place,
            (10, -3) if right else offset,
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=7.5,
            color="#555555",
        )
    axes.set(
        xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="predicted probability of an end", ylabel="how often it ended"
    )
    told = [
        f"{ends['terminations']:,} of {count.sum():,} steps end",
        f"Brier score {ends['brier']:.2g} (base rate: {ends['base_brier']:.2g})",
    ]
    if ends["auc"] is not None:
        told.append(f"AUC {ends['auc']:.3f}")
    if not ends["terminations"]:
        told = ["no episode terminates in this data;", f"mean prediction {ends['predicted_rate']:.2g}"]
    _say(axes, 0.97, 0.06, told, ha="right", va="bottom")


def _say(axes: Axes, x: float, y: float, lines: list[str], **alignment: Any) -> None:
    axes.text(
        x, y, "\n".join(lines), transform=axes.transAxes, fontsize=8.5, color="#333333", linespacing=1.5, **alignment
    )


def _returns(axes: Axes, report: FidelityReport) -> None:
    returns = report.returns
    axes.set_title("Return of the policy")
    if returns is None:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="#777777")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.set_title(f"Return of the policy ({returns['policy']})")
    rng = np.random.default_rng(0)
    colors = {"dream": _ALARM if returns["exploited"] else _MODEL, "real": "#444444"}
    for height, name in ((1, "dream"), (0, "real")):
        part, color = returns[name], colors[name]
        values = np.array(part["returns"])
        axes.scatter(values, height + rng.uniform(-0.16, 0.16, len(values)), s=14, color=color, alpha=0.35, lw=0)
        axes.errorbar(
            part["mean"], height, xerr=part["std"], fmt="D", ms=7, color=color, capsize=5, lw=2, mec="white", zorder=4
        )
        axes.text(
            part["mean"],
            height + 0.25,
            f"{said(part['mean'])} ± {said(part['std'])}",
            ha="center",
            fontsize=9,
            color=color,
        )
    axes.set_yticks(
        [1, 0], [f"{len(returns['dream']['returns'])} dreams", f"{len(returns['real']['returns'])} real\nepisodes"]
    )
    axes.set_ylim(-0.6, 1.6)
    axes.set_xlabel("return")
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)


def _strips(report: FidelityReport) -> list[list[np.ndarray]]:
    """Frames of what was real, of the dream, and of where they differ; empty without a film."""
    if report.film is None or report.observation_space is None:
        return []
    renderer = FrameRenderer(report.world["env_id"], report.world["env_kwargs"], report.observation_space)
    real, dream = ([renderer.render(each) for each in strip] for strip in (report.film.real, report.film.dream))
    renderer.close()
    return [real, dream, [_difference(*frames) for frames in zip(real, dream, strict=True)]]


def _frame_height(strips: list[list[np.ndarray]]) -> float:
    height, width, _ = strips[0][0].shape
    return _WIDTH * (_RIGHT - _LEFT) / max(4, len(strips[0])) * height / width


def _film(figure: Figure, places: Any, strips: list[list[np.ndarray]], report: FidelityReport) -> None:
    assert report.film is not None
    for row, (name, strip) in enumerate(zip(("real", "dream", "difference"), strips, strict=True)):
        for column, frame in enumerate(strip):
            axes = figure.add_subplot(places[row, column])
            axes.imshow(frame, aspect="equal", interpolation="antialiased")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color="#CCCCCC")
            if row == 0:
                axes.set_title(f"step {report.film.steps[column]}", loc="center", fontweight="normal")
            if row == 2:
                axes.set_xlabel(f"error {report.film.error[column]:.2g}", color="#555555", fontsize=8.5)
            if column == 0:
                axes.set_ylabel(name, fontweight="bold")


def _difference(real: np.ndarray, dream: np.ndarray) -> np.ndarray:
    """Where two frames differ: white is equal, the darker the more they differ."""
    share = np.abs(real.astype(np.int16) - dream.astype(np.int16)).max(axis=2, keepdims=True) / 255
    color = np.array([0xD5, 0x5E, 0x00])
    return (255 - share * (255 - color)).astype(np.uint8)
