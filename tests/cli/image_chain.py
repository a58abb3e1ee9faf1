"""A tiny pipeline of the bundled digits and of points with a known law, every stage in order."""

PARAMS = """\
seeds: [0]
datasets:
  digits: {task: image, source: {bundled: digits}, judge: {steps: 10, width: 4}}
  moons: {task: image, source: {simulator: {kind: moons, points: 300}}}
stage1:
  pixels: {dataset: digits}
  vae:
    dataset: digits
    model: vae
    network: {channels: 2, width: 4}
    training: &short {steps: 4, batch_size: 32, validate_every: 2}
  plane: {dataset: moons}
stage2:
  flow:
    stage1: pixels
    density: &density {hidden: [16, 16], components: 2, layers: 2}
    drop_class: 0.1
    training: *short
  denoiser: {stage1: pixels, model: denoiser, network: {width: 8}, training: *short}
  matching:
    stage1: pixels
    model: matching
    network: &mlp {kind: mlp, width: 8}
    training: *short
  plain: {stage1: pixels, model: plain, plain: {activation: tanh}, training: *short}
  latent: {stage1: vae, model: denoiser, network: *mlp, training: *short}
  points:
    stage1: plane
    density: *density
    training: *short
teacher:
  flow: {model: stage2/flow, steps: 4, draws: 2, conditions: 40, knots: 2}
  denoiser: {model: stage2/denoiser, steps: 2, draws: 2, conditions: 40}
distill:
  onestep: {teacher: flow, student: *mlp, method: endpoint, draws: 2, training: *short}
  copied: {teacher: denoiser, draws: 2, training: *short}
evaluate:
  flow: &tiny {model: stage2/flow, samples: 10, steps: 2, pictures: 2}
  direct: {<<: *tiny, solver: direct}
  guided: {<<: *tiny, solver: ancestral, guidance: 1.0}
  denoiser: {<<: *tiny, model: stage2/denoiser, solver: euler, quality_steps: [1]}
  matching: {<<: *tiny, model: stage2/matching}
  plain: {<<: *tiny, model: stage2/plain}
  latent: {<<: *tiny, model: stage2/latent}
  points: {<<: *tiny, model: stage2/points}
  onestep: {<<: *tiny, model: distill/onestep, steps: 1}
  copied: {<<: *tiny, model: distill/copied, steps: 1}
report:
  index: {title: Tiny}
"""

STAGE2 = ("flow", "denoiser", "matching", "plain", "latent", "points")

CHAIN = [
    *(f"{stage} {name}" for name in ("digits", "moons") for stage in ("fetch", "preprocess")),
    *("stage1 pixels", "stage1 vae --seed 0", "stage1 plane"),
    *(f"stage2 {name} --seed 0" for name in STAGE2),
    *("teacher flow --seed 0", "teacher denoiser --seed 0"),
    *("distill onestep --seed 0", "distill copied --seed 0"),
    *(f"evaluate {name} --seed 0" for name in (*STAGE2, "direct", "guided", "onestep", "copied")),
    "report index",
]
