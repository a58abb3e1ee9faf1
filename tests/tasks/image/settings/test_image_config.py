"""Nodes of the image task: what belongs to which model, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from weir.errors import UserError
from weir.pipeline.params.graph import load_params
from weir.tasks.image.settings.models import ImageStage1, ImageStage2
from weir.tasks.image.settings.scoring import ImageEvaluate

CHAIN = """\
datasets:
  digits: {task: image, source: {bundled: digits}}
stage1:
  pixels: {dataset: digits}
stage2:
  flow: {stage1: pixels, density: {transform: affine, layers: 3}, drop_class: 0.1}
  denoiser: {stage1: pixels, model: denoiser, network: {kind: mlp}}
  matching: {stage1: pixels, model: matching, time_sampling: logit_normal}
  plain: {stage1: pixels, model: plain, plain: {activation: swish, leak: 0.1}}
teacher:
  flow: {model: stage2/flow}
distill:
  student: {teacher: flow}
evaluate:
  flow: {model: stage2/flow, solver: ancestral, steps: 50, guidance: 1.5}
  student: {model: distill/student, steps: 1}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_chain_of_every_model_is_understood(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, CHAIN))
    assert {node.task for node in params.nodes.values()} == {"image"}
    assert not params.node("stage1", "pixels").seeded
    assert params.node("stage2", "flow").seeded and params.node("evaluate", "student").seeded


def test_a_joint_node_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, CHAIN + "joint:\n  both: {dataset: digits}\n")
    with pytest.raises(UserError) as caught:
        load_params(path)
    text = str(caught.value)
    assert "joint.both: task image has no joint nodes; its sections are datasets, stage1" in text
    assert "\n" not in text and ":18:" in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "teacher:\n  flow: {model: stage2/flow}\ndistill:\n  student: {teacher: flow}",
            "teacher:\n  flow: {model: stage2/matching}\ndistill:\n"
            "  student: {teacher: flow, student: {kind: mlp}}",
            "distill.student: student is for teachers of model flow; the student of a matching",
        ),
        (
            "pixels: {dataset: digits}\nstage2:\n  flow: {stage1: pixels, density: {transform: "
            "affine, layers: 3}, drop_class: 0.1}",
            "pixels: {dataset: digits, model: vae}\nstage2:\n"
            "  flow: {stage1: pixels, density: {convolved: true, levels: 2}, drop_class: 0.1}",
            "stage2.flow: density.levels: only pixels have grey levels",
        ),
    ],
    ids=["student", "levels"],
)
def test_nodes_that_do_not_go_together_are_an_error_of_one_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in CHAIN
    with pytest.raises(UserError) as caught:
        load_params(write(tmp_path, CHAIN.replace(old, new)))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "denoiser", "density": {"layers": 5}}, "density is not for model denoiser"),
        ({"model": "matching", "noise": {"rho": 5.0}}, "noise is not for model matching"),
        ({"model": "plain", "drop_class": 0.1}, "drop_class is not for model plain"),
        ({"guidance": 1.0}, "set drop_class"),
        ({"weights": {"likelihood": 0, "matching": 0}}, "above 0"),
        ({"noise": {"sigma_min": 2.0, "sigma_max": 1.0}}, "sigma_min must be below"),
        ({"model": "plain", "plain": {"activation": "swish", "leak": 0.09}}, r"above \.0908"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ImageStage2.model_validate({"stage1": "s"} | settings)


def test_pixels_take_no_training() -> None:
    with pytest.raises(ValidationError, match="training is for model vae only"):
        ImageStage1.model_validate({"dataset": "d", "training": {"steps": 5}})
    assert ImageStage1.model_validate({"dataset": "d", "model": "vae"}).seeded


def test_an_evaluation_leaves_guidance_to_the_model() -> None:
    node = ImageEvaluate.model_validate({"model": "stage2/flow"})
    assert node.guidance is None and node.samples == 100


@pytest.mark.parametrize("sigmas", [[], [1.0, 1.0]])
def test_a_table_of_noises_has_some_and_each_once(sigmas: list[float]) -> None:
    with pytest.raises(ValidationError, match="sigmas must name one noise at least"):
        ImageEvaluate.model_validate({"model": "stage2/flow", "sigmas": sigmas})


def test_a_student_jumps_once_unless_told_otherwise() -> None:
    nodes: list[dict[str, Any]] = [
        {"model": "distill/student"},
        {"model": "distill/student", "steps": 4},
        {"model": "stage2/flow"},
    ]
    assert [ImageEvaluate.model_validate(node).steps for node in nodes] == [1, 4, 18]
