"""Golden check: do two versions of the code give the same numbers, to the last digit?

    python benchmarks/golden.py run --source . --output after.json [--presets quickstart,kang]
    python benchmarks/golden.py compare before.json after.json

`run` runs every preset of `config/` in short, in a temporary repository: the first seed, the first
fold, a hundredth of the training steps, few samples, small copies of the data. It goes through all
stages but the report, by the command line alone, and writes one JSON file of sorted names and
values: the SHA-256 of data, weights and teachers' samples, and each score as an exact float.
`compare` prints what differs, one line each, and fails if anything does.

It is meant for changes that shall change no result: run it before and after. So it knows nothing of
the code but `weir.cli.main`, the stages' command lines, the names of the settings in `config/` and
the files that stages leave; copy the script elsewhere to run it on an older commit (`--source`).
Neither DVC nor Snakemake is needed. All presets take ten to fifteen minutes of one core. The same
machine and the same versions of the packages must be used for both runs: another processor may
round sums otherwise.

Real data are looked for in the folder that WEIR_DATA_MIRROR names (`--mirror`); a preset whose data
are not there is skipped, which the output tells.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import importlib
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""One thread everywhere: the order of sums is fixed, and a fork of this process is safe."""

PRELOADED = (
    "torch",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "lightning.fabric",
    "lightning_fabric",
    "anndata",
    "h5py",
    "requests",
    "rich.progress",
    "psutil",
)
"""What stages import of others' packages, imported once here; those not installed are left out."""

STAGES = {
    "fetch": "data/raw",
    "preprocess": "data/processed",
    "stage1": "results/stage1",
    "stage2": "results/stage2",
    "joint": "results/joint",
    "baseline": "results/baseline",
    "teacher": "results/teacher",
    "distill": "results/distill",
    "evaluate": "results/evaluate",
}
"""Stages and where their outputs lie, upstream first."""

COST = re.compile(r"second|latency|speed|memory|wall|duration|elapsed|_ms\b|per_s\b|\btime\b")
"""Scores that tell what a run took, which no two runs agree on."""

EVALUATED: dict[str, list[str]] = {
    "digits-ablation": [
        # Each kind of map, coupled and not, each loss, and the ways to draw. What `digits` runs,
        # and the same map a few times more or less, is left out.
        "digits-mixture-2",
        "digits-affine-3",
        "digits-gaussianization-1",
        "digits-spline-1",
        "digits-mixture-coupling",
        "digits-affine-coupling",
        "digits-gaussianization-coupling",
        "digits-spline-coupling",
        "digits-mixture-1-likelihood",
        "digits-affine-3-matching",
        "digits-by-euler",
        "digits-by-ancestral",
        "digits-affine-direct-denoised",
        "digits-guided-1",
        "digits-plain-leakyrelu",
        "digits-plain-elu",
        "digits-plain-tanh",
        "digits-plain-swish",
        "digits-plain-elu-classless",
        "stage2/digits-sos-1",  # trained only: to draw from it takes a minute
    ],
    "mnist": [
        # All but the density's own draw, pixel by pixel, which takes minutes; `digits` and `toys`
        # draw so. The guided samples are drawn as those of `digits-ablation`.
        "mnist-flow",
        "mnist-onestep",
        "mnist-denoiser",
        "mnist-real",
        "mnist-gaussian",
        "mnist-mixture",
    ],
    "physionet2012": [
        # All but one of two joint models' evaluations, each of which takes as long as ten others.
        "p12-vae",
        "p12-supervised",
        "p12-frozen",
        "p12-tuned",
        "p12-joint",
        "charts-supervised",
        "charts-events",
        "charts-flow",
        "charts-onestep",
        "p12-rate",
        "p12-counts",
        "p12-logistic",
        "p12-boosting",
        "p12-gru-d",
        "p12-stacked",
        "p12-stacked-joint",
        "charts-last",
        "charts-hourly",
        "charts-gaussian",
        "joint/charts-joint",
    ],
    "toys": [
        # Each model and baseline on one kind of points, and each other kind's law once.
        "moons-flow",
        "moons-direct",
        "moons-onestep",
        "moons-matching",
        "moons-real",
        "moons-gaussian",
        "moons-gaussians",
        "spirals-flow",
        "checkerboard-flow",
        "mixture-flow",
    ],
}
"""Evaluations that are run of a preset, and with them all that they are built on; the presets that
are not named here run all of theirs. Left out is what runs the same code as one that is kept. A
name with a slash is a node of another section."""

