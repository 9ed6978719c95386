"""Figure 8.8: updates spread uniformly or along the trajectories of the present policy (Sutton & Barto, section 8.6).

Tasks have two actions, each of which leads to one of b equally likely states, drawn anew for every pair, and ends the
episode with probability 0.1; rewards are drawn from N(0, 1). The model is known and every update is an expected one.
"Uniform" updates all pairs in turn, "on-policy" those that episodes of the ε-greedy policy pass through. From time to
time the policy that is greedy with respect to the present values is valued exactly in the start state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.mazes import TrajectorySampling
from imagine_envs.tasks.randomness import below, seed_rows, uniform
from zoo.reproductions.figure import COLORS, Job, Reproduction, claim, rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURE"]

EPSILON, TERMINATION = 0.1, 0.1

PANELS = {"1,000 states": ((1_000, 1), (1_000, 3), (1_000, 10)), "10,000 states": ((10_000, 1),)}
"""Title of a panel → its tasks, (states, branching)."""

UPDATES = {1_000: 20_000, 10_000: 200_000}
METHODS = ("uniform", "on-policy")

_TASKS_AT_A_TIME = 10
_TOLERANCE = 1e-9


def points(states: int) -> NDArray[np.int64]:
    """After how many updates a policy is valued: often in the beginning, where curves are steep."""
    last = UPDATES[states]
    early, late = np.arange(0, last // 10, last // 200), np.arange(last // 10, last + 1, last // 50)
    return np.concatenate((early, late))


def measure(states: int, branching: int, instances: Sequence[int]) -> NDArray[np.float64]:
    """v(s₀) of the greedy policy in the course of the updates, and of the best policy in the end.

    Args:
        states: S.
        branching: b.
        instances: Which random tasks; an instance's number also seeds what is sampled in it.

    Returns:
        ``[instances, methods, points + 1]``, the last entry being the optimum.
    """
    after = points(states)
    values = np.empty((len(instances), len(METHODS), len(after) + 1))
    for row, instance in enumerate(instances):
        task = TrajectorySampling(states=states, branching=branching, instance=instance, termination=TERMINATION)
        successors, rewards = task.successors[0], task.rewards[0]
        for column, method in enumerate(METHODS):
            random = np.zeros(1, np.int64)
            seed_rows(random, np.zeros(1, np.int64), np.array([instance], np.uint64))
            on_policy = method == "on-policy"
            _plan(successors, rewards, on_policy, after, random.view(np.uint64), values[row, column, :-1])
        values[row, :, -1] = _optimum(successors, rewards)
    return values


@njit(cache=True)
def _plan(successors: Any, rewards: Any, on_policy: bool, after: Any, random: Any, out: Any) -> None:
    """Updates q in one of the two orders; ``out[i]`` becomes v(s₀) of the greedy policy after ``after[i]`` updates."""
    states = len(successors) - 1  # the last one is the end, whose values stay zero
    q, v = np.zeros((states + 1, 2)), np.zeros(states + 1)
    state, pair, point = 0, 0, 0
    for updates in range(after[-1] + 1):
        if updates == after[point]:
            out[point] = _start_value(successors, rewards, q, v)
            point += 1
        if on_policy:
            if uniform(random, 0) < EPSILON or q[state, 0] == q[state, 1]:
                action = below(random, 0, 2)
            else:
                action = int(q[state, 1] > q[state, 0])
        else:
            state, action = pair // 2, pair % 2
            pair = (pair + 1) % (2 * states)
        q[state, action] = _expected_update(successors, rewards, q, state, action)
        if on_policy:
            if uniform(random, 0) < TERMINATION:
                state = 0
            else:
                state = successors[state, action, below(random, 0, successors.shape[2])]


@njit(cache=True)
def _expected_update(successors: Any, rewards: Any, q: Any, state: int, action: int) -> float:
    """(1 − 0.1) · mean of r + max_a' q(s', a') over the successors s'; the end has no reward and no value."""
    total, branching = 0.0, successors.shape[2]
    for branch in range(branching):
        successor = successors[state, action, branch]
        total += rewards[state, action, branch] + max(q[successor, 0], q[successor, 1])
    return (1 - TERMINATION) * total / branching


@njit(cache=True)
def _start_value(successors: Any, rewards: Any, q: Any, v: Any) -> float:
    """v(s₀) of the policy that is greedy with respect to q, by sweeps over the states from the last v on.

    A sweep brings v nearer by the factor 0.9 at least, whatever it was, so that little is left where sweeps change
    little.
    """
    states, branching = len(successors) - 1, successors.shape[2]
    if branching == 1:  # there is only one way to go, and 0.9 ** 300 of it is left after 300 steps
        state, value, weight = 0, 0.0, 1.0
        for _ in range(300):
            action = int(q[state, 1] > q[state, 0])
            weight *= 1 - TERMINATION
            value += weight * rewards[state, action, 0]
            state = successors[state, action, 0]
        return value
    change = 1.0
    while change > _TOLERANCE:
        change = 0.0
        for state in range(states):
            action = int(q[state, 1] > q[state, 0])
            total = 0.0
            for branch in range(branching):
                total += rewards[state, action, branch] + v[successors[state, action, branch]]
            value = (1 - TERMINATION) * total / branching
            change = max(change, abs(value - v[state]))
            v[state] = value
    return v[0]


@njit(cache=True)
def _optimum(successors: Any, rewards: Any) -> float:
    """v*(s₀), by value iteration."""
    states = len(successors) - 1
    q, change = np.zeros((states + 1, 2)), 1.0
    while change > _TOLERANCE:
        change = 0.0
        for state in range(states):
            for action in range(2):
                value = _expected_update(successors, rewards, q, state, action)
                change = max(change, abs(value - q[state, action]))
                q[state, action] = value
    return max(q[0, 0], q[0, 1])


# --- the figure -----------------------------------------------------------------------------------------------------


def _kinds() -> list[tuple[int, int]]:
    return [kind for kinds in PANELS.values() for kind in kinds]


def _jobs(runs: int, seed: int) -> list[Job]:
    instances = range(seed, seed + runs)
    parts = [tuple(instances[begin : begin + _TASKS_AT_A_TIME]) for begin in range(0, runs, _TASKS_AT_A_TIME)]
    return [Job(measure, (*kind, part), weight=len(part) * sum(kind)) for kind in _kinds() for part in parts]


def _result(outcomes: Sequence[Any]) -> dict[str, Any]:
    each = len(outcomes) // len(_kinds())
    curves, claims, leads = {}, [], {}
    for place, (states, branching) in enumerate(_kinds()):
        values = np.concatenate(outcomes[place * each : (place + 1) * each])
        after, name = points(states), f"{states:,} states, b = {branching}"
        uniform, on_policy = values[:, 0, :-1], values[:, 1, :-1]
        curves[name] = {
            "updates": after.tolist(),
            **{
                method: {"mean": rounded(part.mean(0)), "standard_error": rounded(_standard_error(part))}
                for method, part in zip(METHODS, (uniform, on_policy), strict=True)
            },
            "optimum": round(float(values[:, 0, -1].mean()), 4),
        }
        lead = on_policy - uniform
        mean, error = lead.mean(0), _standard_error(lead)
        early = int(np.searchsorted(after, states // 2))
        leads[name] = _end_of_lead(after, mean)
        claims += [
            claim(
                f"{name}: on-policy updates plan faster initially",
                mean[early] > 2 * error[early],
                f"after {after[early]:,} updates, a quarter of a sweep, ahead by {_told(mean, error, early)}",
            ),
            claim(
                f"{name}: in the long run they do not",
                mean[-1] < 2 * error[-1],
                f"after {after[-1]:,} updates ahead by {_told(mean, error, -1)}",
            ),
        ]
    told = "; ".join(f"{name}: until {_until(end)}" for name, end in leads.items())
    small, large = list(leads.values())[:3], list(leads.values())[3]
    claims += [
        claim("The lead lasts longer with fewer branches", small[0] > small[1] > small[2], told),
        claim("The lead lasts longer with more states", large > small[0], told),
    ]
    return {
        "runs": sum(len(part) for part in outcomes[:each]),
        "settings": {"epsilon": EPSILON, "termination": TERMINATION, "gamma": 1.0},
        "values": [],
        "claims": claims,
        "curves": curves,
        "notes": [
            "The book gives curves without numbers here, so its statements about them are tested; a lead is the mean "
            "of the differences on the same tasks ± its standard error."
        ],
    }


def _standard_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.std(0) / np.sqrt(max(1, len(values) - 1))


def _end_of_lead(after: NDArray[np.int64], lead: NDArray[np.float64]) -> float:
    """From how many updates on the mean lead is never positive again; infinite if it still is in the end."""
    ahead = np.flatnonzero(lead > 0)
    if len(ahead) == 0:
        return 0.0
    return float("inf") if ahead[-1] == len(lead) - 1 else float(after[ahead[-1] + 1])


def _until(end: float) -> str:
    return "the end" if end == float("inf") else f"{end:,.0f} updates"


def _told(mean: NDArray[np.float64], error: NDArray[np.float64], place: int) -> str:
    return f"{mean[place]:.3f} ± {error[place]:.3f}"


def _draw(result: Mapping[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    for axes, (title, kinds) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for color, (states, branching) in zip(COLORS, kinds, strict=False):
            _curves(axes, result["curves"][f"{states:,} states, b = {branching}"], f"b = {branching}", color)
        axes.set(title=title, xlabel="expected updates", xlim=(0, UPDATES[kinds[0][0]]), ylim=(0, None))
        axes.xaxis.set_major_formatter(lambda number, place: f"{number / 1_000:,.0f}k" if number else "0")
        axes.set_xticks(np.linspace(0, UPDATES[kinds[0][0]], 5))
        axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.58), fontsize=8)
    figure.axes[0].set_ylabel("value of the start state\nunder the greedy policy")
    figure.suptitle(
        f"Figure 8.8: on-policy or uniform updates, {result['runs']} random tasks", x=0.01, ha="left", weight="bold"
    )
    return figure


def _curves(axes: Axes, curve: Mapping[str, Any], label: str, color: str) -> None:
    for method, dashes in zip(METHODS, ("--", "-"), strict=True):
        mean, error = (np.array(curve[method][kind]) for kind in ("mean", "standard_error"))
        axes.plot(curve["updates"], mean, dashes, color=color, lw=1.6, label=f"{label}, {method}")
        axes.fill_between(curve["updates"], mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    axes.axhline(curve["optimum"], color=color, lw=0.8, ls=":")


FIGURE = Reproduction("figure-8.8", "On-policy or uniform distribution of updates", 200, _jobs, _result, _draw)
