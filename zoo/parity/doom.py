"""The native Doom tasks beside ViZDoom.

What is not random is compared tic by tic: where the player goes under the same actions, from the same place; the flight
and the end of every fireball that the engine's imps throw; shots and rewards. The engine's random numbers cannot be
had, so what is random is compared as statistics: how often imps appear and throw, how long one survives who does
nothing or anything, what that earns in the other scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from imagine_envs.tasks import BatchedTask, State
from imagine_envs.tasks.doom import Basic, HealthGathering, MyWayHome, TakeCover, imps
from imagine_envs.tasks.doom.level import FIXED
from imagine_envs.tasks.doom.player import ANGLE, COLUMNS, EYES, X, Y
from zoo.parity.report import Check, Report, strip

__all__ = ["compare"]

_EPISODES = 300
_IMMORTALS = 12
"""Episodes of 2,100 tics in which the player cannot be hurt."""
_WALKS, _WALK_TICS = 30, 300
_HELD = 4
"""Tics for which a random action is held."""
_NATIVE_ROWS = 600
_TASKS: dict[str, type[BatchedTask]] = {
    "TakeCover": TakeCover,
    "Basic": Basic,
    "HealthGathering": HealthGathering,
    "MyWayHome": MyWayHome,
}


def compare(*, episodes: int | None = None, seed: int = 0, progress: bool = False) -> Report:
    """Plays all four scenarios in both engines.

    Args:
        episodes: Of each comparison of statistics, 300 by default.
        seed: Of the first episode, and of the actions.
        progress: Whether to show how far it is.

    Raises:
        ImportError: If ViZDoom is not installed.
    """
    episodes = _EPISODES if episodes is None else episodes
    walks, immortals = min(_WALKS, episodes), min(_IMMORTALS, episodes)
    results: dict[str, Any] = {"episodes": episodes, "seed": seed}
    parts: list[tuple[str, Callable[[], Any]]] = [
        ("movement", lambda: {name: movement(name, walks, seed) for name in _TASKS}),
        ("imps", lambda: imps_and_fireballs(immortals, seed)),
        ("survival", lambda: {policy: survival(policy, episodes, seed) for policy in ("noop", "random")}),
        ("shots", lambda: shots(walks, seed)),
        ("random_agent", lambda: {name: returns(name, episodes, seed) for name in ("Basic", "HealthGathering")}),
        ("home", lambda: home(seed)),
        ("starts", lambda: starts(episodes, seed)),
        ("dodger", lambda: dodger(max(2, episodes // 3), seed)),
        ("pictures", lambda: pictures(seed)),
    ]
    for name, measure in tqdm(parts, unit=" part", leave=False, disable=not progress):
        results[name] = measure()
    rows = results["pictures"].pop("rows")
    picture = strip(rows, ("native", "ViZDoom"), height=rows[0][0].shape[0])
    return Report("doom", _checks(results), results, picture)


def _checks(results: dict[str, Any]) -> list[Check]:
    checks = []
    for name, found in results["movement"].items():
        checks.append(Check(f"{name}: distance from the engine's player, mean", found["mean"], "<=", 0.01, "units"))
    balls, native, engine = (results["imps"][key] for key in ("flights", "native", "engine"))
    checks += [
        Check("fireballs that end in the same tic", 100 * balls["same_end"], ">=", 99.0, "%"),
        Check("fireballs: distance from the engine's, worst", balls["worst"], "<=", 0.01, "units"),
        Check("tics between an imp's fireballs, mean, at least", native["interval"], ">=", 110.0, "tics"),
        Check("tics between an imp's fireballs, mean, at most", native["interval"], "<=", 145.0, "tics"),
        Check("tics between an imp's fireballs, least", native["least_interval"], ">=", 25.0, "tics"),
        Check("tics before an imp's first fireball, least", native["least_first"], ">=", 46.0, "tics"),
        Check("imps at tic 1,400, apart", abs(native["imps_at_1400"] - engine["imps_at_1400"]), "<=", 1.0, "imps"),
    ]
    for policy, found in results["survival"].items():
        checks.append(Check(f"survival, {policy}: apart", 100 * abs(found["ratio"] - 1), "<=", 10.0, "%"))
    dodged = results["dodger"]["ratio"]
    checks.append(Check("survival, who sees pictures only: ViZDoom's of native", 100 / dodged, ">=", 80.0, "%"))
    checks.append(Check("shots and their rewards alike", 100 * results["shots"]["alike"], ">=", 100.0, "%"))
    for name, found in results["random_agent"].items():
        checks.append(Check(f"{name}: a random agent's return, apart", found["errors_apart"], "<=", 3.0, "errors"))
    checks.append(Check("My Way Home: rewards on the way to the vest, apart", results["home"]["apart"], "<=", 1e-9))
    for name, found in results["pictures"]["apart"].items():
        checks.append(Check(f"{name}: mean colours, apart", found["mean_colour"], "<=", 12.0, "of 255"))
    return checks


# --- both engines ---------------------------------------------------------------------------------------------------


@dataclass
class _Engine:
    """ViZDoom with everything that it can tell.

    Attributes:
        env: The environment.
        actions: How many actions there are.
    """

    env: Any
    actions: int

    @classmethod
    def of(cls, name: str, *, things: bool = True, seen: bool = False) -> _Engine:
        """The engine of a task; ``things`` tells where everything is, ``seen`` makes pictures worth looking at."""
        mode: dict[str, Any] = {"render_mode": "rgb_array", "render_size": 256} if seen else {}
        env: Any = gym.make(f"Imagine/Doom{name}-v0", backend="vizdoom", max_steps=None, **mode).unwrapped
        env.game.set_objects_info_enabled(things)
        if not seen:
            from vizdoom import ScreenResolution

            env.game.set_screen_resolution(ScreenResolution.RES_160X120)
        return cls(env, int(env.action_space.n))

    def __enter__(self) -> _Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.env.close()

    def begin(self, seed: int, *, immortal: bool = False) -> None:
        self.env.reset(seed=seed)
        if immortal:
            self.env.game.send_game_command("god")

    def step(self, action: int) -> tuple[float, bool]:
        """One tic, without a picture of it."""
        reward = self.env.game.make_action(self.env.buttons(action))
        return float(reward), bool(self.env.game.is_episode_finished())

    def pose(self) -> tuple[float, float, float, float]:
        """x, y, angle in degrees, height of the eyes."""
        from vizdoom import GameVariable

        names = ("POSITION_X", "POSITION_Y", "ANGLE", "CAMERA_POSITION_Z")
        x, y, angle, eyes = (self.env.game.get_game_variable(getattr(GameVariable, name)) for name in names)
        return x, y, angle, eyes

    def things(self, name: str) -> list[Any]:
        state = self.env.game.get_state()
        return [] if state is None else [thing for thing in state.objects if thing.name == name]


class _Native:
    """One task of ours, any number of rows."""

    def __init__(self, name: str, rows: int = 1) -> None:
        self.task = _TASKS[name](max_steps=None)  # type: ignore[call-arg]
        self.rows = np.arange(rows)
        self.state: State = self.task.allocate(rows)
        self.reward, self.terminated = np.zeros(rows), np.zeros(rows, bool)

    def begin(self, seed: int) -> None:
        for array in self.state.values():
            array[:] = 0
        self.task.seed(self.state, self.rows, [seed + int(row) for row in self.rows])
        self.task.reset(self.state, self.rows, {})

    def step(self, action: NDArray[np.int64] | int) -> None:
        actions = np.full(len(self.rows), action) if isinstance(action, int) else action
        self.task.step(self.state, actions, self.reward, self.terminated)

    def stand(self, pose: tuple[float, float, float, float]) -> None:
        """Puts the player where the engine's is."""
        player = self.state["player"]
        player[:, X], player[:, Y] = round(pose[0] * FIXED), round(pose[1] * FIXED)
        player[:, ANGLE] = round(pose[2] / 360 * 2**32) % 2**32
        player[:, EYES] = round(pose[3] * FIXED)


