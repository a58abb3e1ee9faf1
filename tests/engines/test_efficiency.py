"""What jobs used is read from Snakemake's records."""

from __future__ import annotations

from pathlib import Path

from weir.engines.slurm import efficiency

HEAD = "s\th:m:s\tmax_rss\tcpu_time\tthreads\tresources\n"


def test_a_record_is_set_against_what_was_asked(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "logs/stage1"
    folder.mkdir(parents=True)
    asked = "{'tmpdir': '/tmp', 'mem_mb': 4000, 'mem': '4 GB', 'runtime': 20, 'gpu': 1}"
    (folder / "lean-s0.tsv").write_text(f"{HEAD}120.0\t0:02:00\t1000.0\t180.0\t2\t{asked}\n")
    (folder / "full-s0.tsv").write_text(f"{HEAD}60.0\t0:01:00\t3000.0\t30.0\t1\t{asked}\n")
    (folder / "local-s0.tsv").write_text("s\tmax_rss\n3.0\t10.0\n")

    found = efficiency.uses(tmp_path)
    assert list(found.index) == ["stage1@lean-s0", "stage1@full-s0"]
    assert found.iloc[0].tolist() == [2.0, 20.0, 1000.0, 4000.0, 1.5, 2]
    assert efficiency.main(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["stage1@lean-s0", "2.0", "20", "1000", "4000", "1.5", "2"]


def test_a_job_too_short_to_be_looked_at_has_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "logs/fetch").mkdir(parents=True)
    row = "0.1\t0:00:00\tNA\tNA\t1\t{'mem_mb': 2000, 'runtime': 60}\n"
    (tmp_path / "logs/fetch/river.tsv").write_text(HEAD + row)
    found = efficiency.uses(tmp_path)
    assert found["memory"].isna().all() and found["asked_memory"].tolist() == [2000]
    assert efficiency.table(found).split()[-6:] == ["0.0", "60", "nan", "2000", "nan", "1"]


def test_without_records_it_says_where_they_come_from(tmp_path: Path, capsys) -> None:
    assert efficiency.main(tmp_path) == 2
    assert "snakemake --profile slurm" in capsys.readouterr().err