ARRAYS = (".safetensors", ".npy", ".csv", ".parquet", ".h5ad", ".png")
"""Weights, teachers' samples, curves of training, and the tables and samples of evaluations."""

SHARE = 100
MOST = 12
"""One in so many training steps is run, and no more of a training than this."""


# Settings in short


def shortened(params: dict[str, Any]) -> dict[str, Any]:
    """A preset's settings with the first seed and little of everything that takes time."""
    params["seeds"] = params.get("seeds", [0])[:1]
    for node in params.get("datasets", {}).values():
        _short_dataset(node)
    for section in ("stage1", "stage2", "joint", "distill", "baseline"):
        for node in params.get(section, {}).values():
            if "training" in node:
                node["training"] = _short_training(node["training"])
            if "density" in node:
                _short_density(node["density"])
            if "network" in node and "width" in node["network"]:
                _at_most(node["network"], "width", 128)
            if "grid" in node:  # Gaussian processes cost the cube of its bins
                node["grid"] = {**node["grid"], "bins": min(node["grid"].get("bins", 12), 12)}
    for node in params.get("teacher", {}).values():
        # Knots lie at ends of steps.
        _at_most(node, "steps", max(4, node.get("knots", 0) + 1))
        _at_most(node, "conditions", 200)
    for node in params.get("baseline", {}).values():
        if node["method"] in ("boosting", "counts", "stacked"):
            node["boosting"] = {"trees": 15, **node.get("boosting", {})}
        if node["method"] == "mixture":
            _at_most(node, "steps", 4)
    tasks = {name: node["task"] for name, node in params.get("datasets", {}).items()}
    for node in params.get("evaluate", {}).values():
        _short_evaluation(node, _task(params, node, tasks))
    return params