def _held_actions(rng: np.random.Generator, actions: Sequence[int], held: int) -> Iterator[int]:
    while True:
        action = int(rng.choice(actions))
        yield from [action] * held


def _summary(values: Sequence[float]) -> dict[str, float]:
    array = np.asarray(values, np.float64)
    error = float(array.std() / len(array) ** 0.5)
    return {"episodes": len(array), "mean": float(array.mean()), "std": float(array.std()), "error": error}


# --- what is not random ---------------------------------------------------------------------------------------------


def movement(name: str, walks: int, seed: int) -> dict[str, float]:
    """How far apart the players are after the same actions from the same place: mean and worst over tics, in units."""
    rng = np.random.default_rng(seed)
    native = _Native(name)
    apart: list[float] = []
    eyes: list[float] = []
    exact = 0
    with _Engine.of(name) as engine:
        for walk in range(walks):
            engine.begin(seed + walk, immortal=True)
            native.begin(0)
            native.stand(engine.pose())
            # Nothing that shoots, and more of going than of turning.
            going = {"Basic": (0, 2, 2, 3, 3), "MyWayHome": (0, 1, 2, 3, 3, 3, 3, 4, 5)}.get(
                name, (0, *range(1, engine.actions), 1)
            )
            actions = _held_actions(rng, going, 6)
            worst = 0.0
            for _ in range(_WALK_TICS):
                action = next(actions)
                _, over = engine.step(action)
                if over:
                    break
                _leave_alone(native.state)
                native.step(action)
                x, y, _, height = engine.pose()
                here = native.state["player"][0] / FIXED
                apart.append(float(np.hypot(here[X] - x, here[Y] - y)))
                eyes.append(abs(float(here[EYES]) - height))
                worst = max(worst, apart[-1])
            exact += worst < 2 / FIXED
    return {
        "tics": len(apart),
        "mean": float(np.mean(apart)),
        "worst": float(np.max(apart)),
        "eyes_worst": float(np.max(eyes)),
        "exact_walks": exact / walks,
    }


