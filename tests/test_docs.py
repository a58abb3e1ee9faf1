"""The documentation's commands work as they stand."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from PIL import Image

from weir.cli import _parser
from weir.pipeline.params.graph import load_params
from weir.tasks import TASKS
from weir.tasks.clinical.settings.simulator import Simulation as RecordSimulation
from weir.tasks.clinical.simulation.simulate import simulate as simulate_records
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parents[1]

README = (ROOT / "README.md").read_text(encoding="utf-8")

AFTER = ".ci/run does it after the quickstart"

CHECKED = ".ci/run does it"

PAGES = sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *PAGES]

RUN_BY_OTHERS = {
    "docs/cluster.md": "tests/cluster/test_slurm_faults.py runs the commands of the page",
    "docs/site.md": "tests/cluster/test_site_*.py take their commands from the page",
}
"""Documents whose commands need a cluster or a site, and where they are tested."""

ELSEWHERE = {
    "make run": ".ci/run does it from a clean checkout",
    "make test": ".ci/run does it from a clean checkout",
    "snakemake": "tests/pipeline runs it on a small pipeline",
    "dvc repro": "tests/pipeline runs it on a small pipeline",
    "weir ui": "tests/tracking starts the server",
    "dvc exp run -S ++distill.river-onestep.huber=0.001": "tests/pipeline/test_experiments.py",
    "weir predict results/distill/cells-onestep-s0 --perturb A=3+B=5 --context type2 "
    "--output predicted.h5ad": AFTER,
    "weir risk results/stage2/ward-head-s0 data/raw/ward --times "
    "data/raw/ward/tasks/in_hospital_mortality/held_out/0.parquet --output risks.parquet": AFTER,
    "weir synthesise results/distill/ward-onestep-s0 --records 500 --output synthetic": AFTER,
    "weir scores update": AFTER,
    "make lint": CHECKED,
    "lint-imports": "`make lint` runs it",
    "weir predict results/distill/cells-onestep-s0 --perturb A=3+B=5 --cells new.h5ad "
    "--output predicted.h5ad": "tests/cli/test_perturb_new_cells.py does so on a small model",
    "weir predict results/distill/cells-onestep-s0 --perturb A=3 --cells new.h5ad --layer counts "
    "--obs cell_type=label --obs batch=donor --output predicted.h5ad": "as above",
}
"""Commands that run for long, and where they are tested."""


ENGINES = "tests/pipeline/test_engines.py"

IN_PROSE = {
    "make setup": CHECKED,
    "make test-cluster": CHECKED,
    "conda env create -f environment.yml": "conda is not here",
    "pip install -e . --no-deps": "`make setup` does it",
    "weir stage2 river-flow": "tests/cli runs every stage",
    "weir stage1 net --seed 0 --fold 2": "tests/pipeline/test_folds.py",
    "weir tracking sync": "tests/tracking",
    "dvc metrics diff": ENGINES,
    "dvc params diff": ENGINES,
    "dvc plots": ENGINES,
    "dvc plots show": ENGINES,
    "dvc exp show": ENGINES,
    "snakemake -n": ENGINES,
    "snakemake -f": "tests/pipeline/test_restore.py",
    "snakemake --cores all": "`make run` does it",
    "snakemake --config": "refused, in tests/pipeline/test_workflow.py",
    "snakemake --unlock": "tests/engines/test_scheduler_lock.py",
    "snakemake --profile slurm": "tests/cluster",
    "dvc repro --pull": "tests/cluster/test_site_storage.py",
    "dvc exp run": "tests/pipeline/test_experiments.py",
    "dvc exp run --temp": "tests/pipeline/test_experiments.py",
    "dvc exp run --queue": "tests/pipeline/test_experiments.py",
    "dvc exp save": "tests/cluster",
    "pip install dvc-s3": "docs/site.md, of which tests/cluster takes the commands",
}
"""Commands within sentences that run for long or need what is not here, and where they are tested;
others are run, or, with words in capitals that stand for the reader's own, at least understood."""

PROGRAMS = ("weir", "dvc", "snakemake", "make", "python", "pip", "conda", "ruff", "lint-imports")


