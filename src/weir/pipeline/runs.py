"""Runs: the nodes of params.yaml, expanded by the folds of their dataset and by the seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from weir.pipeline.params.graph import Node, Params


@dataclass(frozen=True)
class Run:
    """A node with one of its folds and seeds: one job of each stage of its section.

    Attributes:
        key: name of the run in its section: the node's name, `-f<fold>` where its dataset has
            several held-out groups, and `-s<seed>` where it is seeded.
        seed: its seed; 0 if unseeded.
        upstream: the runs it is built on, as `section/key`.
        fold: index of its held-out group; None where there are not several.
    """

    node: Node
    key: str
    seed: int
    upstream: tuple[str, ...]
    fold: int | None = None

    @property
    def ref(self) -> str:
        """`section/key`."""
        return f"{self.node.section}/{self.key}"


def runs(params: Params) -> dict[str, Run]:
    """Every run by `section/key`, upstream first. A run is built on runs of its fold and seed."""
    found: dict[str, Run] = {}
    for node in params.nodes.values():
        above = [params.nodes[ref] for ref in node.upstream]
        for fold, seed in _repeats(params, node):
            if node.section == "report":
                upstream = [
                    f"{item.section}/{run_key(item, *each)}"
                    for item in above
                    for each in _repeats(params, item)
                ]
            else:
                upstream = [f"{item.section}/{run_key(item, fold, seed)}" for item in above]
            key = run_key(node, fold, seed)
            run = Run(node, key, seed if node.seeded else 0, tuple(upstream), fold)
            found[run.ref] = run
    return found


def run_key(node: Node, fold: int | None, seed: int) -> str:
    """Name of a run in its section."""
    folded = f"-f{fold}" if node.folds else ""
    seeded = f"-s{seed}" if node.seeded else ""
    return f"{node.name}{folded}{seeded}"


def _repeats(params: Params, node: Node) -> Iterator[tuple[int | None, int]]:
    """The folds and seeds of a node."""
    return product(
        range(len(node.folds)) if node.folds else (None,),
        params.seeds if node.seeded else params.seeds[:1],
    )