def _leave_alone(state: State) -> None:
    """Takes away what could hurt or stop the native player."""
    if "imp_count" in state:
        state["imp_count"][:] = 0
        state["balls"][:] = 0
    if "health" in state:
        state["health"][:] = 100
    if "dressed" in state:
        state["dressed"][:] = False


def shots(walks: int, seed: int) -> dict[str, float]:
    """Whether single shots at the same demon are fired in the same tics and earn the same."""
    rng = np.random.default_rng(seed)
    native = _Native("Basic")
    alike = total = kills = 0
    with _Engine.of("Basic") as engine:
        for walk in range(walks):
            engine.begin(seed + walk)
            native.begin(0)
            native.state["demon"][0] = round(engine.things("Cacodemon")[0].position_y * FIXED)
            action, over = 0, False
            for tic in range(300):
                if tic % 24 == 0:  # long enough for the pistol to be ready again
                    action = 1
                elif tic % 24 == 1:
                    action = int(rng.choice((0, 2, 3)))
                reward, over = engine.step(action)
                native.step(action)
                total += 1
                alike += reward == native.reward[0] and over == native.terminated[0]
                kills += reward > 0
                if over:
                    break
    return {"tics": total, "alike": alike / total, "kills": kills}


def home(seed: int) -> dict[str, Any]:
    """Rewards and the end of the walk to the vest, from the spot before its corridor."""
    native = _Native("MyWayHome")
    with _Engine.of("MyWayHome") as engine:
        for episode in range(400):
            engine.begin(seed + episode)
            x, y, angle, _ = engine.pose()
            if abs(x - 1_039.328) < 1 and abs(y + 169.884) < 1:
                break
        native.begin(0)
        native.stand(engine.pose())
        rewards: list[tuple[float, float]] = []
        over = False
        while not over and len(rewards) < 300:
            away = (270 - angle + 180) % 360 - 180
            action = 3 if abs(away) < 4 else 5 if away > 0 else 4
            reward, over = engine.step(action)
            native.step(action)
            rewards.append((reward, float(native.reward[0])))
            angle = engine.pose()[2]
    sums = np.array(rewards)
    ended = over == bool(native.terminated[0])
    return {
        "steps": len(rewards),
        "native": float(sums[:, 1].sum()),
        "engine": float(sums[:, 0].sum()),
        "apart": float(np.abs(sums[:, 0] - sums[:, 1]).max()) if ended else float("inf"),
    }


# --- imps -----------------------------------------------------------------------------------------------------------


def imps_and_fireballs(episodes: int, seed: int) -> dict[str, Any]:
    """Flights of the engine's fireballs recomputed, and how often imps appear and throw in both."""
    flights = {"fireballs": 0, "same_end": 0.0, "worst": 0.0}
    first: list[int] = []
    between: list[int] = []
    crowd: list[int] = []
    with _Engine.of("TakeCover") as engine:
        for episode in range(episodes):
            record = _immortal_episode(engine, seed + episode, still=episode % 2 == 0)
            for key, value in _reflown(record).items():
                flights[key] = max(flights[key], value) if key == "worst" else flights[key] + value
            starts, gaps = _throws_of(record)
            first += starts
            between += gaps
            crowd.append(len(record[min(1_400, len(record) - 1)].imps))
    flights["same_end"] /= max(1, flights["fireballs"])
    return {"flights": flights, "engine": _habits(first, between, crowd), "native": _native_habits(seed)}


