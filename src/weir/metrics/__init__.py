"""Proper scores, calibration and tests of samples: tensors in, tensors out, nothing of tasks.

| module | what |
|---|---|
| `ensembles` | members in order, quantiles |
| `scores` | fair CRPS, energy and variogram score, weighted quantile loss |
| `calibration` | coverage, PIT, reliability, spread |
| `classification` | AUROC, AUPRC, Brier score, reliability, bootstrap |
| `two_sample` | classifier two-sample test |
| `paired` | block-bootstrap interval of a difference |
"""
