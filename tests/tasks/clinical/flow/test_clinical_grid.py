"""Records on a grid: what falls into which bin, and nothing lost."""

from __future__ import annotations

import torch
from clinical_records import records
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.flow.grid import Grid, carry_forward, merge, show, tally


def test_sets_of_one_bin_become_one_set():
    made = records(
        [(0, 0.0, 1, 1.0), (0, 1.5, 2, None), (0, 2.0, 1, 3.0), (2, 8.0, 1, 5.0), (2, 8.5, 1, 9.0)],
        3,
    )
    grid = Grid(4, 8.0)
    binned = merge(made, grid)
    # The third record's event at the very end belongs to the last bin; what is later is outside.
    assert binned.place.tolist() == [0, 1, 11]
    assert binned.records.event_set.tolist() == [0, 0, 1, 2]
    assert binned.records.code.tolist() == [1, 2, 1, 1]
    assert binned.records.time.tolist() == [1.0, 3.0, 7.0]
    assert binned.records.set_record.tolist() == [0, 0, 2]
    assert binned.occupied(grid).int().tolist() == [[1, 1, 0, 0], [0] * 4, [0, 0, 0, 1]]


def test_tally_sums_by_code():
    made = records([(0, 0.0, 1, 1.0), (0, 0.5, 1, 3.0), (0, 0.6, 2, None), (0, 0.7, 0, None)], 1)
    grid = Grid(2, 8.0)
    events = tally(merge(made, grid), grid, 2)
    assert events.count[0].tolist() == [[2, 1], [0, 0]]  # the unknown code is nowhere
    assert events.values[0].tolist() == [[2, 0], [0, 0]]
    assert events.mean[0].tolist() == [[2, 0], [0, 0]]
    assert events.square[0].tolist() == [[10, 0], [0, 0]]


EVENT = st.tuples(
    st.integers(0, 3),
    st.floats(0, 8, width=32),
    st.integers(1, 3),
    st.one_of(st.none(), st.floats(-3, 3, width=32)),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENT, max_size=30), st.integers(1, 7))
def test_no_event_of_the_grid_is_lost(
    events: list[tuple[int, float, int, float | None]], bins: int
):
    made, grid = records(events, 4), Grid(bins, 8.0)
    found = tally(merge(made, grid), grid, 3)
    assert int(found.count.sum()) == len(events)
    for record in range(4):
        for code in (1, 2, 3):
            mine = [v for r, _, c, v in events if (r, c) == (record, code) and v is not None]
            got = found.total[record, :, code - 1].sum()
            torch.testing.assert_close(got, torch.tensor(sum(mine), dtype=torch.float32))


def test_bins_after_the_end_are_outside():
    inside = Grid(4, 8.0).inside(torch.tensor([0.0, 2.0, 2.1, 100.0]))
    assert inside.sum(1).tolist() == [1, 1, 2, 4]


def test_the_last_value_is_carried_with_its_age():
    value = torch.tensor([5.0, 0.0, 7.0, 0.0, 0.0])[None, :, None]
    has = torch.tensor([False, False, True, False, False])[None, :, None]
    carried, age = carry_forward(value, has)
    assert carried.flatten().tolist() == [0, 0, 7, 7, 7]
    assert age.flatten().tolist() == [torch.inf, torch.inf, 0, 1, 2]


def test_hidden_cells_are_gone_and_their_sets_with_them(tiny_clinical: ClinicalData):
    records = tiny_clinical.split("train").batch(torch.arange(8))
    grid = Grid(6, tiny_clinical.schema.horizon_hours)
    codes = len(tiny_clinical.schema.codes)
    hidden = torch.zeros(8, 6, codes + 1, dtype=torch.bool)
    hidden[:, 3:] = True
    hidden[0, :, 1] = True
    left = show(records, grid, hidden)
    whole = tally(merge(records, grid), grid, codes).count
    found = tally(merge(left, grid), grid, codes).count
    assert torch.equal(found, whole * ~hidden[..., 1:])
    # Every set that is left has an event, and events their sets' times.
    assert left.event_set.unique().tolist() == list(range(len(left.time)))
    assert bool((grid.bin(left.time) < 3).all())
    everything = show(records, grid, torch.zeros_like(hidden))
    assert all(torch.equal(a, b) for a, b in zip(everything, records, strict=True))