@dataclass
class _Moment:
    """What the engine shows of one tic: the player, y of each imp by its number, x, y and speeds of each fireball."""

    player: tuple[float, float]
    imps: dict[int, float]
    balls: dict[int, tuple[float, float, float, float]]


def _immortal_episode(engine: _Engine, seed: int, still: bool) -> list[_Moment]:
    actions = _held_actions(np.random.default_rng(seed), (0,) if still else (0, 1, 2), 8)
    engine.begin(seed, immortal=True)
    record = []
    for _ in range(2_100):
        record.append(
            _Moment(
                engine.pose()[:2],
                {imp.id: imp.position_y for imp in engine.things("DoomImp")},
                {
                    ball.id: (ball.position_x, ball.position_y, ball.velocity_x, ball.velocity_y)
                    for ball in engine.things("DoomImpBall")
                },
            )
        )
        engine.step(next(actions))
    return record


def _flights_of(record: list[_Moment]) -> Iterator[tuple[int, list[tuple[float, float, float, float]]]]:
    """When each fireball was first seen, and where it was in each tic from then on until it burst (at speed 0)."""
    flying: dict[int, tuple[int, list[tuple[float, float, float, float]]]] = {}
    for tic, moment in enumerate(record):
        for number, ball in moment.balls.items():
            moves = ball[2] != 0 or ball[3] != 0
            if number not in flying and moves:
                flying[number] = (tic, [ball])
            elif number in flying:
                flying[number][1].append(ball)
                if not moves:
                    yield flying.pop(number)
        for number in [number for number in flying if number not in moment.balls]:
            yield flying.pop(number)


def _thrower(record: list[_Moment], tic: int, ball: tuple[float, float, float, float]) -> int:
    """The imp from whose place a fireball came, a tic and a half ago."""
    y = ball[1] - 1.5 * ball[3]
    return min(record[tic].imps, key=lambda imp: abs(record[tic].imps[imp] - y))


def _reflown(record: list[_Moment]) -> dict[str, float]:
    """Lets each fireball fly by our rules, past the engine's player and imps."""
    walls = TakeCover.level.walls
    same = flown = 0
    worst = 0.0
    for tic, path in _flights_of(record):
        if path[-1][2] != 0:
            continue  # not seen to burst
        flown += 1
        thrower = round(record[tic].imps[_thrower(record, tic, path[0])] * FIXED)
        balls = np.zeros((1, imps.MOST_BALLS, 6), np.int64)
        balls[0, 0] = [*(round(value * FIXED) for value in path[0]), imps.FLYING, thrower]
        for later, seen in enumerate(path[1:], tic + 1):
            player, others = np.zeros((1, COLUMNS), np.int64), np.zeros((1, imps.MOST_IMPS, 6), np.int64)
            player[0, X], player[0, Y] = (round(value * FIXED) for value in record[later].player)
            places = list(record[later].imps.values())
            others[0, : len(places), 0] = [round(y * FIXED) for y in places]
            imps.fly(0, np.zeros(1, np.uint64), walls, player, others, np.array([len(places)]), balls)
            worst = max(worst, abs(balls[0, 0, 0] / FIXED - seen[0]), abs(balls[0, 0, 1] / FIXED - seen[1]))
            if balls[0, 0, 4] != imps.FLYING:
                same += later == tic + len(path) - 1
                break
    return {"fireballs": flown, "same_end": same, "worst": worst}


def _throws_of(record: list[_Moment]) -> tuple[list[int], list[int]]:
    """Tics between the engine's imps' appearances and their first fireballs, and between their fireballs."""
    born: dict[int, int] = {}
    for tic, moment in enumerate(record):
        for imp in moment.imps:
            born.setdefault(imp, tic)
    thrown: dict[int, list[int]] = {imp: [] for imp in born}
    for tic, path in _flights_of(record):
        thrown[_thrower(record, tic, path[0])].append(tic)
    first = [min(tics) - born[imp] for imp, tics in thrown.items() if tics]
    between = [int(gap) for tics in thrown.values() for gap in np.diff(sorted(tics))]
    return first, between


def _habits(first: list[int], between: list[int], crowd: list[int]) -> dict[str, float]:
    return {
        "interval": float(np.mean(between)),
        "interval_std": float(np.std(between)),
        "intervals": len(between),
        "least_interval": min(between),
        "first": float(np.mean(first)),
        "least_first": min(first),
        "imps_at_1400": float(np.mean(crowd)),
    }


