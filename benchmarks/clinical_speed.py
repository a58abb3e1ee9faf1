"""Patients and events per second of a training step of SeqSetVAE, form by form.

    nice python benchmarks/clinical_speed.py [pooling packed padded loop] [--batch 1 4 16 64 128]
    nice python benchmarks/clinical_speed.py --data results/processed/physionet-f0

Records are made up like intensive-care stays: 75 sets of 5.8 events on average, 37 codes. `loop`,
`padded` and `packed` are one model, self-attention among the events of each set and among the sets
of each record, whose losses are compared first; `pooling` adds a set's events up by attention
weights and carries the state with a GRU. A step is gathering the batch, losses (reconstruction,
divergence, outcome) and gradients, on one thread. `processor` leaves out what others take of a
busy machine. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from weir.tasks.clinical.data.load import load
from weir.tasks.clinical.data.records import EventStore, RecordSet, RecordTable
from weir.tasks.clinical.representation import sequence, set_encoder
from weir.tasks.clinical.representation.ragged import Apply, apply_by_group, places
from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
from weir.tasks.clinical.representation.stage1 import Stage1Objective, objective
from weir.tasks.clinical.settings.models import ClinicalStage1

RECORDS, SETS, CODES, STATICS, HOURS = 1024, 75, 37, 8, 48.0

SIZES = (0.07, 0.04, 0.06, 0.09, 0.175, 0.206, 0.146, 0.09, 0.05, 0.03, 0.02, 0.01, 0.01)
"""Shares of sets of 1, 2, ... events."""

NETWORKS = {
    "pooling": {"set_encoder": "pooling", "sequence": "gru"},
    **{
        form: {"set_encoder": "attention", "sequence": "transformer"}
        for form in ("packed", "padded", "loop")
    },
}


def loop(tokens: Tensor, owner: Tensor, owners: int, apply: Apply, *, slack: float = 1) -> Tensor:
    """One group of items at a time."""
    sizes = places(owner, owners)[1].tolist()
    parts = tokens.split([size for size in sizes if size]) if len(tokens) else [tokens]
    return torch.cat([apply(part[None], None)[0] for part in parts])


def padded(tokens: Tensor, owner: Tensor, owners: int, apply: Apply, *, slack: float = 1) -> Tensor:
    """All groups at once, padded to the longest."""
    return apply_by_group(tokens, owner, owners, apply, slack=math.inf)


FORMS = {"loop": loop, "padded": padded}
"""What stands in for `apply_by_group` of a kind; it itself for all others."""


def made_up_records() -> RecordSet:
    """Records with 20 to 200 sets."""
    generator = torch.Generator().manual_seed(0)
    count = (SETS * (0.25 * torch.randn(RECORDS, generator=generator)).exp()).round().long()
    last = count.clamp(20, 200).cumsum(0)
    first = torch.cat([last.new_zeros(1), last[:-1]])
    sets = int(last[-1])
    size = 1 + torch.multinomial(torch.tensor(SIZES), sets, replacement=True, generator=generator)
    set_first = torch.cat([size.new_zeros(1), size.cumsum(0)])
    events = int(set_first[-1])
    code = 1 + torch.randint(CODES, (events,), generator=generator)
    place = torch.arange(sets) - first.repeat_interleave(last - first)
    store = EventStore(
        codes=code.to(torch.int16),
        values=torch.randn(events, generator=generator),
        set_first=set_first,
        set_time=place.double() * 60 * HOURS / 200,
        mean=torch.tensor([float("nan")] + [0.0] * CODES),
        sd=torch.tensor([float("nan")] + [1.0] * CODES),
    )
    table = RecordTable(
        first_set=first,
        last_set=last,
        origin=torch.zeros(RECORDS, dtype=torch.float64),
        prediction=torch.full((RECORDS,), 60 * HOURS, dtype=torch.float64),
        outcome=(torch.rand(RECORDS, generator=generator) < 0.14).float(),
        static=torch.randn(RECORDS, STATICS, generator=generator),
        groups=torch.zeros(RECORDS, 0, dtype=torch.int64),
    )
    return RecordSet(store, table, torch.arange(RECORDS), {})


def objective_of(kind: str, data: RecordSet, width: int, codes: int) -> Stage1Objective:
    """A network of a kind on `data`, without dropout, so that the forms compare."""
    head = {"members": 8, "hidden": 128, "input_dropout": 0.0, "dropout": 0.0}
    config = ClinicalStage1.model_validate(
        {
            "dataset": "made-up",
            "network": {"width": width, "dropout": 0.0, **NETWORKS[kind]},
            "event_dropout": 0.0,
            "summary": False,
            "outcome": head,
            "monitor": {"every": None},
        }
    )
    torch.manual_seed(0)
    statics = data.static.shape[1]
    model = SeqSetVAE(
        codes, statics, HOURS, summary=False, head=head, **config.network.model_dump()
    )
    model.fit(data)
    return objective(config, model)


def measure(step: Callable[[Tensor], None], data: RecordSet, batch: int, seconds: float) -> dict:
    """Patients and events per second of steps of `batch` records, for about `seconds`."""
    step(torch.arange(batch))
    began, used, done, events = time.perf_counter(), time.process_time(), 0, 0
    while not done or time.perf_counter() - began < seconds:
        items = (torch.arange(batch) + done) % len(data)
        step(items)
        done += batch
        events += int(data.subset(items).events.sum())
    wall, processor = time.perf_counter() - began, time.process_time() - used
    return {
        "patients_per_s": round(done / wall, 1),
        "events_per_s": round(events / wall),
        "patients_per_processor_s": round(done / processor, 1),
    }


def main() -> None:
    """Compare losses, then measure every kind at every batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(NETWORKS)}; default all")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16, 64, 128])
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--data", type=Path, help="processed folder; default made-up records")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, codes = made_up_records(), CODES + 1
    if options.data:
        loaded = load(options.data)
        data, codes = loaded.split("train"), len(loaded.schema.codes) + 1
    kinds = options.kinds or list(NETWORKS)
    losses, speed = {}, []
    for kind in kinds:
        for module in (sequence, set_encoder):
            module.apply_by_group = FORMS.get(kind, apply_by_group)
        found = objective_of(kind, data, options.width, codes)
        torch.manual_seed(1)
        with torch.no_grad():
            losses[kind] = round(float(found.eval()(data.batch(torch.arange(4)), 1.0)["loss"]), 6)
        found.train()

        def step(items: Tensor, found: Stage1Objective = found) -> None:
            found.zero_grad(set_to_none=True)
            found(data.batch(items), 0.5)["loss"].backward()

        for batch in options.batch:
            speed.append({"kind": kind, "batch": batch})
            speed[-1] |= measure(step, data, batch, options.seconds)
            print(json.dumps(speed[-1]), flush=True)
    print(json.dumps({"threads": 1, "width": options.width, "loss_of_4": losses, "speed": speed}))


if __name__ == "__main__":
    main()
