"""The one training loop, shared by every model of every task.

    result = train(objective, data, validation, settings, seed=0, checkpoints=folder)

A step depends on nothing but (weights, seed, step): `order` gives its items, the global generator
is seeded from (seed, step, rank), and the state that is saved is complete. So a run killed at any
moment and started again ends with the same bytes as one never killed, on the same machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from weir.errors import UserError
from weir.progress import Progress
from weir.settings.training import Training
from weir.signals import Interrupted, StopSignals
from weir.training.checkpoints import Kind, checkpoint_file
from weir.training.devices import deterministic, open_fabric
from weir.training.distributed import PeerLost, is_parting
from weir.training.objective import DataSet, Objective
from weir.training.order import mix, seed_draws
from weir.training.resume import Store
from weir.training.state import Means, TrainingProgress, weights
from weir.training.stepper import FailedStep, NonFinite, Stepper, listing
from weir.training.validation import Abandoned, validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Log = Callable[[dict[str, float], int], None]

_LOG_POINTS = 200
"""Entries of the logged training curve."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training has come to; `objective.model` holds the selected weights.

    Attributes:
        history: one entry per validation: `step`, `learning_rate`, `train/<loss>` (mean over the
            steps since the entry before) and `validation/<loss>`.
        best_step: steps after which the selected weights were reached.
        steps: steps done.
        seconds: spent, over all processes that have worked on it.
        stopped_early: whether patience ran out.
        resumed_from: step at which this process took over, None if it began.
    """

    history: list[dict[str, int | float]]
    best_step: int
    steps: int
    seconds: float
    stopped_early: bool
    resumed_from: int | None


def train(
    objective: Objective,
    data: DataSet,
    validation: DataSet | None,
    settings: Training,
    *,
    seed: int,
    checkpoints: Path,
    log: Log | None = None,
    label: str = "training",
) -> TrainingResult:
    """Train `objective`, or finish a training that was begun in `checkpoints`.

    Afterwards the objective is on the device it came from, in evaluation mode, and holds the best
    weights by `settings.monitor` on `validation` (averaged ones with `settings.ema`), without
    validation the last ones. A finished training is not repeated until the caller, having
    written its artifact, removes the folder `checkpoints`.

    Args:
        objective: model and loss. Networks that come frozen and in evaluation mode stay in it.
        data: training items; they are moved to the device whole.
        validation: items for selection and early stopping.
        settings: the `training:` block.
        seed: of data order and draws; the caller seeds the weights' initialisation.
        checkpoints: folder that belongs to this training alone, keyed by its fingerprint.
        log: receives named values and the step, about 200 times and per validation.
        label: what the progress display and messages call it.

    Raises:
        Interrupted: on SIGTERM, SIGUSR1 or SIGINT, after saving `interrupted`.
        NonFinite: a loss or gradient is NaN or infinite, after saving `error`.
        UserError: settings that cannot be met here.
        WeirError: a checkpoint cannot be written.
    """
    if settings.patience is not None and validation is None:
        raise UserError("training.patience: stopping early needs validation data; set it to null")
    home = next(objective.parameters()).device
    fabric = open_fabric(settings.precision)
    threads = torch.get_num_threads()
    try:
        with deterministic(), StopSignals() as signals:
            stepper = Stepper(objective, data, settings, seed, fabric)
            run = _Run(stepper, validation, checkpoints, log, label, signals)
            result = run.finished() or run.to_the_end()
            if signals.received is not None and fabric.is_global_zero:
                raise Interrupted(
                    f"{label}: {signals.received} after the last step; trained and saved, run it "
                    "again to go on from there"
                )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{label}: out of GPU memory with batches of {settings.batch_size} in "
            f"{settings.accumulate} parts; raise training.accumulate"
        ) from error
    except RuntimeError as error:
        if fabric.world_size > 1 and is_parting(error):
            raise PeerLost(
                f"{label}: another of its {fabric.world_size} processes has ended; run it again to "
                "resume from the last checkpoint"
            ) from error
        raise
    finally:
        torch.set_num_threads(threads)
    objective.to(home).eval()
    # What the caller draws next must not depend on whether this process trained or resumed.
    seed_draws(mix(seed, settings.steps, -1), fabric.device)
    return result


class _Run:
    """One process's work on a training."""

    def __init__(
        self,
        stepper: Stepper,
        validation: DataSet | None,
        folder: Path,
        log: Log | None,
        label: str,
        signals: StopSignals,
    ) -> None:
        self.stepper = stepper
        self.objective: Objective = stepper.objective
        self.settings: Training = stepper.settings
        self.fabric: Fabric = stepper.fabric
        self.validation = None if validation is None else validation.to(stepper.device)
        self.store = Store(folder, stepper, label)
        self.label, self.signals = label, signals
        self.log: Log = log if log and self.fabric.is_global_zero else _log_nowhere
        self.log_every = max(1, self.settings.steps // _LOG_POINTS)
        self.standing = TrainingProgress()
        self.since_log = Means()
        self.best: dict[str, Tensor] | None = None
        self.clock = time.monotonic()

    def finished(self) -> TrainingResult | None:
        """The result of a training that came to its end before, if there is one."""
        standing = self.store.finished()
        if standing is None:
            return None
        self.standing = standing
        return self._result(standing.step)

    def to_the_end(self) -> TrainingResult:
        """Begin or resume, and train until the last step or until patience runs out."""
        resumed = self.store.resume()
        if resumed is not None:
            self.standing, self.best = resumed
        resumed_from = None if resumed is None else self.standing.step
        standing, stepper = self.standing, self.stepper
        stream = sys.stderr if self.fabric.is_global_zero else None
        self.progress = Progress(self.label, self.settings.steps, standing.step, stream=stream)
        stepper.train_mode()
        try:
            while True:
                if self._entry_due():
                    self._add_entry()
                if standing.step >= self.settings.steps or self._patience_ran_out():
                    break
                try:
                    stepper.step(standing.step)
                except FailedStep as failure:
                    self._fail(failure)
                stop = stepper.agree(self.signals.received is not None)
                standing.step += 1
                saving = standing.step % self.settings.checkpoint_every == 0
                if saving or self._entry_due() or standing.step % stepper.fetch_every == 0:
                    self._fetch()
                if stop:
                    self._interrupt()
                if saving:
                    self._save("last")
        except Abandoned:
            self._interrupt()
        finally:
            self.progress.close()
        return self._finish(resumed_from)

    def _entry_due(self) -> bool:
        step, history = self.standing.step, self.standing.history
        on_time = step % self.settings.validate_every == 0 or step == self.settings.steps
        return step > 0 and on_time and not (history and history[-1]["step"] == step)

    def _patience_ran_out(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.standing.stale >= patience

    def _asked_to_stop(self) -> bool:
        """Whether a signal has come to any process."""
        return self.stepper.exchange.any([self.signals.received is not None])[0]

    def _fetch(self) -> None:
        """Bring the losses of the last steps to the host, count, log and show them."""
        try:
            for index, losses in self.stepper.fetch():
                norm = losses.pop("gradient_norm")
                self.standing.means.add(losses)
                self.since_log.add(losses)
                step = index + 1
                if step % self.log_every == 0:
                    values = {f"train/{k}": v for k, v in self.since_log.take().items()}
                    values["learning_rate"] = self.stepper.learning_rate(index)
                    values["gradient_norm"] = norm
                    self.log(values, step)
                self.progress.update(step, losses["loss"])
        except FailedStep as failure:
            self._fail(failure)

    def _add_entry(self) -> None:
        """Validate, select and add to the history."""
        standing = self.standing
        values: dict[str, float] = {}
        if self.validation is not None:
            average = self.stepper.average
            try:
                with nullcontext() if average is None else average.applied():
                    values = self._validate(self.validation)
                    self._select(values)
            except NonFinite as error:
                self._save("error")
                raise NonFinite(f"{self.label}: step {standing.step}: {error}") from None
        entry = {"learning_rate": self.stepper.learning_rate(standing.step - 1)}
        entry |= {f"train/{name}": value for name, value in standing.means.take().items()}
        entry |= {f"validation/{name}": value for name, value in values.items()}
        standing.history.append({"step": standing.step, **entry})
        self.log({name: value for name, value in entry.items() if "/" in name}, standing.step)

    def _select(self, values: dict[str, float]) -> None:
        """Keep the present weights if they are the best so far."""
        standing, name = self.standing, self.settings.monitor
        monitored = -values[name] if name in self.objective.increasing else values[name]
        if standing.best_value is None or monitored < standing.best_value:
            standing.best_step, standing.best_value = standing.step, monitored
            standing.stale = 0
            self.best = weights(self.objective)
        else:
            standing.stale += 1

    def _validate(self, data: DataSet) -> dict[str, float]:
        settings = self.settings
        at_once = -(-settings.batch_size // settings.accumulate)
        self.objective.eval()
        try:
            values = validate(
                self.stepper.called,
                data,
                at_once,
                self.stepper.seed,
                self.fabric,
                self._asked_to_stop,
            )
        finally:
            self.stepper.train_mode()
        if settings.monitor not in values:
            raise UserError(
                f"training.monitor {settings.monitor}: there is no such validation value; "
                f"choose one of {', '.join(values)}"
            )
        return values

    def _interrupt(self) -> NoReturn:
        self._fetch()
        self._save("interrupted")
        self.fabric.barrier()
        if not self.fabric.is_global_zero:
            raise SystemExit(0)
        raise Interrupted(
            f"{self.label}: {self.signals.received or 'asked to stop'} at step "
            f"{self.standing.step} of {self.settings.steps}; saved, run it again to resume"
        )

    def _fail(self, failure: FailedStep) -> NoReturn:
        """Save the state from before the failed step and say what went wrong in it."""
        self.standing.step = failure.step
        self._save("error")
        if not self.fabric.is_global_zero:
            raise SystemExit(0)  # the main process has the message, and must live to give it
        items = self.stepper.items(failure.step)
        cause = self.stepper.explain(failure.step) or f"values: {listing(failure.names)}"
        path = checkpoint_file(self.store.folder, "error")
        raise NonFinite(
            f"{self.label}: step {failure.step + 1} is not finite; {cause}; "
            f"batch of items {listing(items)}; the state before it is in {path}"
        )

    def _finish(self, resumed_from: int | None) -> TrainingResult:
        """Put the selected weights in place and leave them for a caller that is killed."""
        if self.best is not None:
            self.objective.load_state_dict(self.best)
        elif self.stepper.average is not None:
            self.stepper.average.apply()
        self._count_seconds()
        self.store.finish(self.standing)
        return self._result(resumed_from)

    def _result(self, resumed_from: int | None) -> TrainingResult:
        standing = self.standing
        return TrainingResult(
            history=standing.history,
            best_step=standing.step if standing.best_step is None else standing.best_step,
            steps=standing.step,
            seconds=standing.seconds,
            stopped_early=standing.step < self.settings.steps,
            resumed_from=resumed_from,
        )

    def _save(self, kind: Kind) -> None:
        self._count_seconds()
        self.store.save(kind, self.standing, self.best)

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.standing.seconds += now - self.clock
        self.clock = now


def _log_nowhere(values: dict[str, float], step: int) -> None:
    """Where nobody listens."""
