"""Every artifact that one stage leaves for another, described; docs/artifacts.md is made of it.

Nothing but the document imports this, so that an edited word reruns no stage.
"""

from __future__ import annotations

from weir.artifacts import evaluation, provenance, raw_folder, teacher_folder
from weir.artifacts.description import Artifact, Field, File, fields_of
from weir.artifacts.model_folder import ModelCard
from weir.artifacts.schema_file import SCHEMA

RAW = Artifact(
    title="Raw folder",
    place="data/raw/<dataset>",
    meaning="Written by `fetch`, read by `preprocess`: the files as they came, and what they are.",
    module="weir.artifacts.raw_folder",
    files=(
        File(
            raw_folder.SOURCE,
            "the files, in the order of the dataset node; nothing in it changes between two "
            "fetches of the same bytes",
            fields_of(raw_folder.RawFolder),
        ),
        File("*", "the raw files; each is there and has its size"),
    ),
)

MODEL = Artifact(
    title="Model folder",
    place="results/<section>/<node>-s<seed>",
    meaning=(
        "Written by `stage1`, `stage2`, `joint`, `baseline` and `distill`, read by all that "
        "builds on a model: it describes itself, and is loaded without params.yaml."
    ),
    module="weir.artifacts.model_folder",
    files=(
        File("config.json", "the model's card", fields_of(ModelCard)),
        File("model.safetensors", "weights by name, as the model built from the card has them"),
        File(
            "history.csv",
            "losses of the training; absent where nothing was trained",
            (
                Field("step", "whole number", "steps done"),
                Field("train/*", "number", "losses and signals of training, empty between records"),
                Field("validation/*", "number", "the same on the validation part"),
            ),
        ),
    ),
)

TEACHER = Artifact(
    title="Teacher folder",
    place="results/teacher/<node>-s<seed>",
    meaning=(
        "Written by `teacher`, read by `distill`: what a flow made of noise. The noise is not "
        "stored, since (seed, condition, draw) gives it again."
    ),
    module="weir.artifacts.teacher_folder",
    files=(
        File(teacher_folder.CARD, "how it was made", fields_of(teacher_folder.TeacherCard)),
        File.of(teacher_folder.ITEMS),
        File.of(teacher_folder.OUTPUT),
        File.of(teacher_folder.KNOTS),
    ),
)

EVALUATION = Artifact(
    title="Evaluation",
    place="results/evaluate/<node>-s<seed>",
    meaning="Written by `evaluate` of what the task found, read by `report`.",
    module="weir.artifacts.evaluation",
    files=(
        File(evaluation.METRICS, "the metrics of `evaluation.json` alone"),
        File(evaluation.CURVE, "what `dvc plots` draws; its columns are the task's"),
        File(evaluation.DOCUMENT, "what was evaluated, and the scores", evaluation.KEYS),
        File(
            "details/*.parquet",
            "tables that the task's figures draw, and `losses`, the model's `history.csv`",
        ),
        File("details/*", "other files of the task: `cells.h5ad`, `grid.png`"),
    ),
)

PROVENANCE = Artifact(
    title="Provenance",
    place="results/provenance/<stage>/<run>",
    meaning=(
        "Written by every stage after `preprocess`, read by `report` and `weir scores`: what is "
        "true of a run and no part of its result. DVC does not store it; a clone has none."
    ),
    module="weir.artifacts.provenance",
    files=(
        File(
            "<digest>.json",
            "the record of the output of that digest (SHA-256, 16 digits)",
            provenance.KEYS,
        ),
        File(
            "<digest>.json: times",
            "of an evaluation, what was measured",
            evaluation.TIMES,
        ),
    ),
)

BEFORE, AFTER = (RAW,), (MODEL, TEACHER, EVALUATION, PROVENANCE)
"""Artifacts above and below the processed folders, which are each task's own."""


def processed(task: str, schema: type, files: tuple[File, ...]) -> Artifact:
    """The processed folder of a task.

    Args:
        task: its name.
        schema: its `SchemaFile`.
        files: beside `schema.json`.
    """
    return Artifact(
        title=f"Processed folder, task `{task}`",
        place="data/processed/<dataset>",
        meaning="Written by `preprocess`, read by every stage that computes.",
        module=schema.__module__,
        files=(File(SCHEMA, "what the data is", fields_of(schema)), *files),
    )