def prose(document: str) -> list[str]:
    """The commands within a document's sentences and tables: spans of code of several words."""
    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    parts = [part for span in spans for part in span.split(" && ")]
    parts = [re.sub(r"^(\w+=\S+ )+", "", part) for part in parts]
    return list(dict.fromkeys(p for p in parts if p.partition(" ")[0] in PROGRAMS and " " in p))


def is_whole(line: str) -> bool:
    """Whether a command in a sentence can be run as it stands, and in seconds."""
    quick = ("weir data add my/", "weir doctor", "weir params ", "weir plan", "dvc status")
    return line.startswith((*quick, "dvc config")) and not re.search(r"\b[A-Z]{3,}\b", line)


def is_understood(line: str) -> None:
    """A command with words that stand for something, or without all of its words."""
    words = shlex.split(line)
    if words[0] == "python":
        assert words[1] == "-m" or (ROOT / words[1]).exists(), line
        options = [word for word in words[2:] if word.startswith("--")]
        assert words[1] == "-m" or all(o in (ROOT / words[1]).read_text() for o in options), line
    elif words[0] == "weir":
        whole = [*words[1:], "--help"]
        with pytest.raises(SystemExit) as ended:
            _parser().parse_args(whole)
        assert ended.value.code == 0, line
    else:
        assert re.search(r"\b[A-Z]{3,}\b", line), f"{line}: is run nowhere; add it to IN_PROSE"


def commands(document: str) -> list[str]:
    """The lines of a document's bash blocks, without remarks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks = [re.sub(r" *\\\n *", " ", block) for block in blocks]
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is, with nothing run, and a user's own data."""
    root = tmp_path_factory.mktemp("docs") / "weir"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=root, check=True)
    hours = pd.date_range("2024-01-01", periods=600, freq="1h")
    (root / "my").mkdir()
    pd.DataFrame({"date": hours, "a": range(600), "b": hours.hour * 1.5}).to_csv(
        root / "my" / "series.csv", index=False
    )
    settings = Simulation(
        cells=600, genes=40, cell_types=2, batches=2, perturbations=1, combinations=0
    )
    (cells,) = (name for name in simulate(settings, root / "my") if name.endswith(".h5ad"))
    (root / "my" / cells).rename(root / "my" / "cells.h5ad")
    (root / "my" / "meds").mkdir()
    simulate_records(RecordSimulation(patients=100, hours=8, particles=0), root / "my" / "meds")
    random = np.random.default_rng(0)
    for shape, mean in (("discs", 90), ("rings", 160)):
        (root / "my" / "pictures" / shape).mkdir(parents=True)
        for number in range(30):
            pixels = random.normal(mean, 30, (8, 8)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(root / "my" / "pictures" / shape / f"{number}.png")
    return root


def test_the_documents_say_no_command_that_is_tested_nowhere() -> None:
    said = {line for document in DOCUMENTS for line in commands(document)}
    assert set(ELSEWHERE) <= said
    assert set(IN_PROSE) <= {line for document in DOCUMENTS for line in prose(document)}
    assert set(RUN_BY_OTHERS) <= set(DOCUMENTS)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d not in RUN_BY_OTHERS])
def test_every_command_is_run_here_or_elsewhere(document: str, clone: Path) -> None:
    """In a clone with the user's own data, where nothing was run before."""
    for words in (["checkout", "-q", "."], ["clean", "-fdqx", "-e", "my"]):
        subprocess.run(["git", *words], cwd=clone, check=True)
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone / "src"),
        "WEIR_TRACKING": "off",
    }
    known = {*ELSEWHERE, *(commands("README.md") if document != "README.md" else ())}
    blocks = commands(document)
    spoken = [line for line in prose(document) if line not in {*blocks, *known, *IN_PROSE}]
    for line in [*blocks, *spoken]:
        if line in known:
            continue
        if line in spoken and not is_whole(line):
            is_understood(line)
            continue
        if line in spoken:
            subprocess.run(["git", "checkout", "-q", "."], cwd=clone, check=True)
        done = subprocess.run(
            ["bash", "-c", line], cwd=clone, env=environment, capture_output=True, text=True
        )
        allowed = (0, 2) if line == "weir doctor" else (0,)
        assert done.returncode in allowed, f"{line}:\n{done.stdout}{done.stderr}"


