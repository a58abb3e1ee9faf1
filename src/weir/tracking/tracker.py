"""Tracker interface of a stage: all that it may say about its run, and nothing of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Tracker(Protocol):
    """Record of one run. No method blocks on a server, and none raises."""

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, or `token:...`; None if tracking is off."""
        ...

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; nested mappings become dotted names (`stage1.width`)."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record scores of one step; NaN and infinity are kept as they are."""
        ...

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Record a file. It is copied at once, or only pointed to if large (weights)."""
        ...

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a matplotlib figure under a path such as `figures/fan.png`."""
        ...

    def log_dataset(self, name: str, digest: str, source: str, role: str = "training") -> None:
        """Record which data was read: its DVC md5 and where it comes from."""
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts by which runs are found."""
        ...

    def propose_champion(
        self,
        dataset: str,
        folder: Path,
        metric: str,
        value: float,
        *,
        higher_is_better: bool = False,
    ) -> None:
        """Propose a model folder as champion of its dataset; it is taken if its score is best."""
        ...


class NullTracker:
    """Records nothing: tracking is off, or this process is not the first of its run."""

    run_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def close(self, status: str = "FINISHED") -> None:
        """End nothing."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Forget settings."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Forget scores."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Forget a file."""

    def log_figure(self, figure: Figure, path: str) -> None:
        """Forget a figure."""

    def log_dataset(self, name: str, digest: str, source: str, role: str = "training") -> None:
        """Forget what was read."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Forget tags."""

    def propose_champion(
        self,
        dataset: str,
        folder: Path,
        metric: str,
        value: float,
        *,
        higher_is_better: bool = False,
    ) -> None:
        """Forget a candidate."""