def _native_habits(seed: int, rows: int = 64) -> dict[str, float]:
    native = _Native("TakeCover", rows)
    native.begin(seed)
    player = native.state["player"].copy()
    first: list[int] = []
    between: list[int] = []
    born, last = np.full((2, rows, imps.MOST_IMPS), -1)
    born[:, :3] = 0
    crowd = []
    for tic in range(1, 2_100):
        native.state["health"][:] = 100
        native.state["player"][:] = player
        native.step(0)
        stands = np.arange(imps.MOST_IMPS) < native.state["imp_count"][:, None]
        born[stands & (born < 0)] = tic
        doing, tics = native.state["imps"][:, :, 1], native.state["imps"][:, :, 2]
        for row, imp in np.argwhere(stands & (doing == imps.THROW) & (tics == imps.THROW_TICS)).tolist():
            (first if last[row, imp] < 0 else between).append(tic - (born if last[row, imp] < 0 else last)[row, imp])
            last[row, imp] = tic
        if tic == 1_400:
            crowd = native.state["imp_count"].tolist()
    return _habits([int(value) for value in first], [int(value) for value in between], crowd)


# --- statistics -----------------------------------------------------------------------------------------------------


def survival(policy: str, episodes: int, seed: int) -> dict[str, Any]:
    """Tics until death in Take Cover of one who does nothing ("noop") or anything, held for four tics ("random")."""
    return _played("TakeCover", (0,) if policy == "noop" else (0, 1, 2), episodes, seed)


def returns(name: str, episodes: int, seed: int) -> dict[str, Any]:
    """What a random agent earns in an episode, its actions held for four tics."""
    return _played(name, tuple(range(len(_TASKS[name].action_names))), episodes, seed)


def dodger(episodes: int, seed: int) -> dict[str, Any]:
    """Tics until death in Take Cover of somebody who sees 64 × 64 pictures only and steps aside from what burns."""
    cap = TakeCover().max_steps
    assert cap is not None
    native = _Native("TakeCover", episodes)
    native.begin(seed)
    shown = np.zeros((episodes, *native.task.observation_space.shape), np.uint8)  # type: ignore[misc]
    ours, alive = np.zeros(episodes), np.ones(episodes, bool)
    for tic in range(cap):
        if tic % _HELD == 0:
            native.task.observe(native.state, native.rows, shown)
            chosen = _dodge(shown)
        native.step(chosen)
        ours += alive
        alive &= ~native.terminated
        if not alive.any():
            break
    theirs = []
    with _Engine.of("TakeCover", things=False, seen=True) as engine:
        for episode in range(episodes):
            observation, _ = engine.env.reset(seed=seed + episode)
            over, tics = False, 0
            while not over and tics < cap:
                if tics % _HELD == 0:
                    action = int(_dodge(observation[None])[0])
                observation, _, over, _, _ = engine.env.step(action)
                tics += 1
            theirs.append(tics)
    return _compared(ours.tolist(), theirs)


