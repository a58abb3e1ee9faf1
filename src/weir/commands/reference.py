"""Files generated from typed models by `weir params schema`: schema, settings, artifacts, graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from weir.artifacts.catalogue import AFTER, BEFORE, processed
from weir.artifacts.description import Field
from weir.errors import UserError
from weir.files import write_atomically
from weir.pipeline.params.graph import load_params
from weir.settings.base import Config
from weir.settings.nodes import Report
from weir.stage_table import SECTIONS
from weir.tasks import TASKS, has_part, part

SCHEMA = "workflow/schemas/params.schema.json"
REFERENCE = "docs/params.md"
ARTIFACTS = "docs/artifacts.md"
PICTURE, PICTURED = "docs/dag.svg", "config/quickstart.yaml"


def section_models() -> dict[str, dict[str, type[Config]]]:
    """The typed node of each section, by task; reports have none."""
    models: dict[str, dict[str, type[Config]]] = {section: {} for section in SECTIONS}
    for task in TASKS:
        for section, model in part(task, "settings.sections").SECTIONS.items():
            models[section][task] = model
    models["report"] = {"": Report}
    return models


def schema() -> dict[str, Any]:
    """JSON schema of a whole params.yaml, for editors that complete and check as one types."""
    models = section_models()
    distinct = list(dict.fromkeys(model for tasks in models.values() for model in tasks.values()))
    references, definitions = models_json_schema(
        [(model, "validation") for model in distinct], ref_template="#/$defs/{model}"
    )
    properties: dict[str, Any] = {
        "seeds": {
            "description": "Every trained chain is repeated for each of these seeds.",
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "uniqueItems": True,
            "default": [0],
        }
    }
    for section, tasks in models.items():
        variants = [references[(model, "validation")] for model in dict.fromkeys(tasks.values())]
        properties[section] = {
            "description": f"Nodes of the section {section}, by name.",
            "type": ["object", "null"],
            "additionalProperties": variants[0] if len(variants) == 1 else {"anyOf": variants},
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Weir params.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions["$defs"],
    }


def reference() -> str:
    """Every setting as Markdown: section, task, key, type, default, meaning."""
    lines = [
        "# Settings of params.yaml",
        "",
        "Generated from the typed models by `weir params schema`; a test keeps it in step.",
        "`seeds` at the top lists the seeds for which every trained chain is repeated.",
    ]
    for section, tasks in section_models().items():
        lines += ["", f"## {section}"]
        for task, model in tasks.items():
            lines += ["", f"### {section}, task `{task}`" if task else "### every task", ""]
            lines += [
                _first_line(model),
                "",
                "| key | type | default | meaning |",
                "|---|---|---|---|",
            ]
            lines += _rows(model)
    return "\n".join(lines) + "\n"


def artifacts() -> str:
    """Every artifact as Markdown: files, keys or columns, types, meaning."""
    own = [
        processed(
            task,
            part(task, "data.schema").Schema,
            part(task, "data.description").FILES if has_part(task, "data.description") else (),
        )
        for task in TASKS
    ]
    lines = [
        "# What stages leave for one another",
        "",
        "Generated from the descriptions in `src/weir/artifacts` by `weir params schema`; a test "
        "keeps it in step.",
        "Each is checked when it is written and when it is read: what is damaged is one line that "
        "names file and field. Nothing in them tells when and where they were made: that is the "
        "provenance, at the end.",
    ]
    for artifact in (*BEFORE, *own, *AFTER):
        lines += ["", f"## {artifact.title}", "", f"`{artifact.place}`, `{artifact.module}`"]
        lines += ["", artifact.meaning, "", "| file | what |", "|---|---|"]
        for file in artifact.files:
            kind = f"{file.format}: " if file.format else ""
            lines.append(f"| `{file.name}` | {kind}{file.meaning} |")
        for file in artifact.files:
            if file.fields:
                lines += ["", f"`{file.name}`:", "", "| key | type | meaning |", "|---|---|---|"]
                lines += [_row(field) for field in file.fields]
    return "\n".join(lines) + "\n"


def _row(field: Field) -> str:
    kind = field.kind if field.required else f"{field.kind}, optional"
    return f"| `{field.name}` | {kind} | {field.meaning} |"


def picture(params: Path) -> str:
    """The graph of a params.yaml as SVG."""
    from weir.pipeline.runs import runs
    from weir.report.graph.nodes import PlanGraph
    from weir.report.graph.svg import dag_svg

    every = runs(load_params(params))
    nodes = [
        {
            "id": run.ref,
            "section": run.node.section,
            "name": run.node.name,
            "seed": run.seed if run.node.seeded else None,
        }
        for run in every.values()
    ]
    edges = [(above, run.ref) for run in every.values() for above in run.upstream]
    return dag_svg(PlanGraph.of({"nodes": nodes, "edges": edges}))


def write_reference(root: Path, *, check: bool = False) -> list[Path]:
    """Write schema, references and picture below `root`; with `check` only compare.

    Raises:
        UserError: `check`, and a file is out of step.
    """
    contents = {
        root / SCHEMA: json.dumps(schema(), indent=1, sort_keys=True) + "\n",
        root / REFERENCE: reference(),
        root / ARTIFACTS: artifacts(),
        root / PICTURE: picture(root / PICTURED).rstrip("\n") + "\n",
    }
    for path, text in contents.items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise UserError(f"{path}: out of step with the models; run `weir params schema`")
        if not check:
            write_atomically(path, text)
    return list(contents)


def _rows(model: type[Config], prefix: str = "", given: Config | None = None) -> list[str]:
    """Rows of a model's settings.

    Args:
        model: whose settings.
        prefix: of their keys.
        given: the default of a block, whose settings may differ from its model's.
    """
    rows = []
    definition = model.model_json_schema(ref_template="{model}")
    for key, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if len(nested) == 1 and not field.is_required() and field.default is not None:
            block = getattr(given, key, field.get_default(call_default_factory=True))
            rows.append(f"| `{prefix}{key}` | block | | {field.description or ''} |")
            rows += _rows(nested[0], f"{prefix}{key}.", block)
            continue
        default = "required"
        if not field.is_required():
            value = getattr(given, key, field.get_default(call_default_factory=True))
            default = _shown(value)
        kind = _kind(definition["properties"][key])
        rows.append(f"| `{prefix}{key}` | {kind} | {default} | {field.description or ''} |")
        for inner in nested:
            rows += _rows(inner, f"{prefix}{key}.")
    return rows


def _nested(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [model for item in getattr(annotation, "__args__", ()) for model in _nested(item)]


def _kind(definition: dict[str, Any]) -> str:
    if "enum" in definition:
        return ", ".join(f"`{item}`" for item in definition["enum"])
    if "const" in definition:
        return f"`{definition['const']}`"
    if variants := definition.get("anyOf") or definition.get("oneOf"):
        return " or ".join(_kind(item) for item in variants)
    if "$ref" in definition:
        return "block"
    name = definition.get("type", "any")
    if name == "array":
        items = definition.get("items")
        return f"list of {_kind(items)}" if isinstance(items, dict) else "list"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {definition[key]:g}" for key, sign in bounds.items() if key in definition]
    return " ".join([name, ", ".join(limits)]).strip()


def _shown(value: Any) -> str:
    if isinstance(value, Config):
        return ""
    return f"`{json.dumps(value, default=str)}`"


def _first_line(model: type[Config]) -> str:
    return " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split())
