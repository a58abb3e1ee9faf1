"""Defaults have one owner, the settings: where a constructor has one as well, it is the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.regression import EndpointObjective, RegressionObjective
from weir.flows.edm import NoiseRange
from weir.settings.nodes import Distill
from weir.tasks.clinical.baselines.constants import Oracle as ClinicalOracle
from weir.tasks.clinical.baselines.gru_d import GRUD
from weir.tasks.clinical.baselines.logistic import Logistic
from weir.tasks.clinical.baselines.stacked import Stacked
from weir.tasks.clinical.flow.bin_decoder import BinDecoder
from weir.tasks.clinical.flow.items import Masks
from weir.tasks.clinical.flow.joint import JointObjective as ClinicalJointObjective
from weir.tasks.clinical.flow.loss import FlowObjective
from weir.tasks.clinical.flow.record_flow import RecordCode, RecordFlow
from weir.tasks.clinical.heads.head import OutcomeHead
from weir.tasks.clinical.representation.member_head import MemberHead
from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
from weir.tasks.clinical.settings import baseline as clinical_baseline
from weir.tasks.clinical.settings import flow as clinical_flow
from weir.tasks.clinical.settings import models as clinical
from weir.tasks.forecast.flow import joint as forecast_joint
from weir.tasks.forecast.flow.network import VariateVelocity
from weir.tasks.forecast.flow.residual_flow import ResidualFlow, fit_source, set_source
from weir.tasks.forecast.flow.stage2 import Stage2Objective as ForecastStage2Objective
from weir.tasks.forecast.representation.heads import LinearForecaster
from weir.tasks.forecast.representation.itransformer import ITransformer
from weir.tasks.forecast.representation.stage1 import Stage1Objective as ForecastStage1Objective
from weir.tasks.forecast.settings import models as forecast
from weir.tasks.image.density.coarse_law import CoarseToFine
from weir.tasks.image.density.density import Density
from weir.tasks.image.flow.denoiser import DenoiserObjective, EventNetwork
from weir.tasks.image.flow.image_flow import ImageFlow
from weir.tasks.image.flow.matching import MatchingObjective
from weir.tasks.image.flow.plain_flow import PlainFlow
from weir.tasks.image.flow.score_flow import ScoreObjective
from weir.tasks.image.representation.vae import ConvolutionalVAE
from weir.tasks.image.settings import models as image
from weir.tasks.perturb.baselines.pools import NearestGroup
from weir.tasks.perturb.flow.anchor import AnchorSettings
from weir.tasks.perturb.flow.cell_flow import CellFlow, Pairing
from weir.tasks.perturb.flow.context import ContextEncoder, PerturbationAdapter
from weir.tasks.perturb.flow.field import PerturbationField
from weir.tasks.perturb.flow.joint import JointObjective as PerturbJointObjective
from weir.tasks.perturb.flow.loss import Stage2Objective as PerturbStage2Objective
from weir.tasks.perturb.representation.nb_vae import NBVAE
from weir.tasks.perturb.settings import models as perturb
from weir.tasks.perturb.settings.scoring import PerturbBaseline
from weir.training.objective import LatentJoint

TIMES = {"times": "time_sampling"}
SHRINKAGE = {"kronecker": "shrink_kronecker", "diagonal": "shrink_diagonal"}
JOINT = {"weight": "flow_weight", "warmup": "flow_warmup", "vae_lr_scale": "vae_learning_rate"}

FED: list[tuple[Callable[..., Any], type[BaseModel], dict[str, str]]] = [
    (ITransformer, forecast.Backbone, {"cycle": ""}),  # rows of a cycle, not whether it is told
    (LinearForecaster.fit, forecast.Ridge, {}),
    (ForecastStage1Objective, forecast.ForecastStage1, {}),
    (ResidualFlow, forecast.Velocity, {}),
    (ResidualFlow, forecast.FlowSettings, {}),
    (VariateVelocity, forecast.Velocity, {}),
    (ForecastStage2Objective, forecast.FlowSettings, TIMES),
    (fit_source, forecast.FlowSettings, SHRINKAGE),
    (set_source, forecast.FlowSettings, SHRINKAGE),
    (forecast_joint.point_and_likelihood, forecast.ForecastJoint, {}),
    (
        forecast_joint.Curriculum,
        forecast.Curriculum,
        {name: f"deterministic_{name}" for name in ("start", "warm", "end")},
    ),
    (
        forecast_joint.JointObjective,
        forecast.ForecastJoint,
        TIMES | SHRINKAGE | {"backbone_lr_scale": "backbone_learning_rate", "curriculum": ""},
    ),
    (NBVAE, perturb.Autoencoder, {}),
    (CellFlow, perturb.Fields, {}),
    (CellFlow, perturb.Context, {"width": "", "context": "width"}),
    (
        CellFlow,
        perturb.Perturbation,
        {"width": "", "alpha": "width", "curve": "dose"},
    ),
    # Without an anchor is what the constructor says by None, and the settings by null.
    (CellFlow, perturb.CellFlowSettings, {"context": "", "anchor": ""}),
    (ContextEncoder, perturb.Context, {}),
    (PerturbationAdapter, perturb.Perturbation, {"curve": "dose"}),
    (PerturbationField, perturb.Fields, {}),
    (Pairing, perturb.Coupling, {}),
    (Pairing, perturb.CellFlowSettings, {"coupling": ""}),
    (AnchorSettings, perturb.Anchor, {}),
    (PerturbStage2Objective, perturb.CellFlowSettings, TIMES),
    (PerturbJointObjective, perturb.PerturbJoint, TIMES | JOINT),
    (NearestGroup, PerturbBaseline, {}),
    (SeqSetVAE, clinical.Network, {}),
    (SeqSetVAE, clinical.ClinicalStage1, {}),
    (MemberHead, clinical.Outcome, {}),
    (MemberHead, clinical.Head, {}),
    (OutcomeHead, clinical.Head, {}),
    (RecordFlow, clinical_flow.FlowNetwork, {}),
    (RecordFlow, clinical_flow.RecordFlowSettings, {}),
    (Masks, clinical_flow.MaskShares, {}),
    # Weights that are not given are the settings' own.
    (
        FlowObjective,
        clinical_flow.RecordFlowSettings,
        TIMES | {"bins": "decoded_bins", "weights": ""},
    ),
    (ClinicalJointObjective, clinical.ClinicalJoint, JOINT),
    (LatentJoint, clinical.ClinicalJoint, JOINT),
    (LatentJoint, perturb.PerturbJoint, JOINT),
    (RecordCode, clinical_flow.FlowNetwork, {"dropout": ""}),  # has one of its own
    (BinDecoder, clinical_flow.FlowNetwork, {}),
    (GRUD, clinical_baseline.RecurrentNetwork, {}),
    (Logistic, clinical_baseline.ClinicalBaseline, {}),
    (Stacked, clinical_baseline.ClinicalBaseline, {"share": "weight"}),
    (ClinicalOracle, clinical_baseline.ClinicalBaseline, {}),
    (ConvolutionalVAE, image.Autoencoder, {}),
    (Density, image.DensitySettings, {}),
    (CoarseToFine, image.Coarse, {}),
    (NoiseRange, image.Noise, {}),
    (ImageFlow, image.ImageStage2, {}),
    (EventNetwork, image.NetworkSettings, {}),
    (PlainFlow, image.PlainSettings, {}),
    (ScoreObjective, image.Weights, {}),
    (DenoiserObjective, image.ImageStage2, {}),
    (MatchingObjective, image.ImageStage2, TIMES),
    (RegressionObjective, Distill, {}),
    (EndpointObjective, Distill, {}),
    (MeanFlowObjective, Distill, {}),
    (ConsistencyObjective, Distill, {}),
]
"""What is built, the settings that it is given, and the names that are others there.

A name that stands for nothing is not given as it is.
"""


def plain(value: Any) -> Any:
    """A default as the settings' JSON would have it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("built", "settings", "names"),
    FED,
    ids=[f"{built.__qualname__}-{settings.__name__}" for built, settings, _ in FED],
)
def test_a_default_is_the_settings_own(
    built: Callable[..., Any], settings: type[BaseModel], names: dict[str, str]
) -> None:
    shared, others = 0, {}
    for name, parameter in inspect.signature(built).parameters.items():
        field = settings.model_fields.get(names.get(name, name))
        if field is None:
            continue
        shared += 1
        default = plain(field.get_default(call_default_factory=True))
        if parameter.default is inspect.Parameter.empty or default is PydanticUndefined:
            continue
        if plain(parameter.default) != default:
            others[name] = (parameter.default, default)
    assert not others, f"(constructor's, settings'): {others}"
    passed_on = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in inspect.signature(built).parameters.values()
    )
    assert shared or passed_on, "no setting has the name of any of its parameters"