def _dodge(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Away from the side of the middle on which more is yellow; along a wall that is in the way, the other way."""
    red, green, blue = (pictures[..., channel].astype(np.int64) for channel in range(3))
    burns = np.clip(red + green - 2 * blue - 100, 0, None).sum(1)
    middle = pictures.shape[2] // 2
    left, right = burns[:, :middle].sum(1), burns[:, middle:].sum(1)
    walls = (red - blue > 15).sum(1) > 28
    away = np.where(left > right, 1, 2)
    away = np.where(walls[:, 0] & (away == 2), 1, np.where(walls[:, -1] & (away == 1), 2, away))
    return np.where(left + right > 1_000, away, 0)


def _played(name: str, actions: Sequence[int], episodes: int, seed: int) -> dict[str, Any]:
    cap = _TASKS[name]().max_steps
    assert cap is not None
    native = _Native(name, _NATIVE_ROWS)
    native.begin(seed)
    rng = np.random.default_rng(seed)
    earned, alive = np.zeros(_NATIVE_ROWS), np.ones(_NATIVE_ROWS, bool)
    for tic in range(cap):
        if tic % _HELD == 0:
            chosen = rng.choice(actions, _NATIVE_ROWS)
        native.step(chosen)
        earned += native.reward * alive
        alive &= ~native.terminated
        if not alive.any():
            break
    engines = []
    with _Engine.of(name, things=False) as engine:
        for episode in range(episodes):
            engine.begin(seed + episode)
            held = _held_actions(rng, actions, _HELD)
            total = 0.0
            for _ in range(cap):
                reward, over = engine.step(next(held))
                total += reward
                if over:
                    break
            engines.append(total)
    return _compared(earned.tolist(), engines)


def _compared(native: Sequence[float], engine: Sequence[float]) -> dict[str, Any]:
    """Both, native over ViZDoom's mean, and how many standard errors of their difference they are apart."""
    ours, theirs = _summary(native), _summary(engine)
    error = float(np.hypot(ours["error"], theirs["error"]))
    return {
        "native": ours,
        "engine": theirs,
        "ratio": ours["mean"] / theirs["mean"],
        "errors_apart": abs(ours["mean"] - theirs["mean"]) / error if error > 0 else 0.0,
    }


def starts(episodes: int, seed: int) -> dict[str, Any]:
    """Where demons, medkits and players are at the beginning: mean, least and most along each axis."""
    places: dict[str, Any] = {}
    for name, thing in (("Basic", "Cacodemon"), ("HealthGathering", "Medikit"), ("MyWayHome", None)):
        found = []
        with _Engine.of(name) as engine:
            for episode in range(min(episodes, 100)):
                engine.begin(seed + episode)
                if thing is None:
                    found.append(engine.pose()[:2])
                else:
                    found += [(each.position_x, each.position_y) for each in engine.things(thing)]
        native = _Native(name, _NATIVE_ROWS)
        native.begin(seed)
        state = native.state
        if name == "Basic":
            ours = np.stack((np.zeros(_NATIVE_ROWS), state["demon"]), 1)
        elif name == "HealthGathering":
            ours = state["kits"][:, : int(state["kit_count"][0])].reshape(-1, 2)
        else:
            ours = state["player"][:, [X, Y]]
        places[name] = {
            backend: {
                "mean": values.mean(0).tolist(),
                "least": values.min(0).tolist(),
                "most": values.max(0).tolist(),
            }
            for backend, values in (("native", ours / FIXED), ("engine", np.array(found)))
        }
    return places


# --- pictures -------------------------------------------------------------------------------------------------------


def pictures(seed: int) -> dict[str, Any]:
    """The same moments in both: how far their 64 × 64 pictures are apart, and larger ones to look at."""
    rows: list[list[NDArray[np.uint8]]] = [[], []]
    apart = {}
    for name, tics, action in (("TakeCover", 130, 0), ("Basic", 8, 0), ("HealthGathering", 20, 2), ("MyWayHome", 4, 0)):
        native = _Native(name)
        with _Engine.of(name, seen=True) as engine:
            engine.begin(seed, immortal=True)
            for _ in range(tics):
                theirs = engine.env.step(action)[0]
            native.begin(0)
            native.stand(engine.pose())
            _copy_things(engine, native.state)
            rows[1].append(engine.env.render())
        ours = np.zeros((1, *theirs.shape), np.uint8)
        native.task.observe(native.state, native.rows, ours)
        rows[0].append(native.task.render(native.state, 0, 256))
        one, other = ours[0].astype(float), theirs.astype(float)
        apart[name] = {
            "mean_colour": float(np.abs(one.mean((0, 1)) - other.mean((0, 1))).max()),
            "pixels": float(np.abs(one - other).mean()),
        }
    return {"apart": apart, "rows": rows}


def _copy_things(engine: _Engine, state: State) -> None:
    """Puts imps, fireballs, the demon and medkits where the engine's are."""
    if "imps" in state:
        places = [round(imp.position_y * FIXED) for imp in engine.things("DoomImp")]
        state["imp_count"][0] = len(places)
        state["imps"][0, : len(places), 0] = places
        for number, ball in enumerate(engine.things("DoomImpBall")):
            state["balls"][0, number, :2] = round(ball.position_x * FIXED), round(ball.position_y * FIXED)
            state["balls"][0, number, 4] = imps.FLYING if ball.velocity_x else imps.PUFF_TICS
    if "demon" in state:
        state["demon"][0] = round(engine.things("Cacodemon")[0].position_y * FIXED)
    if "kits" in state:
        kits = [(round(kit.position_x * FIXED), round(kit.position_y * FIXED)) for kit in engine.things("Medikit")]
        state["kit_count"][0] = len(kits)
        state["kits"][0, : len(kits)] = kits
