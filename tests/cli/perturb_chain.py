"""A tiny pipeline of perturbed cells with two held-out groups, and every stage in order."""

PARAMS = """\
seeds: [0]
datasets:
  dish:
    task: perturb
    source:
      simulator:
        cells: 300
        genes: 30
        cell_types: 3
        batches: 2
        perturbations: 2
        doses: [2.0]
        combinations: 1
    obs: {dose: dose, cell_type: cell_type, batch: batch}
    match: [cell_type]
    components: 5
    held_out: {design: leave_group_out, by: cell_type, groups: [type1, type2]}
stage1:
  vae:
    dataset: dish
    network: &small {d_int: 4, d_tech: 2, hidden: 8}
    training: &short {steps: 4, batch_size: 32, validate_every: 2}
stage2:
  edit: {stage1: vae, field: &field {width: 8, layers: 1, basis: 2}, training: *short}
  new: {stage1: vae, source: noise, field: *field, training: *short}
joint:
  both: {dataset: dish, network: *small, field: *field, training: *short}
teacher:
  edit: {model: stage2/edit, steps: 2, draws: 2, conditions: 30}
distill:
  onestep: {teacher: edit, draws: 2, training: *short}
baseline:
  additive: {method: additive, dataset: dish}
  scgen: {method: latent_delta, stage1: vae}
  half: {method: split_half, dataset: dish}
  oracle: {method: oracle, dataset: dish}
evaluate:
  vae: {model: stage1/vae}
  edit: &short-evaluation {model: stage2/edit, samples: 20, steps: 2, quality_steps: [1]}
  new: {model: stage2/new, samples: 20, steps: 2}
  abduction: {model: stage2/new, samples: 20, steps: 2, estimand: edit}
  both: {model: joint/both, samples: 20, steps: 2}
  onestep: {model: distill/onestep, samples: 20}
  additive: {model: baseline/additive, samples: 20}
  scgen: {model: baseline/scgen, samples: 20}
  half: {model: baseline/half, samples: 20}
  oracle: {model: baseline/oracle, samples: 20}
report:
  index: {title: Tiny}
"""

_SEEDED = [
    "stage1 vae",
    "stage2 edit",
    "stage2 new",
    "joint both",
    "teacher edit",
    "distill onestep",
    *(f"baseline {name}" for name in ("scgen", "half")),
    *(
        f"evaluate {name}"
        for name in ("vae", "edit", "new", "abduction", "both", "onestep", "scgen", "half")
    ),
]
_UNSEEDED = [
    f"{stage} {name}" for name in ("additive", "oracle") for stage in ("baseline", "evaluate")
]

CHAIN = [
    "fetch dish",
    "preprocess dish --fold 0",
    *(f"{stage} --fold 0 --seed 0" for stage in _SEEDED),
    *(f"{stage} --fold 0" for stage in _UNSEEDED),
    "preprocess dish --fold 1",
    *(
        f"{stage} --fold 1 --seed 0"
        for stage in ("stage1 vae", "stage2 edit", "evaluate vae", "evaluate edit")
    ),
    "report index",
]
"""The second fold only as far as it takes to see that it is another one."""