def test_what_the_documents_set_through_dvc_is_one_line(tmp_path: Path) -> None:
    """Of the quickstart's params.yaml, and it is a setting that there is."""
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    examples = set(re.findall(r"dvc exp run (?:--\w+ )*-S (\S*?=[^\s`]+)", text))
    assert examples
    for example in examples:
        path = tmp_path / "params.yaml"
        shutil.copy(ROOT / "params.yaml", path)
        before = path.read_text().splitlines()
        apply_overrides(path, [example])
        after = path.read_text().splitlines()
        changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
        assert len([line for line in changed if line[0] == "+"]) == 1, example
        assert len(changed) <= 2, example
        load_params(path)


def test_the_table_of_data_names_commands_of_the_readme() -> None:
    rows = re.findall(
        r"^\|[^|`]*(?:`[^`]*`[^|`]*)*\| `(weir data add [^`]+)` \|", README, re.MULTILINE
    )
    assert {row.partition("--task ")[2].split(" ")[0] or "forecast" for row in rows} == set(TASKS)
    assert set(rows) <= set(commands("README.md"))


def test_the_tree_of_the_readme_is_that_of_the_source() -> None:
    """One line a room, and for the rooms of tasks one line for all tasks together."""
    (tree,) = re.findall(r"^src/weir/\n(.*?)^tests/", README, re.DOTALL | re.MULTILINE)
    outer = re.findall(r"^  (\S+?)/ ", tree, re.MULTILINE)
    inner = re.findall(r"^    (\S+?)/ ", tree, re.MULTILINE)
    package = ROOT / "src/weir"
    rooms = {str(p.parent.relative_to(package)) for p in package.glob("*/__init__.py")}
    assert set(outer) == rooms - {"tasks"} | {f"tasks/{task}" for task in TASKS}
    assert set(inner) == {p.parent.name for p in package.glob("tasks/*/*/__init__.py")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_module_that_is_named_exists(document: str) -> None:
    text = re.sub(r"<task>", "forecast", (ROOT / document).read_text(encoding="utf-8"))
    package = "|".join(p.name for p in (ROOT / "src/weir").iterdir() if p.is_dir())
    for place in re.findall(rf"`(?:src/weir/)?((?:{package})/[\w/.]*)`", text):
        if not place.startswith(("evaluation/", "flow/")):
            assert (ROOT / "src/weir" / place).exists(), place
    for module in re.findall(r"python -m (weir\.[\w.]+)", text):
        assert (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").exists(), module


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch) -> None:
    """On an untrained student of the quickstart's shape."""
    from dataclasses import asdict

    from weir.artifacts.model_folder import ModelCard, save_model
    from weir.pipeline.params.graph import load_params
    from weir.stages.restore import build_model

    nodes = load_params(ROOT / "config/quickstart.yaml").nodes
    schema = {
        "task": "forecast",
        "columns": ["a", "b", "c", "d"],
        "frequency": "h",
        "cycle": 24,
        "lookback": 48,
        "horizon": 24,
        "rows": 100,
        "first_time": "2020-01-01",
        "splits": {"train": [0, 80], "validation": [80, 90], "test": [90, 100]},
        "scaler": {"mean": [0.0] * 4, "std": [1.0] * 4},
        "repairs": [],
        "source_sha256": "",
        "digest": "",
        "simulated": False,
    }

    def card(ref: str, **more) -> ModelCard:
        settings = nodes[ref].config.model_dump(mode="json")
        section, _, name = ref.partition("/")
        return ModelCard(section, name, 0, "forecast", "river", settings, schema, **more)

    first = card("stage1/river-itransformer")
    second = card("stage2/river-flow", upstream=asdict(first))
    student = card("distill/river-onestep", upstream=asdict(second))
    folder = tmp_path / "results/distill/river-onestep-s0"
    folder.mkdir(parents=True)
    save_model(folder, build_model(student), student)
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block, names)
    assert names["paths"].shape == (8, 100, 24, 4)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


PICTURES = {
    "energy_score": 3, "crps": 4, "spread_ratio": 3, "class_accuracy": 3, "classifier_fd": 2,
    "bits_per_dim": 3, "denoising_mse_1": 4,
}  # fmt: skip

