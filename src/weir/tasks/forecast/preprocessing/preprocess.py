"""A raw table to a processed folder: read, checked, repaired, described."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from weir.artifacts.raw_folder import RawFolder
from weir.errors import UserError
from weir.tasks.forecast.data.load import SERIES, TIME, digest
from weir.tasks.forecast.data.schema import TRUTH, Scaler, Schema
from weir.tasks.forecast.preprocessing.checks import clean, constants, split_rows
from weir.tasks.forecast.preprocessing.reading import read_table
from weir.tasks.forecast.settings.dataset import ForecastDataset


def preprocess(config: ForecastDataset, raw: Path, output: Path) -> None:
    """Check and repair the table of a raw folder, and write the processed folder.

    Raises:
        UserError: the table is not usable as `config` describes it; one line.
    """
    source = RawFolder.read(raw).main
    file = raw / source.name
    table = read_table(file, config)
    clean(table, config)
    splits = split_rows(table, config)
    constants(table, config, splits["train"])
    train = table.values.iloc[slice(*splits["train"])].to_numpy()
    scaler = Scaler(tuple(train.mean(0).tolist()), tuple(train.std(0).tolist()))
    frame = table.values.reset_index(drop=True)
    if TIME in frame.columns:
        raise UserError(
            f"{file}: a variable is named {TIME!r}; rename it, or set `time_column: {TIME}`"
        )
    simulated = (raw / TRUTH).exists()
    schema = Schema(
        task="forecast",
        columns=tuple(frame.columns),
        frequency=config.frequency,
        cycle=config.cycle,
        lookback=config.lookback,
        horizon=config.horizon,
        rows=len(frame),
        first_time=table.times[0].isoformat(),
        splits=splits,
        scaler=scaler,
        repairs=tuple(table.repairs),
        source_sha256=source.sha256,
        digest=digest(table.times.to_numpy(), frame.to_numpy()),
        simulated=simulated,
    )
    frame.insert(0, TIME, table.times)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), output / SERIES)
    schema.save(output)
    if simulated:
        shutil.copyfile(raw / TRUTH, output / TRUTH)
