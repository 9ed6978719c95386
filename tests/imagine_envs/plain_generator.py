"""The generator of Sokoban levels once more, with sets and tuples: what the kernel is compared with, to the bit."""

from __future__ import annotations

from reference_random import ReferenceRandom

Cell = tuple[int, int]
WAYS = ((-1, 0), (1, 0), (0, -1), (0, 1))
MASKS = ("000/111/000", "010/010/010", "000/110/010", "000/110/110", "000/011/010")


def beside(cell: Cell, way: int) -> Cell:
    return cell[0] + WAYS[way][0], cell[1] + WAYS[way][1]


def dig(random: ReferenceRandom, height: int, width: int) -> set[Cell]:
    """The floor cells of a room."""
    floor: set[Cell] = set()
    y, x = 1 + random.below(height - 2), 1 + random.below(width - 2)
    way = random.below(4)
    for _ in range(int(1.5 * (height + width))):
        if random.uniform() < 0.35:
            way = random.below(4)
        y, x = beside((y, x), way)
        y, x = min(max(y, 1), height - 2), min(max(x, 1), width - 2)
        mask = MASKS[random.below(5)].split("/")
        floor |= {(y + v - 1, x + u - 1) for v in range(3) for u in range(3) if mask[v][u] == "1"}
    return {(v, u) for v, u in floor if 0 < v < height - 1 and 0 < u < width - 1}


def draw(random: ReferenceRandom, items: list, count: int) -> list:
    """The first so many of a list that is being shuffled."""
    for place in range(min(count, len(items) - 1)):
        other = place + random.below(len(items) - place)
        items[place], items[other] = items[other], items[place]
    return items[:count]


def play_back(
    floor: set[Cell], targets: list[Cell], start: Cell, order: list[int], states: int, depth: int
) -> tuple[int, int, tuple[Cell, ...], Cell, list[int]]:
    """Best score, its swaps, its boxes (each in the place of its target), its player, and the way there."""
    best = (0, 0, tuple(targets), start, [])
    visited = {(frozenset(targets), start)}

    def visit(boxes: tuple[Cell, ...], player: Cell, last: int, swaps: int, path: list[int]) -> None:
        nonlocal best
        for pulls in (True, False):
            for way in order:
                if len(visited) >= states or len(path) == depth:
                    return
                to, behind = beside(player, way), beside(player, way ^ 1)
                if to not in floor or to in boxes:
                    continue
                after, after_last, after_swaps = boxes, last, swaps
                if pulls and behind in boxes:
                    box = boxes.index(behind)
                    after = (*boxes[:box], player, *boxes[box + 1 :])
                    after_last, after_swaps = box, swaps + (box != last)
                if (frozenset(after), to) in visited:
                    continue
                visited.add((frozenset(after), to))
                far = sum(abs(b[0] - t[0]) + abs(b[1] - t[1]) for b, t in zip(after, targets, strict=True))
                score = 0 if {*after, to} & set(targets) else after_swaps * far
                if score > best[0]:
                    best = (score, after_swaps, after, to, [*path, way])
                visit(after, to, after_last, after_swaps, [*path, way])

    visit(tuple(targets), start, -1, 0, [])
    return best


def make(
    seed: int, height: int, width: int, count: int, states: int, depth: int, topologies: int, placements: int
) -> tuple[list[str], list[int], int, int]:
    """Rows, the way back, score and swaps of one attempt."""
    random = ReferenceRandom(0)
    random.state = seed
    best_score, best_swaps, rows, best_path = 0, 0, [], []
    for _ in range(topologies):
        floor = dig(random, height, width)
        if len(floor) < 2 * count + 1:
            continue
        for _ in range(placements):
            order = draw(random, [0, 1, 2, 3], 4)
            start, *targets = draw(random, sorted(floor), count + 1)
            score, swaps, boxes, player, path = play_back(floor, targets, start, order, states, depth)
            if score > best_score:
                best_score, best_swaps, best_path = score, swaps, path
                symbol = dict.fromkeys(floor, " ") | dict.fromkeys(targets, ".")
                symbol |= dict.fromkeys(boxes, "$") | {player: "@"}
                rows = ["".join(symbol.get((y, x), "#") for x in range(width)) for y in range(height)]
    return rows, best_path, best_score, best_swaps