QUOTED = {
    ("README.md", "etth1"): {"mse": 4, "mae": 4, "crps": 4},
    ("README.md", "kang"): {"pearson_delta": 3, "energy_distance": 2, "mmd_ratio": 3},
    ("README.md", "physionet2012"): {"auroc": 3, "auprc": 3, "brier": 4},
    ("README.md", "digits"): {"energy_score": 3, "crps": 4, "classifier_fd": 2},
    ("docs/forecast.md", "etth1"): {
        "mse": 4, "mae": 4, "crps": 4, "energy_score": 2, "coverage_50": 3, "coverage_90": 3,
    },
    ("docs/perturb.md", "kang"): {
        "pearson_delta": 3, "energy_distance": 2, "mmd_ratio": 3, "r2_mean": 3, "r2_variance": 3,
    },
    **{
        ("docs/clinical.md", preset): {
            "auroc": 3, "auprc": 3, "brier": 4, "calibration_error": 4,
        }
        for preset in ("physionet2012", "physionet2012-joint")
    },
    ("docs/clinical.md", "physionet2012-records"): [
        {
            "fill_crps": 3, "fill_energy": 2, "forecast_rmse": 3, "impute_crps": 3,
            "impute_rmse": 3, "single_crps": 3, "single_rmse": 3,
        },
        {"tstr_auroc": 3, "tstr_gap": 3, "c2st_auc": 3, "privacy": 2},
    ],
    ("docs/image.md", "digits"): PICTURES,
    ("docs/image.md", "mnist"): PICTURES,
    ("docs/image.md", "digits-ablation"): PICTURES,
    **{
        ("docs/image.md", f"toys-{law}"): {
            "energy_score": 3, "two_sample_auc": 3, "spread_ratio": 3, "density_gap": 3,
        }
        for law in ("moons", "spirals", "checkerboard", "mixture")
    },
    ("docs/perturb.md", "glioblastoma"): {
        "pearson_delta": 3, "energy_distance": 2, "mmd_ratio": 3, "r2_mean": 3, "r2_variance": 3,
    },
}  # fmt: skip
"""Tables of the documents: the preset, and the digits of each score in the order of columns, or a
list of them where there are several tables."""


def section_of(document: str, preset: str) -> str:
    """The part of a document, between two headings, that names a preset's scores."""
    parts = re.split(r"^#+ .*$", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = (part for part in parts if f"scores/{preset}.json" in part)
    return found


def tables_of(text: str, names: Iterable[str]) -> list[dict[str, str]]:
    """The tables of a text that have rows of these names, and these rows."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)\|$", block, re.MULTILINE))
        found.append({name: rows[name] for name in names if name in rows})
    return [rows for rows in found if rows]


def shown(metrics: dict[str, dict[str, float]], metric: str, places: int) -> str:
    """A score as documents write it: without its leading zero, and a dash for none."""
    if metric not in metrics:
        return "–"
    return re.sub(r"^(-?)0\.", r"\1.", f"{metrics[metric]['mean']:.{places}f}")


@pytest.mark.parametrize(("document", "preset"), QUOTED)
def test_documents_quote_the_scores_on_file(document: str, preset: str) -> None:
    scores = json.loads((ROOT / f"docs/scores/{preset}.json").read_text())
    models = {model["name"]: model["metrics"] for model in scores["models"]}
    calls = {model["name"]: str(model["nfe"]) for model in scores["models"]}
    tables = tables_of(section_of(document, preset), models)
    assert len(set().union(*tables)) >= min(4 if document == "README.md" else 5, len(models))
    quoted = QUOTED[document, preset]
    for rows, digits in zip(tables, quoted if isinstance(quoted, list) else [quoted], strict=True):
        for name, row in rows.items():
            cells = [cell.strip().split(" ")[0] for cell in row.split("|")]
            before, cells = cells[: -len(digits)], cells[-len(digits) :]
            assert not "".join(before[-1:]).isdigit() or before[-1] == calls[name], name
            expected = [shown(models[name], metric, places) for metric, places in digits.items()]
            assert cells == expected, name
