"""Layered drawing of a directed graph (Sugiyama, Tagawa & Toda 1981), for tens of nodes.

Layers are columns. An edge that skips columns runs through bends, one per column, shared by all
edges of one source. Rows are ordered by barycentres, the order with the fewest crossings
wins, and heights then relax towards those of their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 24
BEND = 9.0
"""Height kept free for an edge where it passes a column, in pixels."""


@dataclass(frozen=True)
class Layout:
    """Height of the centre of each node, and of the points that each edge passes between."""

    heights: Mapping[str, float]
    bends: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]
    extent: float


def arrange(
    columns: Mapping[str, int],
    edges: Sequence[tuple[str, str]],
    height: Callable[[str], float],
    groups: Mapping[str, tuple[int, int]],
) -> Layout:
    """Place nodes of given columns; `height` includes the gap to the next node.

    A group is (band, rank). Bands are strips that the whole drawing keeps apart, bends included;
    within a band, nodes of one column stand in order of their ranks.
    """
    graph = _Layers(columns, edges, groups)
    graph.untangle()
    centres = graph.relax(lambda item: BEND if isinstance(item, tuple) else height(item))
    top = min(
        centres[item] - (BEND if isinstance(item, tuple) else height(item)) / 2 for item in centres
    )
    centres = {item: centre - top for item, centre in centres.items()}
    extent = max(
        centres[item] + (BEND if isinstance(item, tuple) else height(item)) / 2 for item in centres
    )
    bends = {
        (source, target): tuple(
            (column, centres[source, column])
            for column in range(columns[source] + 1, columns[target])
        )
        for source, target in edges
    }
    heights = {item: centre for item, centre in centres.items() if isinstance(item, str)}
    return Layout(heights, bends, extent)


Item = str | tuple[str, int]
"""A node, or the bend of edges from a node in a column."""


class _Layers:
    def __init__(
        self,
        columns: Mapping[str, int],
        edges: Sequence[tuple[str, str]],
        groups: Mapping[str, tuple[int, int]],
    ) -> None:
        self.rows: list[list[Item]] = [[] for _ in range(max(columns.values()) + 1)]
        self.before: dict[Item, list[Item]] = {}
        self.after: dict[Item, list[Item]] = {}
        self.groups = groups
        for node, column in columns.items():
            self._add(node, column)
        for source, target in edges:
            end: Item = source
            for column in range(columns[source] + 1, columns[target]):
                bend = (source, column)
                if bend not in self.before:
                    self._add(bend, column)
                    self._join(end, bend)
                end = bend
            self._join(end, target)
        for row in self.rows:
            row.sort(key=self._group)

    def _add(self, item: Item, column: int) -> None:
        self.rows[column].append(item)
        self.before[item], self.after[item] = [], []

    def _join(self, source: Item, target: Item) -> None:
        self.after[source].append(target)
        self.before[target].append(source)

    def _group(self, item: Item) -> tuple[int, int]:
        return self.groups[item] if isinstance(item, str) else (self._band(item), 1_000)

    def _band(self, item: Item) -> int:
        return self.groups[item if isinstance(item, str) else item[0]][0]

    def untangle(self) -> None:
        """Order the rows so that few edges cross."""
        kept, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(SWEEPS):
            forward = sweep % 2 == 0
            rows = self.rows[1:] if forward else self.rows[-2::-1]
            sides = self.before if forward else self.after
            for row in rows:
                place = {item: n for other in self.rows for n, item in enumerate(other)}
                row.sort(key=lambda item: self._barycentre(item, sides, place))
                row.sort(key=self._group if sweep % 4 < 2 else self._band)
            crossings = self._crossings()
            if crossings < fewest and self._together():
                kept, fewest = [list(row) for row in self.rows], crossings
        self.rows = kept

    @staticmethod
    def _barycentre(
        item: Item, sides: Mapping[Item, list[Item]], place: Mapping[Item, int]
    ) -> float:
        beside = sides[item]
        return sum(place[other] for other in beside) / len(beside) if beside else place[item]

    def _together(self) -> bool:
        """Whether ranks rise along every column; bends may pass anywhere in their band."""
        for row in self.rows:
            groups = [self._group(item) for item in row if isinstance(item, str)]
            if groups != sorted(groups):
                return False
        return True

    def _crossings(self) -> int:
        total = 0
        for left, right in zip(self.rows, self.rows[1:], strict=False):
            place = {item: n for n, item in enumerate(right)}
            ends = [sorted(place[item] for item in self.after[source]) for source in left]
            # A pair of edges crosses where the later source has the earlier target.
            flat = [target for targets in ends for target in targets]
            total += sum(a > b for n, a in enumerate(flat) for b in flat[n + 1 :])
        return total

    def relax(self, height: Callable[[Item], float]) -> dict[Item, float]:
        """Centres that keep the order and the gaps, drawn towards their neighbours' centres."""
        centres: dict[Item, float] = {}
        for row in self.rows:
            total = sum(height(item) for item in row)
            cursor = -total / 2
            for item in row:
                centres[item] = cursor + height(item) / 2
                cursor += height(item)
        for sweep in range(SWEEPS):
            sides = self.before if sweep % 2 == 0 else self.after
            rows = self.rows if sweep % 2 == 0 else self.rows[::-1]
            for row in rows:
                wanted = []
                for item in row:
                    beside = sides[item]
                    pull = sum(centres[other] for other in beside) / len(beside) if beside else None
                    wanted.append(centres[item] if pull is None else pull)
                placed = _apart(wanted, [height(item) for item in row])
                centres.update(zip(row, placed, strict=True))
        return centres


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """The centres nearest to `wanted` (least squares) that keep order and do not overlap.

    Subtracting each item's offset in the packed column leaves a monotone regression, solved by
    pooling adjacent violators.
    """
    offsets, cursor = [], 0.0
    for size in heights:
        offsets.append(cursor + size / 2)
        cursor += size
    blocks: list[tuple[float, int]] = []  # (mean, count)
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            earlier, size = blocks.pop()
            mean = (mean * count + earlier * size) / (count + size)
            count += size
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]
