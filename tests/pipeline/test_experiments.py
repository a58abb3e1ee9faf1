"""`dvc exp run -S`, as the documentation has it: any setting, one line, and the plan in step."""

from __future__ import annotations

import pytest
from checkout import STAGES, STUDENT, Checkout

pytestmark = pytest.mark.pipeline


def changed_lines(checkout: Checkout) -> list[str]:
    """Lines of params.yaml that are not as they were committed."""
    text = checkout.run("git", "diff", "--unified=0", "params.yaml")
    return [
        line for line in text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]


def executed(text: str) -> set[str]:
    return {name for name in STAGES if f"Running stage '{name}'" in text}


def test_a_default_and_a_method_are_set_in_one_line_each(checkout: Checkout) -> None:
    """Neither stands in the file, and the method is another kind of model."""
    setting = "++distill.student.training.weight_decay=0.01"
    assert executed(checkout.dvc("exp", "run", "-S", setting)) == STUDENT
    assert changed_lines(checkout) == ["+      weight_decay: 0.01"]
    assert checkout.stale() == set()

    text = checkout.dvc("exp", "run", "-S", "++distill.student.method=energy")
    assert executed(text) == STUDENT, "the plan is brought in step on the way"
    lines = ["+      weight_decay: 0.01", "+    method: energy"]
    assert sorted(changed_lines(checkout)) == sorted(lines)
    checkout.run("weir", "plan", "--check")
    assert checkout.stale() == set()
    assert checkout.planned() == set()


def test_other_runs_are_for_the_next_command(checkout: Checkout) -> None:
    words = ["exp", "run", "-S", "seeds=[0,1]"]
    text = checkout.dvc(*words, ok=False)
    assert "params.yaml asks for other runs than those that DVC has read; it is written" in text
    assert executed(text) == set()
    checkout.run("weir", "plan", "--check")
    text = checkout.dvc(*words)
    assert "Running stage 'distill@student-s1'" in text
    assert executed(text) == {"report@all"}
    assert checkout.stale() == set()


def test_an_experiment_apart_says_where_to_edit_the_graph(checkout: Checkout) -> None:
    """Its copy is gone with it, so that to run it again would end the same."""
    text = checkout.dvc("exp", "run", "--temp", "-S", "seeds=[0,1]", ok=False)
    assert "edit params.yaml in the repository instead of passing -S, run `weir plan`" in text
    assert changed_lines(checkout) == []
    checkout.edit("params.yaml", "seeds:\n- 0\n", "seeds:\n- 0\n- 1\n")
    checkout.run("weir", "plan")
    assert "Running stage 'distill@student-s1'" in checkout.dvc("exp", "run", "--temp")
