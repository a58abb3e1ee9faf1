"""The checkpoints of one training: what is written when, and what is taken up again."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weir.errors import UserError
from weir.training.checkpoints import (
    DamagedCheckpoint,
    Kind,
    checkpoint_file,
    read_checkpoint,
    write_checkpoint,
)
from weir.training.state import (
    TrainingProgress,
    capture,
    furthest,
    require_same,
    require_same_machine,
    restore,
    section,
    standing_of,
    weights,
)
from weir.training.stepper import NonFinite, Stepper, is_finite, listing

_log = logging.getLogger(__name__)


class Store:
    """Reads on every process, writes on the main one.

    Args:
        folder: of this training alone.
        stepper: whose weights, optimizer and average are saved and restored.
        label: what messages call the training.
    """

    def __init__(self, folder: Path, stepper: Stepper, label: str) -> None:
        self.folder, self.label = folder, label
        self._stepper, self._objective = stepper, stepper.objective
        self._precision = stepper.fabric.strategy.precision
        self._best_written: int | None = None
        self._identity = {
            "seed": stepper.seed,
            "settings": stepper.settings.model_dump(mode="json"),
            "weights": {n: list(t.shape) for n, t in self._objective.state_dict().items()},
        }

    def finished(self) -> TrainingProgress | None:
        """Put the result of a training that came to its end before in place, if there is one."""
        path = checkpoint_file(self.folder, "finished")
        found: tuple[dict[str, Tensor], dict[str, Any], Kind] | None = None
        if self._stepper.fabric.is_global_zero and path.exists():
            try:
                found = *read_checkpoint(path), "finished"
            except DamagedCheckpoint as error:
                _log.warning("%s; it is passed over", error)
        found = self._as_main(found)
        if found is None:
            return None
        tensors, record, _kind = found
        require_same(record, self._identity, path)
        self._objective.load_state_dict(section(tensors, "objective"))
        return standing_of(record)

    def resume(self) -> tuple[TrainingProgress, dict[str, Tensor] | None] | None:
        """Put the furthest state in place; returns its numbers and the best weights so far.

        Raises:
            UserError: the folder belongs to another training.
        """
        found = self._as_main(
            furthest(self.folder) if self._stepper.fabric.is_global_zero else None
        )
        if found is None:
            return None
        tensors, record, kind = found
        require_same(record, self._identity, checkpoint_file(self.folder, kind))
        require_same_machine(record, self._environment())
        standing = standing_of(record)
        has_best = standing.best_step is not None
        stepper = self._stepper
        best = restore(tensors, self._objective, stepper.optimizer, stepper.average, has_best)
        if record["scaler"]:
            self._precision.load_state_dict(record["scaler"])
        return standing, best

    def _as_main(
        self, found: tuple[dict[str, Tensor], dict[str, Any], Kind] | None
    ) -> tuple[dict[str, Tensor], dict[str, Any], Kind] | None:
        """The checkpoint that the main process has found, read by every process.

        Raises:
            UserError: another process does not see it.
        """
        exchange = self._stepper.exchange
        told = None if found is None else (found[2], found[1]["standing"]["step"])
        told = exchange.of_main(told)
        seen = True
        if told is not None and found is None:
            path = checkpoint_file(self.folder, told[0])
            try:
                tensors, record = read_checkpoint(path)
                seen = record["standing"]["step"] == told[1]
                found = tensors, record, told[0]
            except DamagedCheckpoint:
                seen = False
        if exchange.any([not seen])[0]:
            raise UserError(
                f"{self.folder}: is not the same folder on all nodes; the repository must lie on a "
                "file system that they share"
            )
        return found

    def save(self, kind: Kind, standing: TrainingProgress, best: dict[str, Tensor] | None) -> None:
        """Write a checkpoint; only `error` may hold weights that are not finite.

        Raises:
            NonFinite: they are not; `error` has been written instead.
            WeirError: the file cannot be written; the one before is intact.
        """
        if not self._stepper.fabric.is_global_zero:
            return
        stepper = self._stepper
        tensors = capture(self._objective, stepper.optimizer, stepper.average, best)
        record = {
            "standing": asdict(standing),
            "identity": self._identity,
            "environment": self._environment(),
            "scaler": self._precision.state_dict(),
        }
        trained = [n for n, p in self._objective.named_parameters() if p.requires_grad]
        bad = [name for name in trained if not is_finite(tensors[f"objective.{name}"])]
        if bad and kind != "error":
            write_checkpoint(checkpoint_file(self.folder, "error"), tensors, record)
            raise NonFinite(
                f"{self.label}: weights {listing(bad)} are not finite after step {standing.step}"
            )
        if best is not None and self._best_written != standing.best_step:
            selected = {f"objective.{name}": value for name, value in best.items()}
            write_checkpoint(checkpoint_file(self.folder, "best"), selected, record)
            self._best_written = standing.best_step
        write_checkpoint(checkpoint_file(self.folder, kind), tensors, record)
        if kind == "last":
            checkpoint_file(self.folder, "interrupted").unlink(missing_ok=True)

    def finish(self, standing: TrainingProgress) -> None:
        """Keep the selected weights, now the objective's, for a caller that is killed."""
        if self._stepper.fabric.is_global_zero:
            selected = {f"objective.{n}": t for n, t in weights(self._objective).items()}
            record = {"standing": asdict(standing), "identity": self._identity}
            write_checkpoint(checkpoint_file(self.folder, "finished"), selected, record)
            for kind in ("last", "interrupted", "error"):
                checkpoint_file(self.folder, kind).unlink(missing_ok=True)
        self._stepper.fabric.barrier()

    def _environment(self) -> dict[str, Any]:
        device = self._stepper.device
        cuda = device.type == "cuda"
        return {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if cuda else device.type,
            "processes": self._stepper.fabric.world_size,
        }
