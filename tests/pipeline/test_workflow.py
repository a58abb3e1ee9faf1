"""The Snakefile itself: clean by its linters, plannable for Slurm, strict with its command line."""

from __future__ import annotations

import os
import re

import pytest
from checkout import REPOSITORY, STAGES, Checkout

pytestmark = pytest.mark.pipeline


def test_linter_and_formatter(untouched: Checkout) -> None:
    assert "Congratulations" in untouched.snakemake("--lint")
    untouched.run("snakefmt", "--check", "workflow")


def test_settings_on_the_command_line_are_refused(untouched: Checkout) -> None:
    text = untouched.snakemake("-n", "--config", "steps=3", ok=False)
    assert "weir: --config steps: DVC would not see it; edit params.yaml instead" in text
    assert "Traceback" not in text


def test_a_bad_parameter_is_one_line(untouched: Checkout) -> None:
    untouched.edit("params.yaml", "conditions: 16", "condition: 16")
    text = untouched.snakemake("-n", ok=False)
    assert "unknown key; did you mean 'conditions'?" in text
    assert "Traceback" not in text


def test_slurm_gives_gpus_and_more_memory_after_a_failure(untouched: Checkout) -> None:
    text = untouched.snakemake("-n", "--profile", "slurm")
    resources = dict(
        re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)", text, re.M)
    )
    on_gpu = {rule for rule, given in resources.items() if "gpu=1" in given}
    assert on_gpu == {"stage1", "stage2", "teacher", "distill", "evaluate"}
    assert resources.pop("all")
    assert all(re.search(r"mem_mb=\d+.* runtime=\d+", given) for given in resources.values())
    local = untouched.snakemake("-n")
    assert "gpu=1" not in local


def test_the_settings_of_a_site_in_the_documentation(untouched: Checkout) -> None:
    text = (REPOSITORY / "docs/cluster.md").read_text()
    (site,) = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    profile = untouched.root / "workflow/profiles/slurm/config.yaml"
    own = profile.read_text()
    profile.write_text(own[: own.index("default-resources:")] + site)
    text = untouched.snakemake("-n", "--profile", "slurm")
    rules = re.findall(
        r"^rule (\w+):\n(?:    .*\n)*?    (?:threads: (\d+)\n    )?resources: (.*)", text, re.M
    )
    given = {rule: (threads, asked) for rule, threads, asked in rules}
    assert "slurm_partition=cpu" in given["preprocess"][1]
    assert "slurm_account=my-group" in given["preprocess"][1]
    assert "slurm_partition=gpu" in given["stage2"][1] and "constraint=a100" in given["stage2"][1]
    assert "mem_mb=8000" in given["stage2"][1] and "runtime=240" in given["stage1"][1]
    # A dry run scales threads down to this machine's cores.
    assert given["baseline"][0] == str(min(4, os.cpu_count() or 1))


def test_a_single_node_gets_other_resources(untouched: Checkout) -> None:
    text = untouched.snakemake(
        "-n", "--set-resources", "evaluate:mem_mb=99 if wildcards.run == 'naive' else 77"
    )
    given = dict(re.findall(r"wildcards: run=(\S+)\n    resources: .*?mem_mb=(\d+)", text))
    assert given["naive"] == "99" and given["student-s0"] == "77"


def test_every_stage_of_dvc_is_planned(untouched: Checkout) -> None:
    assert untouched.planned() == STAGES
