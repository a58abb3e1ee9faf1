"""Settings of the training loop, the `training:` block of every trained node."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from weir.settings.base import Config

Decay = Annotated[float, Field(ge=0, lt=1)]


class Training(Config):
    """How a model is optimised; where it runs (devices, nodes) is not a parameter of the result."""

    steps: PositiveInt = Field(2000, description="Optimizer steps.")
    batch_size: PositiveInt = Field(64, description="Items per optimizer step, over all devices.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices.")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's moment decays.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps of linear warm-up.")
    final_learning_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Learning rate at the end of the cosine, as share of the peak.",
    )
    clip: float | None = Field(
        1.0, gt=0, description="Limit of the gradient's norm; null for none."
    )
    accumulate: PositiveInt = Field(
        1, description="Parts into which a batch is cut, to save memory or for several devices."
    )
    ema: float | None = Field(
        None, gt=0, lt=1, description="Decay of the averaged weights; null keeps the raw ones."
    )
    validate_every: PositiveInt = Field(200, description="Steps between validations.")
    monitor: str = Field("loss", description="Validation value that selects the best weights.")
    patience: PositiveInt | None = Field(
        None, description="Validations without improvement before stopping; null never stops early."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Arithmetic of the network."
    )
    compile: bool = Field(False, description="Compile the objective with torch.compile.")
    checkpoint_every: PositiveInt = Field(500, description="Steps between resumable checkpoints.")
