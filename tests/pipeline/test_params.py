"""params.yaml as a graph: what is accepted, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.errors import UserError
from weir.pipeline.params.graph import load_params
from weir.pipeline.params.yaml_file import read_yaml
from weir.stage_table import SECTIONS

GOOD = """\
seeds: [0, 1]
datasets:
  river:
    task: forecast
    source: {simulator: {seed: 0}}
    frequency: 1h
stage1:
  back:
    dataset: river
    training: {steps: 10}
stage2:
  flow: {stage1: back}
teacher:
  flow: {model: stage2/flow}
distill:
  student: {teacher: flow}
baseline:
  naive: {method: seasonal_naive, dataset: river}
evaluate:
  student: {model: distill/student}
  naive: {model: baseline/naive}
report:
  index: {}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "params.yaml"

    return write


def test_chain_inherits_task_dataset_and_seeds(write) -> None:
    params = load_params(write(GOOD))
    student = params.node("evaluate", "student")
    assert (student.task, student.dataset, student.seeded) == ("forecast", "river", True)
    assert student.upstream == ("distill/student",)
    assert not params.node("evaluate", "naive").seeded
    assert params.node("report", "index").upstream == ("evaluate/student", "evaluate/naive")
    assert params.unused() == []


def test_upstream_comes_first(write) -> None:
    nodes = load_params(write(GOOD)).nodes
    order = list(nodes)
    for node in nodes.values():
        for ref in node.upstream:
            assert order.index(ref) < order.index(node.ref)


def test_unused_nodes_are_named(write) -> None:
    text = GOOD.replace("stage2:\n", "  spare: {dataset: river}\nstage2:\n")
    assert load_params(write(text)).unused() == ["stage1/spare"]


def test_order_and_comments_do_not_matter(write) -> None:
    first = load_params(write(GOOD))
    blocks = read_yaml(first.path)
    from ruamel.yaml import YAML

    with first.path.open("w") as file:
        file.write("# a comment\n")
        YAML().dump(dict(reversed(blocks.items())), file)
    second = load_params(first.path)
    assert {ref: node.config for ref, node in first.nodes.items()} == {
        ref: node.config for ref, node in second.nodes.items()
    }


BAD = [
    ("dataset: river\n    tr", "dataset: rivr\n    tr", 9, "did you mean 'river'?"),
    ("stage1: back", "stage1: bakc", 12, "did you mean 'back'?"),
    ("model: stage2/flow", "model: stage3/flow", 14, "stage3"),
    ("model: distill/student", "model: distill/pupil", 20, "distill has no node 'pupil'"),
    ("model: distill/student", "model: student", 20, "write it as section/name"),
    ("training: {steps: 10}", "training: {step: 10}", 10, "did you mean 'steps'?"),
    ("training: {steps: 10}", "training: {steps: -1}", 10, "greater than 0"),
    ("training: {steps: 10}", "training: {steps: ten}", 10, "integer"),
    ("training: {steps: 10}", "training: {learning_rate: .nan}", 10, "finite"),
    ("frequency: 1h", "frequncy: 1h", 6, "did you mean 'frequency'?"),
    ("task: forecast", "task: forcast", 4, "did you mean 'forecast'?"),
    ("method: seasonal_naive", "method: naive", 18, "seasonal_naive"),
    (
        "seasonal_naive, dataset: river",
        "gaussian, dataset: river",
        18,
        "needs `stage1` and no `dataset`",
    ),
    ("seeds: [0, 1]", "seeds: [0, 0]", 1, "different whole numbers"),
    ("seeds: [0, 1]", "seeds: 3", 1, "different whole numbers"),
    ("distill:", "destill:", 15, "did you mean 'distill'?"),
    ("  student: {teacher: flow}", "  Student: {teacher: flow}", 16, "no node name"),
    ("  student: {teacher: flow}", "  student-s1: {teacher: flow}", 16, "ends like a seed"),
    ("  student: {teacher: flow}", "  student-f3: {teacher: flow}", 16, "ends like a fold"),
    ("  student: {teacher: flow}", "  student: 3", 16, "mapping of settings"),
    ("  student: {teacher: flow}", "  student: {}", 16, "names no upstream node"),
    ("  index: {}", "  index: {evaluate: [nobody]}", 23, "evaluate has no node 'nobody'"),
    ("  flow: {stage1: back}", "  flow: {stage1: back}\n  flow: {stage1: back}", 13, "duplicate"),
    ("seeds: [0, 1]", "seeds: [0, 1", None, "fix the YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "words"), BAD, ids=[row[1][:40] for row in BAD])
def test_a_mistake_gets_one_line_with_its_place(write, old, new, line, words) -> None:
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_params(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"params.yaml:{line}:" if line else "params.yaml")
    assert words in message


def test_a_node_cannot_name_itself_or_a_later_section(write) -> None:
    """Upstream nodes are of earlier sections only, so there is no cycle to be found."""
    text = GOOD.replace("flow: {model: stage2/flow}", "flow: {model: distill/student}")
    with pytest.raises(UserError, match="distill"):
        load_params(write(text))


@pytest.mark.parametrize("content", ["", "- a\n", "just words\n"])
def test_not_a_mapping(write, content: str) -> None:
    with pytest.raises(UserError, match="mapping of sections"):
        load_params(write(content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_params(tmp_path / "absent.yaml")


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"seeds: [0]\n# \xff\n")
    with pytest.raises(UserError, match="UTF-8"):
        load_params(tmp_path / "p.yaml")


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_in_one_line(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_params(path)
    except UserError as error:
        assert "\n" not in str(error)


@given(st.sampled_from(SECTIONS), st.text(max_size=12), st.text(max_size=20))
def test_any_node_is_parsed_or_refused_in_one_line(tmp_path_factory, section, name, value) -> None:
    from ruamel.yaml import YAML

    path = tmp_path_factory.mktemp("fuzz") / "params.yaml"
    with path.open("w", encoding="utf-8", errors="replace") as file:
        YAML().dump({section: {name: {"model": value, "dataset": value}}}, file)
    try:
        load_params(path)
    except UserError as error:
        assert "\n" not in str(error)