def _short_training(training: dict[str, Any]) -> dict[str, Any]:
    few = min(MOST, max(2, round(training.get("steps", 2000) / SHARE)))
    # Two validations, so that one of two states is chosen.
    batch = min(training.get("batch_size", 64), 64)
    return {**training, "steps": few, "validate_every": (few + 1) // 2, "batch_size": batch}


def _short_density(density: dict[str, Any]) -> None:
    """Fewer units and Gaussians: those of MNIST's density take minutes for a few steps."""
    if "hidden" in density:
        density["hidden"] = [min(width, 64) for width in density["hidden"]]
    if isinstance(coarse := density.get("coarse"), dict):
        _at_most(coarse, "components", 4)
        _at_most(coarse, "rank", 8)


def _short_dataset(node: dict[str, Any]) -> None:
    simulator = node["source"].get("simulator")
    if simulator is not None:
        for name, most in (("rows", 3000), ("cells", 1500), ("patients", 500), ("points", 4000)):
            if name in simulator:
                _at_most(simulator, name, most)
        if "patients" in simulator:
            _at_most(simulator, "particles", 40)
    elif "rows" in node.get("split", {}):
        node["split"] = {"rows": [rows // 4 for rows in node["split"]["rows"]]}
    elif node["task"] == "image":
        node["judge"] = {"steps": 40, **(node.get("judge") or {})}


def _short_evaluation(node: dict[str, Any], task: str) -> None:
    _at_most(node, "samples", {"perturb": 60, "clinical": 4, "image": 10}.get(task, 20))
    student = node["model"].startswith("distill/")
    if not student and ("steps" in node or task == "image"):
        # `direct` takes one step, or two with a denoising one after it.
        _at_most(node, "steps", 4)
    if "quality_steps" in node:
        node["quality_steps"] = [steps for steps in node["quality_steps"] if steps <= 4][:2]
    if task == "clinical":
        _at_most(node, "bootstrap", 40)
        _at_most(node, "cohorts", 2)


def _at_most(node: dict[str, Any], name: str, most: int) -> None:
    """Limit a setting, which is given the limit if its default stood."""
    value = node.get(name)
    node[name] = most if value is None else min(value, most)


def _task(params: dict[str, Any], node: dict[str, Any], tasks: dict[str, str]) -> str:
    """The kind of data that a node is about in the end."""
    while "dataset" not in node:
        if isinstance(model := node.get("model"), str) and "/" in model:
            section, name = model.split("/")
        elif "teacher" in node:
            section, name = "teacher", node["teacher"]
        else:
            section, name = "stage1", node["stage1"]
        node = params[section][name]
    return tasks[node["dataset"]]


# Small copies of the data


def small_data(params: dict[str, Any], mirror: Path | None, target: Path) -> str | None:
    """Fill a mirror with small copies of a preset's files, and put their SHA-256 in its settings.

    Returns:
        The file that is missing, if one is.
    """
    done: dict[str, dict[str, str]] = {}
    for node in params.get("datasets", {}).values():
        source = node["source"]
        if "sha256" not in source:
            continue
        place = source.get("mirror", "")
        several = isinstance(source["sha256"], dict)
        names = list(source["sha256"]) if several else [""]
        ending = ".gz" if source.get("gzip") else ""
        for name in names:
            if mirror is None or not (mirror / place / f"{name}{ending}").is_file():
                return f"{place}/{name}{ending}".rstrip("/")
        assert mirror is not None
        if place not in done:
            done[place] = _copy(mirror / place, target / place, names, ending)
        source["sha256"] = done[place] if several else done[place][""]
    return None


def _copy(source: Path, target: Path, names: list[str], ending: str) -> dict[str, str]:
    """Copy the files, fewer items of those that would take long; returns their SHA-256."""
    subjects = _some_subjects(source, names)
    for name in names:
        there, here = source / f"{name}{ending}", target / f"{name}{ending}"
        here.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("-ubyte") and ending:
            most = 200 if PurePosixPath(name).name.startswith("t10k") else 1000
            here.write_bytes(
                gzip.compress(_first_of_idx(gzip.decompress(there.read_bytes()), most))
            )
        elif subjects and name.endswith(".parquet"):
            _some_rows(there, here, subjects)
        else:
            shutil.copyfile(there, here)
    return {name: _content_digest(target / f"{name}{ending}", ending) for name in names}


def _content_digest(path: Path, ending: str) -> str:
    content = path.read_bytes()
    return hashlib.sha256(gzip.decompress(content) if ending else content).hexdigest()


def _first_of_idx(content: bytes, most: int) -> bytes:
    """The first items of a file in MNIST's format."""
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    kept = min(shape[0], most)
    begin = 4 + 4 * dimensions
    size = (len(content) - begin) // shape[0]
    head = content[:4] + struct.pack(f">{dimensions}I", kept, *shape[1:])
    return head + content[begin : begin + kept * size]


def _some_subjects(source: Path, names: list[str]) -> set[int]:
    """One in sixteen subjects of a MEDS folder; none if it is not one."""
    import pyarrow.parquet as pq

    labels = [name for name in names if name.startswith("tasks/") and name.endswith(".parquet")]
    found: set[int] = set()
    for name in labels:
        found.update(pq.read_table(source / name, columns=["subject_id"])[0].to_pylist())
    return set(sorted(found)[::16])


def _some_rows(source: Path, target: Path, subjects: set[int]) -> None:
    """Copy the rows of some subjects; a table without subjects is copied whole."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    if "subject_id" in table.column_names:
        column = table["subject_id"]
        kept = pa.array(sorted(subjects)).cast(column.type)
        table = table.filter(pc.is_in(column, value_set=kept))
    pq.write_table(table, target)


# Runs


def wanted(plan: dict[str, Any], evaluations: list[str] | None) -> dict[str, dict[str, Any]]:
    """Runs of a plan by the folder of their output, with those that each is built on.

    Only the first fold is taken, and of evaluations those named; then what they are built on.
    """
    every: dict[str, dict[str, Any]] = {}
    for stage, folder in STAGES.items():
        for key, entry in plan["runs"].get(stage, {}).items():
            needed = [entry[name] for name in ("raw", "upstream", "teacher") if name in entry]
            needed = [path.removesuffix("/schema.json") for path in needed]
            if "dataset" in entry:
                needed.append(f"data/processed/{entry['dataset']}")
            every[f"{folder}/{key}"] = {"stage": stage, "key": key, "needs": needed, **entry}
    asked = None
    if evaluations is not None:
        asked = {name if "/" in name else f"evaluate/{name}" for name in evaluations}
        if missing := asked - {f"{run['stage']}/{run['name']}" for run in every.values()}:
            raise SystemExit(f"no such nodes: {', '.join(sorted(missing))}; mend EVALUATED")
    frontier = [
        path
        for path, run in every.items()
        if run.get("fold", 0) == 0 and (asked is None or f"{run['stage']}/{run['name']}" in asked)
    ]
    found: set[str] = set()
    while frontier:
        if (path := frontier.pop()) not in found:
            found.add(path)
            frontier.extend(every[path]["needs"])
    return {path: run for path, run in every.items() if path in found}


def skip_code_digest(source: Path) -> None:
    """Let Weir read its own code as empty files.

    A stage hashes the syntax trees of all modules that it imports, for its fingerprint, which is no
    part of a result; for a stage of few steps that is half of its time.
    """
    parse = ast.parse
    own = str(source / "src")

    def parse_others(*arguments: Any, **options: Any) -> Any:
        if sys._getframe(1).f_code.co_filename.startswith(own):
            return ast.Module(body=[], type_ignores=[])
        return parse(*arguments, **options)

    ast.parse = parse_others


def start(arguments: list[str], root: Path, log: Path) -> int:
    """Run a command of Weir in a fork of this process; returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        os.chdir(root)
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from weir.cli import main

        code = main(arguments)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finished() -> tuple[int, bool]:
    """Wait for a fork; returns its process id and whether it failed."""
    child, status = os.wait()
    return child, os.waitstatus_to_exitcode(status) != 0


def run_all(root: Path, runs: dict[str, dict[str, Any]], jobs: int, preset: str) -> dict[str, str]:
    """Run all runs, each after those that it needs; returns what went wrong, by output folder."""
    waiting, done, failed = list(runs), set[str](), dict[str, str]()
    busy: dict[int, tuple[str, float]] = {}
    while waiting or busy:
        for path in [path for path in waiting if set(runs[path]["needs"]) & failed.keys()]:
            waiting.remove(path)
            failed[path] = "not run: what it needs failed"
        ready = (path for path in waiting if set(runs[path]["needs"]) <= done)
        if len(busy) < jobs and (path := next(ready, None)) is not None:
            waiting.remove(path)
            run = runs[path]
            arguments = [run["stage"], *run["arguments"].split(), "--debug"]
            log = root / "logs" / run["stage"] / f"{run['key']}.log"
            busy[start(arguments, root, log)] = (path, time.monotonic())
            continue
        if not busy:
            continue
        child, bad = finished()
        path, began = busy.pop(child)
        run = runs[path]
        took = f"{time.monotonic() - began:5.1f} s  {preset}  {run['stage']} {run['arguments']}"
        if bad:
            log = root / "logs" / run["stage"] / f"{run['key']}.log"
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            failed[path] = lines[-1] if lines else "failed without a word"
            print(f"{took}: FAILED\n" + "\n".join(lines[-12:]), flush=True)
        else:
            done.add(path)
            print(took, flush=True)
    return failed


# Records


def record(root: Path, path: str) -> Iterator[tuple[str, str]]:
    """Names and values of what a run left.

    Left out are what may change without a result (configurations, fingerprints, provenance, and
    the words in what evaluations leave beside their scores) and what tells how long a run took.
    """
    folder = root / path
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        name = f"{path}/{file.relative_to(folder)}"
        if file.name == "metrics.json":
            scores = json.loads(file.read_text(encoding="utf-8"))
            yield from ((f"{name}:{place}", value) for place, value in _leaves(scores, ""))
        elif path.startswith("data/") or file.suffix in ARRAYS:
            yield name, hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.parent.name == "details" and file.name == "evaluation.json":
            told = json.loads(file.read_text(encoding="utf-8"))
            numbers = [leaf for leaf in _leaves(told, "") if leaf[1][0] not in "'\""]
            yield f"{name}:numbers", hashlib.sha256(repr(numbers).encode()).hexdigest()


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key in value:
            if not COST.search(key):
                yield from _leaves(value[key], f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{place}[{index}]")
    else:
        yield place, repr(value)


def run_preset(
    source: Path, preset: str, mirror: Path | None, root: Path, jobs: int
) -> dict[str, str]:
    """Run one preset in a repository made for it; returns names and values."""
    params = yaml.safe_load((source / "config" / f"{preset}.yaml").read_text(encoding="utf-8"))
    if missing := small_data(params, mirror, root / "mirror"):
        print(f"{preset}: skipped, the mirror lacks {missing}", flush=True)
        return {preset: f"skipped, the mirror lacks {missing}"}
    shutil.copy(source / "dvc.yaml", root / "dvc.yaml")
    for name in ("workflow", "config"):
        shutil.copytree(source / name, root / name)
    # Aliases are undone: what is dumped here is read by Weir's own reader.
    text = yaml.safe_dump(json.loads(json.dumps(shortened(params))), sort_keys=False)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    os.environ["WEIR_DATA_MIRROR"] = str(root / "mirror")
    start(["plan", "--debug"], root, root / "logs" / "plan.log")
    if finished()[1]:
        print((root / "logs" / "plan.log").read_text(encoding="utf-8"), flush=True)
        return {preset: "failed: weir plan"}
    plan = json.loads((root / "workflow" / "plan.json").read_text(encoding="utf-8"))
    runs = wanted(plan, EVALUATED.get(preset))
    failed = run_all(root, runs, jobs, preset)
    values = {f"{preset}/{path}": f"failed: {why}" for path, why in failed.items()}
    for path in runs:
        values |= {f"{preset}/{name}": value for name, value in record(root, path)}
    return values


def run(options: argparse.Namespace) -> int:
    """Run presets, and write their names and values; returns the exit code."""
    source = options.source.resolve()
    # Set before torch or Weir is imported.
    for name in [name for name in os.environ if name.startswith("WEIR_")]:
        del os.environ[name]
    os.environ |= dict.fromkeys(THREADS, "1")
    os.environ |= {
        "WEIR_TRACKING": "off",
        "WEIR_ACCELERATOR": "cpu",
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(source / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(source / "src"))
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    import weir.cli

    if not Path(weir.cli.__file__).is_relative_to(source):
        raise SystemExit(f"weir is imported from {weir.cli.__file__}, not from {source}")
    skip_code_digest(source)
    presets = sorted(path.stem for path in (source / "config").glob("*.yaml"))
    if options.presets:
        presets = options.presets.split(",")
    values: dict[str, str] = {}
    for preset in presets:
        began, before = time.monotonic(), os.times()
        root = Path(tempfile.mkdtemp(prefix=f"golden-{preset}-", dir=options.folder))
        try:
            found = run_preset(source, preset, options.mirror, root, options.jobs)
        finally:
            if options.keep:
                print(f"{preset}: kept {root}", flush=True)
            else:
                shutil.rmtree(root, ignore_errors=True)
        values |= found
        # After each preset, so that a run that is stopped leaves something.
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        options.output.write_text(text, encoding="utf-8")
        after = os.times()
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        wall = time.monotonic() - began
        print(f"{preset}: {len(found)} values, {wall:.0f} s, {spent:.0f} s of the processor")
        sys.stdout.flush()
    broken = [name for name, value in values.items() if value.startswith("failed")]
    print(f"{options.output}: {len(values)} values, {len(broken)} failed runs")
    return 1 if broken else 0


def compare(options: argparse.Namespace) -> int:
    """Print what differs between two outputs; returns the exit code."""
    before, after = (
        json.loads(path.read_text(encoding="utf-8")) for path in (options.before, options.after)
    )
    differing = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    for name in differing:
        print(f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}")
    if differing:
        print(f"{len(differing)} of {len({*before, *after})} values differ")
        return 1
    print(f"{len(before)} values equal")
    return 0


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="run presets and write what came out")
    command.set_defaults(function=run)
    command.add_argument("--source", type=Path, default=Path(), help="checkout whose code is run")
    command.add_argument("--output", type=Path, required=True, help="JSON file to write")
    command.add_argument("--presets", help="names, separated by commas (default: all)")
    mirror = os.environ.get("WEIR_DATA_MIRROR")
    command.add_argument(
        "--mirror",
        type=Path,
        default=Path(mirror) if mirror else None,
        help="folder of real data (default: WEIR_DATA_MIRROR)",
    )
    command.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    command.add_argument("--folder", type=Path, help="where to work (default: the temporary one)")
    command.add_argument("--keep", action="store_true", help="keep the repositories made")
    command = commands.add_parser("compare", help="print what differs between two outputs")
    command.set_defaults(function=compare)
    command.add_argument("before", type=Path)
    command.add_argument("after", type=Path)
    options = parser.parse_args()
    return options.function(options)


if __name__ == "__main__":
    sys.exit(main())
