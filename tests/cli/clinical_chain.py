"""A tiny pipeline of simulated clinical records, and its stages in order."""

PARAMS = """\
seeds: [0]
datasets:
  ward:
    task: clinical
    source: {simulator: {patients: 120, hours: 8, prevalence: 0.4, particles: 10}}
    outcome: in_hospital_mortality
    min_records: 5
    subgroups: {sex: {prefix: GENDER//}}
stage1:
  sets:
    dataset: ward
    network: {width: 8, d_latent: 4, knots: 4, heads: 2}
    training: &short {steps: 4, batch_size: 16, validate_every: 2}
stage2:
  head: {stage1: sets, model: head, head: {hidden: 8, members: 2}, training: *short}
  flow:
    stage1: sets
    outcomes: drawn
    grid: {bins: 4}
    flow_network: {code: 4, noise: 2, components: 2, width: 8, layers: 1}
    training: *short
baseline:
  boosting: {method: boosting, dataset: ward, boosting: &few {trees: 5, leaves: 3, min_leaf: 5}}
  stacked: {method: stacked, model: stage2/head, boosting: *few, weight: 0.5}
  told: {method: stacked, model: stage1/sets, representation: true, boosting: *few, weight: 0.0}
  gru: {method: gru_d, dataset: ward, grid: {bins: 4}, network: {hidden: 4}, training: *short}
  last: {method: last_value, dataset: ward, grid: {bins: 4}}
  oracle: {method: oracle, dataset: ward}
  seen: {method: oracle, dataset: ward, knows: events}
evaluate:
  sets: &quick {model: stage1/sets, samples: 4, bootstrap: 20, bins: 4, min_positives: 2}
  head: {<<: *quick, model: stage2/head}
  flow: {<<: *quick, model: stage2/flow, cohorts: 2}
  boosting: {<<: *quick, model: baseline/boosting}
  gru: {<<: *quick, model: baseline/gru}
  stacked: {<<: *quick, model: baseline/stacked}
  told: {<<: *quick, model: baseline/told}
  last: {<<: *quick, model: baseline/last}
  oracle: {<<: *quick, model: baseline/oracle}
  seen: {<<: *quick, model: baseline/seen}
"""

CHAIN = [
    "fetch ward",
    "preprocess ward",
    "stage1 sets --seed 0",
    *(f"stage2 {name} --seed 0" for name in ("head", "flow")),
    *(f"baseline {name} --seed 0" for name in ("boosting", "gru", "stacked", "told")),
    *(f"baseline {name}" for name in ("last", "oracle", "seen")),
    *(f"evaluate {name} --seed 0" for name in ("sets", "head", "flow", "boosting", "gru")),
    *(f"evaluate {name} --seed 0" for name in ("stacked", "told")),
    *(f"evaluate {name}" for name in ("last", "oracle", "seen")),
]
