"""Dyna-Q as slow, plain Python after the book's boxes, and a random environment to run it on."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

sys.path.append(str(Path(__file__).parents[1] / "imagine_envs"))

from reference_random import ReferenceRandom


class Chance(gym.Env):
    """A random decision process that writes down what happens.

    Some outcomes end the episode (in a state that others go on from), and so does a time limit; some of the time both
    at once. Several environments can share a log, in which their steps then stand in turns.
    """

    def __init__(
        self, *, states: int = 8, actions: int = 3, branching: int = 2, instance: int = 0, limit: int = 7,
        start: int = 0, log: list[Any] | None = None,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(instance)
        shape = states, actions, branching
        self.successors = rng.integers(states, size=shape)
        self.rewards = rng.standard_normal(shape)
        self.ends = rng.random(shape) < 0.15
        self.observation_space = spaces.Discrete(states, start=start)
        self.action_space = spaces.Discrete(actions, start=2 * start)
        self.limit, self.log = limit, [] if log is None else log
        self.now, self.clock = 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.now, self.clock = int(self.np_random.integers(3)), 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        before, choice = self.now, int(action) - int(self.action_space.start)
        outcome = before, choice, int(self.np_random.integers(self.successors.shape[2]))
        self.now, reward, end = int(self.successors[outcome]), float(np.float32(self.rewards[outcome])), bool(
            self.ends[outcome]
        )  # fmt: skip
        self.log.append((before, choice, reward, self.now, end, self.clock == 0))
        self.clock += 1
        return self._see(), reward, end, self.clock >= self.limit, {}

    def _see(self) -> np.int64:
        return np.int64(self.now + int(self.observation_space.start))


class PlainDyna:
    """The agent's rules in lists and dicts. Random numbers are those of the agent; their use is part of the rules."""

    def __init__(self, agent: Any) -> None:
        self.agent, self.epsilon = agent, agent.exploration_final_eps
        self.states, self.actions = agent.world_model.num_states, agent.world_model.num_actions
        self.acting, self.planning = (ReferenceRandom(0) for _ in range(2))
        self.acting.state, self.planning.state = (int(value) % 2**64 for value in agent.memory.random)
        self.q = [[0.0] * self.actions for _ in range(self.states)]
        self.h = [[0.0] * self.actions for _ in range(self.states)]
        self.promised: list[list[float]] = [[] for _ in range(self.states)]
        self.model: dict[tuple[int, int], list[dict[str, Any]]] = {}  # in the order of the first time
        self.last_tried: dict[tuple[int, int], int] = {}
        self.starts: list[int] = []
        self.queue: dict[tuple[int, int], float] = {}
        self.swept: list[tuple[int, int]] = []
        self.simulated: int | None = None
        self.time = self.backups = 0

    def act(self, state: int) -> int:
        return self.choose(state, list(range(self.actions)), self.acting)

    def choose(self, state: int, candidates: list[int], random: ReferenceRandom) -> int:
        explores, pick = random.uniform(), random.uniform()
        if self.agent.exploration == "gradient_bandit":
            weights = [math.exp(self.h[state][a] - max(self.h[state][b] for b in candidates)) for a in candidates]
            remaining = pick * sum(weights)
            for a, weight in zip(candidates, weights, strict=True):
                remaining -= weight
                if remaining < 0:
                    return a
            return candidates[-1]
        if explores < self.epsilon:
            return candidates[int(pick * len(candidates))]
        best = [a for a in candidates if self.q[state][a] == max(self.q[state][b] for b in candidates)]
        return best[int(pick * len(best))]

    def learn(self, s: int, a: int, r: float, s2: int, end: bool, first: bool) -> None:
        agent = self.agent
        self.time += 1
        self.last_tried[s, a] = self.time
        if first and s not in self.starts:
            self.starts.append(s)
        target = r + (0 if end else agent.gamma * max(self.q[s2]))
        if agent.exploration == "gradient_bandit":
            baseline = sum(self.promised[s]) / len(self.promised[s]) if self.promised[s] else target
            total = sum(math.exp(h) for h in self.h[s])
            chances = [math.exp(h) / total for h in self.h[s]]
            for b in range(self.actions):
                self.h[s][b] += agent.preference_rate * (target - baseline) * ((b == a) - chances[b])
            self.promised[s].append(target)
        self.note(s, a, r, s2, end)
        if agent.search_control == "prioritized":
            self.insert(s, a)
        else:
            self.update(s, a, target)
        for _ in range(agent.planning_steps):
            self.plan()

    def note(self, s: int, a: int, r: float, s2: int, end: bool) -> None:
        outcomes = self.model.setdefault((s, a), [])
        if not self.agent.stochastic:
            outcomes[:] = [{"to": s2, "end": end, "count": 1, "reward": r}]
            return
        for outcome in outcomes:
            if (outcome["to"], outcome["end"]) == (s2, end):
                outcome["count"] += 1
                outcome["reward"] += (r - outcome["reward"]) / outcome["count"]
                return
        outcomes.append({"to": s2, "end": end, "count": 1, "reward": r})

    def update(self, s: int, a: int, target: float) -> None:
        self.q[s][a] += self.agent.learning_rate * (target - self.q[s][a])
        self.backups += 1

    def promise(self, outcome: dict[str, Any]) -> float:
        return outcome["reward"] + (0.0 if outcome["end"] else self.agent.gamma * max(self.q[outcome["to"]]))

    def expected(self, s: int, a: int) -> float:
        outcomes = self.model.get((s, a))
        if not outcomes:
            return self.agent.gamma * max(self.q[s])
        return sum(o["count"] * self.promise(o) for o in outcomes) / sum(o["count"] for o in outcomes)

    def seen(self) -> list[int]:
        return list(dict.fromkeys(s for s, _ in self.model))

    def tried(self, state: int) -> list[int]:
        return [a for s, a in self.model if s == state]

    def plan(self) -> None:
        agent, bonus = self.agent, self.agent.exploration_bonus
        if agent.search_control == "uniform":
            s = self.seen()[self.planning.below(len(self.seen()))]
            allowed = list(range(self.actions)) if bonus else self.tried(s)
            a = allowed[self.planning.below(len(allowed))]
        elif agent.search_control == "trajectory":
            if self.simulated is None or not self.tried(self.simulated):
                self.simulated = self.starts[self.planning.below(len(self.starts))]
            s = self.simulated
            a = self.choose(s, list(range(self.actions)) if bonus else self.tried(s), self.planning)
        elif not self.queue:
            return
        else:
            s, a = max(self.queue, key=lambda pair: self.queue[pair])
            priority = self.queue.pop((s, a))
            assert priority not in self.queue.values(), "a tie: take another instance"
            self.swept.append((s, a))
        outcome = None
        draws = agent.stochastic and (agent.search_control == "trajectory" or agent.backups == "sample")
        number = self.planning.uniform() if draws else 0.0
        if outcomes := self.model.get((s, a)):
            remaining = number * sum(o["count"] for o in outcomes)
            for outcome in outcomes:
                remaining -= outcome["count"]
                if remaining < 0:
                    break
        if agent.backups == "expected":
            target = self.expected(s, a)
        else:
            target = self.promise(outcome) if outcome else agent.gamma * max(self.q[s])
        if bonus:
            target += bonus * math.sqrt(self.time - self.last_tried.get((s, a), 0))
        self.update(s, a, target)
        if outcome:
            self.simulated = None if outcome["end"] else outcome["to"]
        if agent.search_control == "prioritized":
            for pair, outcomes in self.model.items():
                if any(o["to"] == s and not o["end"] for o in outcomes):
                    self.insert(*pair)

    def insert(self, s: int, a: int) -> None:
        priority = abs(self.expected(s, a) - self.q[s][a])
        if priority > self.agent.priority_threshold:
            self.queue[s, a] = max(priority, self.queue.get((s, a), 0.0))
