"""Generated files are in step with the models they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weir.commands.reference import artifacts, reference, section_models, write_reference
from weir.errors import UserError
from weir.pipeline.params.graph import load_params

ROOT = Path(__file__).resolve().parents[2]


def test_schema_references_and_picture_are_in_step() -> None:
    """Where this fails: `weir params schema`."""
    write_reference(ROOT, check=True)


def test_a_file_out_of_step_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/quickstart.yaml").write_text((ROOT / "config/quickstart.yaml").read_text())
    with pytest.raises(UserError, match="`weir params schema`"):
        write_reference(tmp_path, check=True)
    write_reference(tmp_path)
    write_reference(tmp_path, check=True)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_is_valid_and_uses_all_its_nodes(path: Path) -> None:
    assert load_params(path).unused() == []
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")


def test_the_current_params_are_the_quickstart() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "config/quickstart.yaml").read_text()


def test_the_schema_accepts_the_presets_and_refuses_unknown_keys() -> None:
    """A light check with the schema itself: every key of every node is one of its properties."""
    schema = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
    definitions = schema["$defs"]
    for section, models in section_models().items():
        allowed = {field for model in models.values() for field in model.model_fields}
        extra = schema["properties"][section]["additionalProperties"]
        names = [extra["$ref"]] if "$ref" in extra else [item["$ref"] for item in extra["anyOf"]]
        listed = {
            key for name in names for key in definitions[name.rpartition("/")[2]]["properties"]
        }
        assert listed == allowed
        assert all(
            definitions[name.rpartition("/")[2]]["additionalProperties"] is False for name in names
        )


def test_every_setting_is_described() -> None:
    for models in section_models().values():
        for model in models.values():
            for name, field in model.model_fields.items():
                assert field.description, f"{model.__name__}.{name}"


def test_every_artifact_is_described_to_its_last_key() -> None:
    text = artifacts()
    assert text.count("\n## ") == 9
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 100 and not [row for row in rows if row.endswith("|  |")]
    assert "| `files[].sha256` | text | of its content |" in rows
    assert "| `knots.npy` | float32 `[condition, draw, knot, *event]`: states between" in text


def test_a_block_shows_its_own_defaults() -> None:
    """A training block may begin with other values than `Training` has."""
    text = reference()
    section = text[text.index("### baseline, task `clinical`") :].partition("\n### ")[0]
    assert "| `training.steps` | integer > 0 | `600` |" in section
    assert "| `training.accumulate` | integer > 0 | `1` |" in section
