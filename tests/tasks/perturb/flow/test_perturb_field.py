"""The velocity field: base untouched without a perturbation, shapes, step-size input."""

from __future__ import annotations

import pytest
import torch

from weir.tasks.perturb.flow.field import PerturbationField


def field(base: bool = True) -> PerturbationField:
    torch.manual_seed(0)
    model = PerturbationField(3, 4, 5, base=base, basis=2, width=16, layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def inputs(items: int = 6, draws: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "x": torch.randn(items, draws, 3),
        "t": torch.rand(items, draws),
        "base": torch.randn(items, 4),
        "effect": torch.randn(items, 4),
        "alpha": torch.randn(items, 5),
    }


def test_new_field_is_zero() -> None:
    model = PerturbationField(3, 4, 5, base=True, width=16)
    assert not model(**inputs()).any()


def test_alpha_zero_leaves_the_base_to_the_bit() -> None:
    model, given = field(), inputs()
    given["alpha"] = torch.zeros(6, 5)
    expected = model.base(given["x"], given["t"], given["base"])
    assert torch.equal(model(**given), expected)
    assert expected.abs().sum() > 0


def test_without_base_alpha_zero_is_no_motion() -> None:
    given = inputs()
    given["alpha"] = torch.zeros(6, 5)
    assert field(base=False)(**given).eq(0).all()


def test_velocity_is_linear_in_alpha() -> None:
    model, given = field(base=False), inputs()
    once, twice = model(**given), model(**(given | {"alpha": 2 * given["alpha"]}))
    torch.testing.assert_close(twice, 2 * once)


def test_state_scales_what_depends_on_the_cell_and_nothing_else() -> None:
    model, given = field(), inputs()
    parts = model.parts(**given)
    assert torch.equal(parts.alike, parts.alike[:, :1].expand_as(parts.alike))
    assert (parts.state[:, 0] - parts.state[:, 1]).abs().min() > 0
    for state in (0.0, 0.4, 1.0):
        model.state = state
        torch.testing.assert_close(model(**given), parts.base + parts.alike + state * parts.state)


def test_without_state_there_is_no_network_for_it() -> None:
    model = PerturbationField(3, 4, 5, state=0.0)
    assert model.basis is None and model(**inputs()).shape == (6, 2, 3)
    model.add_step()


def test_base_context_moves_the_base_alone_and_effect_context_the_rest() -> None:
    model, given = field(), inputs()
    zero = given | {"alpha": torch.zeros(6, 5)}
    assert torch.equal(model(**zero), model(**(zero | {"effect": given["base"]})))
    moved = model(**given) - model(**zero)
    other = given | {"base": given["effect"]}
    torch.testing.assert_close(
        model(**other) - model(**(other | {"alpha": torch.zeros(6, 5)})), moved
    )


@pytest.mark.parametrize("shape", [(), (6,), (6, 2)])
def test_times_may_be_shared(shape: tuple[int, ...]) -> None:
    model, given = field(), inputs()
    t = torch.rand(shape)
    full = t.reshape(*shape, *(1,) * (2 - len(shape))).expand(6, 2)
    torch.testing.assert_close(model(**(given | {"t": t})), model(**(given | {"t": full})))


def test_step_input_starts_silent_and_is_refused_without_a_student() -> None:
    model, given = field(), inputs()
    with pytest.raises(ValueError, match="build it as a student"):
        model(**given, step=torch.tensor(1.0))
    before = model(**given)
    model.add_step()
    torch.testing.assert_close(model(**given, step=torch.tensor(0.7)), before)
    model.basis.step.layers[-1].weight.data.fill_(0.1)
    assert not torch.equal(model(**given, step=torch.tensor(0.7)), before)
