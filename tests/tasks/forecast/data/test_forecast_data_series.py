"""A clean table ends as standardised tensors, windows and a schema; damage is reported."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from weir.errors import UserError
from weir.stages import fetch, preprocess
from weir.tasks.forecast.data.load import ForecastData, load
from weir.tasks.forecast.data.schema import Scaler
from weir.tasks.forecast.settings.dataset import ForecastDataset, Split


def test_values_are_standardised_with_training_statistics_only(process, table):
    data = process(table, split={"rows": [30, 10, 20]})
    raw = table[["a", "b"]].to_numpy()
    expected = (raw - raw[:30].mean(0)) / raw[:30].std(0)
    assert data.values.dtype == torch.float32
    np.testing.assert_allclose(data.values.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert data.schema.columns == ("a", "b")
    assert data.schema.repairs == ()
    assert data.times[0] == np.datetime64("2024-01-01")


def test_scaler_restores_what_it_standardised():
    scaler = Scaler((3.0, -1.0), (2.0, 0.5))
    raw = torch.randn(4, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(scaler.restore(scaler.standardise(raw)), raw)


def test_windows_cover_each_split_and_reach_back_for_history(process, table):
    data = process(table, split={"rows": [30, 10, 20]})
    assert [len(data.split(part)) for part in ("train", "validation", "test")] == [22, 8, 18]
    first = data.split("test").batch(torch.tensor([0]))
    assert first.start.tolist() == [40]
    torch.testing.assert_close(first.history[0], data.values[34:40])
    torch.testing.assert_close(first.future[0], data.values[40:43])
    last = data.split("test").batch(torch.tensor([17]))
    torch.testing.assert_close(last.future[0], data.values[57:60])


def test_ratios_round_down_and_leave_the_rest_to_validation():
    assert Split(ratios=(0.7, 0.1, 0.2)).sizes(52704) == (36892, 5272, 10540)
    assert Split(ratios=(0.29, 0.42, 0.29)).sizes(100) == (29, 42, 29)


@pytest.mark.parametrize("name", ["series.csv", "series.csv.gz", "series.parquet"])
def test_each_kind_of_file_gives_the_same_bytes(process, table, tmp_path, name):
    series = tmp_path / "processed" / "series.parquet"
    process(table)
    expected = series.read_bytes()
    process(table, name)
    assert series.read_bytes() == expected


def test_source_hash_repairs_and_digest_are_recorded(process, table, tmp_path):
    data = process(table)
    raw = (tmp_path / "raw" / "series.csv").read_bytes()
    assert data.schema.source_sha256 == hashlib.sha256(raw).hexdigest()
    frame = pd.read_parquet(tmp_path / "processed" / "series.parquet")
    assert list(frame.columns) == ["time", "a", "b"]
    np.testing.assert_array_equal(frame["a"], table["a"])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("schema.json", lambda data: data[:-40], "schema.json is damaged"),
        ("schema.json", lambda data: data.replace(b'"rows"', b'"lines"'), "rows: Field required"),
        ("schema.json", None, "schema.json cannot be read"),
        ("series.parquet", lambda data: data[:-40], "series.parquet cannot be read"),
        ("series.parquet", None, "series.parquet cannot be read"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(process, table, tmp_path, name, damage, message):
    process(table)
    file = tmp_path / "processed" / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path / "processed")
    assert "rerun weir preprocess" in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_do_not_fit_the_schema_are_refused(process, table, tmp_path):
    process(table)
    file = tmp_path / "processed" / "series.parquet"
    frame = pd.read_parquet(file)
    frame.loc[5, "a"] += 1e-9
    frame.to_parquet(file)
    with pytest.raises(UserError, match=r"does not fit its schema\.json"):
        load(tmp_path / "processed")


@pytest.mark.parametrize("content", [None, b"{}", b'{"files": []}', b"["])
def test_a_raw_folder_without_its_source_is_refused(tmp_path, content):
    config = ForecastDataset.model_validate(
        {"task": "forecast", "source": {"simulator": {}}, "frequency": "1h"}
    )
    if content is not None:
        (tmp_path / "source.json").write_bytes(content)
    paths = SimpleNamespace(inputs={"raw": tmp_path}, output=tmp_path)
    with pytest.raises(UserError, match="rerun weir fetch"):
        preprocess.run(config, paths)


MIRROR = Path(os.environ.get("WEIR_DATA_MIRROR", "")) / "forecast"


def from_mirror(tmp_path: Path, **node) -> ForecastData:
    """Fetch, preprocess and load a public set from the mirror, if there is one."""
    if not (MIRROR / Path(node["source"]["mirror"]).name).is_file():
        pytest.skip(f"WEIR_DATA_MIRROR holds no {node['source']['mirror']}")
    config = ForecastDataset.model_validate({"task": "forecast", **node})
    raw, output = tmp_path / "raw", tmp_path / "processed"
    raw.mkdir()
    output.mkdir()
    fetch.run(config, SimpleNamespace(output=raw))
    preprocess.run(config, SimpleNamespace(inputs={"raw": raw}, output=output))
    return load(output)


def test_etth1_has_the_2785_test_windows_of_the_published_protocol(tmp_path):
    data = from_mirror(
        tmp_path,
        source={
            "mirror": "forecast/ETTh1.csv",
            "sha256": "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
        },
        frequency="1h",
        cycle=24,
        split={"rows": [8640, 2880, 2880]},
        lookback=96,
        horizon=96,
    )
    assert [len(data.split(part)) for part in ("train", "validation", "test")] == [
        8449,
        2785,
        2785,
    ]
    assert data.schema.repairs == ()
    # Mean of OT over rows 0 to 8639, as scikit-learn's StandardScaler gives it.
    assert data.schema.scaler.mean[-1] == pytest.approx(17.1282617, abs=1e-6)


def test_weather_needs_its_repairs_and_records_them(tmp_path):
    data = from_mirror(
        tmp_path,
        source={
            "mirror": "forecast/weather.csv",
            "sha256": "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63",
        },
        frequency="10min",
        cycle=144,
        sentinels=[-9999],
        gaps="interpolate",
        max_gap=36,
        duplicates="first",
    )
    assert data.values.shape == (52704, 21)
    sentinels = {r.columns[0]: r.count for r in data.schema.repairs if r.kind == "sentinels"}
    assert sorted(sentinels.values()) == [1, 30, 50]
    assert [r.count for r in data.schema.repairs if r.kind == "duplicates"] == [1]
    # 81 sentinels, and 9 whole rows of 21 variables.
    assert [r.count for r in data.schema.repairs if r.kind == "filled"] == [81 + 9 * 21]
    assert data.schema.scaler.std[-1] < 100
