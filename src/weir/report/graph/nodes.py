"""The plan of a pipeline as the report draws it: nodes of sections, seeds folded together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weir.errors import WeirError


@dataclass(frozen=True, order=True)
class PlanNode:
    """A node with all its seeds; an unseeded node has none."""

    section: str
    name: str
    seeds: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.section}/{self.name}"


@dataclass(frozen=True)
class PlanGraph:
    """Nodes and edges (from, to) by node id; ordered, so that the same plan draws the same."""

    nodes: tuple[PlanNode, ...]
    edges: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> PlanGraph:
        """Fold `{nodes: [{id, section, name, seed}], edges: [[id, id]]}` over seeds.

        Raises:
            WeirError: an edge names no node, or the plan runs in a circle.
        """
        folded: dict[str, str] = {}
        seeds: dict[tuple[str, str], set[int]] = {}
        for node in document["nodes"]:
            key = (node["section"], node["name"])
            folded[node["id"]] = f"{key[0]}/{key[1]}"
            seeds.setdefault(key, set())
            if node.get("seed") is not None:
                seeds[key].add(node["seed"])
        edges: dict[tuple[str, str], None] = {}
        for source, target in document["edges"]:
            for end in (source, target):
                if end not in folded:
                    raise WeirError(f"bad plan: an edge names {end!r}, which is not a node")
            edges.setdefault((folded[source], folded[target]))
        nodes = tuple(PlanNode(*key, tuple(sorted(found))) for key, found in seeds.items())
        graph = cls(nodes, tuple(edges))
        depths([node.id for node in nodes], graph.edges)
        return graph

    def parents(self, node: str) -> list[str]:
        return [source for source, target in self.edges if target == node]

    def ancestors(self, node: str) -> set[str]:
        """Every node that `node` is built on, itself excluded."""
        found: set[str] = set()
        waiting = self.parents(node)
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self.parents(current)
        return found

    def nearest_parents(self, node: str) -> list[str]:
        """Parents that no other parent is built on: a model, but not the data it was trained on."""
        parents = self.parents(node)
        implied = set().union(*(self.ancestors(parent) for parent in parents))
        return [parent for parent in parents if parent not in implied]

    def reduced(self) -> PlanGraph:
        """The same plan without the edges that a longer path implies."""
        kept = {
            (parent, node.id) for node in self.nodes for parent in self.nearest_parents(node.id)
        }
        return PlanGraph(self.nodes, tuple(edge for edge in self.edges if edge in kept))


def depths(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Length of the longest path that ends in each node.

    Raises:
        WeirError: the edges form a circle.
    """
    below: dict[str, list[str]] = {node: [] for node in nodes}
    waits = dict.fromkeys(below, 0)
    for source, target in edges:
        below[source].append(target)
        waits[target] += 1
    depth = dict.fromkeys(below, 0)
    ready = [node for node, count in waits.items() if count == 0]
    for node in ready:  # grows while it is walked
        for target in below[node]:
            depth[target] = max(depth[target], depth[node] + 1)
            waits[target] -= 1
            if waits[target] == 0:
                ready.append(target)
    if len(ready) < len(below):
        circle = sorted(node for node, count in waits.items() if count > 0)
        raise WeirError(f"bad plan: it runs in a circle through {', '.join(circle)}")
    return depth
