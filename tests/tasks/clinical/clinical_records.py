"""Records for tests, spelled out event by event."""

from __future__ import annotations

import torch

from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.flow.synthesis import pack


def records(events: list[tuple[int, float, int, float | None]], count: int) -> Records:
    """Records of events (record, hour, code, value), ending at hour 8."""
    record, time, code, value = map(list, zip(*events, strict=True)) if events else ([],) * 4
    return pack(
        torch.tensor(record, dtype=torch.int64),
        torch.tensor(time, dtype=torch.float32),
        torch.tensor(code, dtype=torch.int64),
        torch.tensor([v or 0.0 for v in value], dtype=torch.float32),
        torch.tensor([v is not None for v in value], dtype=torch.bool),
        torch.zeros(count, 1),
        torch.full((count,), 8.0),
        torch.zeros(count),
    )
