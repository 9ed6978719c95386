"""Whether tables from a file are whole: kernels check no bounds, so that others must never reach them."""

from __future__ import annotations

import numpy as np

from imagine_envs.world_models.tabular.tables import Tables

__all__ = ["fault"]


def fault(tables: Tables) -> str | None:
    """What is wrong with tables, None if nothing is."""
    size, choices = tables.count.shape[:2]
    used = tables.count > 0
    if (tables.count < 0).any():
        return "a count is negative"
    if (used[..., 1:] & ~used[..., :-1]).any():
        return "a used slot comes after an empty one"
    if ((tables.successor[used] < 0) | (tables.successor[used] >= size)).any():
        return f"a successor is none of the {size} states"
    if not np.isfinite(tables.reward[used]).all():
        return "a reward is not finite"

    tried = used[..., 0]
    number = int(tables.num_states[0])
    listed = tables.states[: max(0, number)]
    if not np.array_equal(np.sort(listed), np.flatnonzero(tried.any(1))) or len(listed) != number:
        return "the list of states is not that of the states in which something was tried"
    if not np.array_equal(tables.num_actions, tried.sum(1)):
        return "the numbers of tried actions are not those of the counts"
    rows, columns = np.nonzero(np.arange(choices) < tables.num_actions[:, None])
    entries = tables.actions[rows, columns]
    if ((entries < 0) | (entries >= choices)).any():
        return f"a tried action is none of the {choices} actions"
    again = np.zeros_like(tried)
    again[rows, entries] = True
    if not np.array_equal(again, tried):
        return "the lists of tried actions are not those of the counts"

    live = (used & ~tables.terminated).reshape(-1)
    slot = np.flatnonzero(live)
    goes_to = tables.successor.reshape(-1)
    before, after = tables.previous[slot], tables.next[slot]
    if any(((ends < -1) | (ends >= len(live))).any() for ends in (before, after, tables.head)):
        return f"a list of predecessors leaves the {len(live)} slots"
    begins, inner, goes_on = before < 0, before >= 0, after >= 0
    whole = (
        np.array_equal(tables.head[goes_to[slot[begins]]], slot[begins])
        and int((tables.head >= 0).sum()) == int(begins.sum())
        and live[before[inner]].all()
        and np.array_equal(tables.next[before[inner]], slot[inner])
        and np.array_equal(goes_to[before[inner]], goes_to[slot[inner]])
        and live[after[goes_on]].all()
        and np.array_equal(tables.previous[after[goes_on]], slot[goes_on])
    )
    return None if whole else "the lists of predecessors are not those of the outcomes"
