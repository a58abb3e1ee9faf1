"""Training of the classifier that judges samples."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from weir.errors import WeirError
from weir.tasks.image.data.judge import FEATURES, Judge
from weir.tasks.image.data.load import ImageSet
from weir.tasks.image.data.scale import Scale
from weir.tasks.image.data.schema import JudgeCard, Part
from weir.tasks.image.settings.dataset import JudgeSettings

PASSES, LEAST_STEPS = 4, 500
CHECKS = 5
"""Times that the validation items are looked at; the state of least loss is kept."""

BATCH = 1000


def train_judge(
    parts: dict[Part, ImageSet],
    scale: Scale,
    classes: int,
    settings: JudgeSettings,
) -> tuple[Judge, JudgeCard]:
    """Train on `train`, select on `validation`, and tell the accuracy on both held-out parts.

    Pixels are dequantised again at each step, so that samples between the levels are no news.
    The result is a function of the data and the settings.

    Raises:
        WeirError: the loss is not finite.
    """
    train = parts["train"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        judge = Judge(tuple(train.raw.shape[1:]), classes, settings.width)
    generator = torch.Generator().manual_seed(settings.seed)
    batch = min(settings.batch_size, len(train))
    steps = settings.steps or max(LEAST_STEPS, PASSES * len(train) // batch)
    optimizer = torch.optim.Adam(judge.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, steps)
    order = torch.empty(0, dtype=torch.int64)
    best, best_state = math.inf, judge.state_dict()
    judge.train()
    for step in range(1, steps + 1):
        if len(order) < batch:
            order = torch.randperm(len(train), generator=generator)
        items, order = order[:batch], order[batch:]
        raw, label = train.batch(items)
        noise = torch.rand(raw.shape, generator=generator)
        loss = cross_entropy(judge(scale.unit(raw, noise)), label)
        if not torch.isfinite(loss):
            raise WeirError(
                f"the judge's loss is {loss.item()} at step {step}; lower `judge.learning_rate`"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % -(-steps // CHECKS) == 0 or step == steps:
            now = held_out_loss(judge.eval(), parts["validation"], scale)
            judge.train()
            if now < best:
                best, best_state = now, copy.deepcopy(judge.state_dict())
    judge.load_state_dict(best_state)
    judge.eval().requires_grad_(False)
    held_out: tuple[Part, ...] = ("validation", "test")
    told = {part: round(accuracy(judge, parts[part], scale), 6) for part in held_out}
    return judge, JudgeCard(settings.width, FEATURES, told)


def accuracy(judge: Judge, items: ImageSet, scale: Scale) -> float:
    """Share of the items whose likeliest class is their own, without noise on the pixels."""
    logits, label = judged(judge, items, scale)
    return (logits.argmax(1) == label).double().mean().item()


def held_out_loss(judge: Judge, items: ImageSet, scale: Scale) -> float:
    """Mean cross entropy of the items in nats, without noise on the pixels.

    Of a few items it says more than the share that is right.
    """
    logits, label = judged(judge, items, scale)
    return cross_entropy(logits.double(), label).item()


@torch.no_grad()
def judged(judge: Judge, items: ImageSet, scale: Scale) -> tuple[Tensor, Tensor]:
    """Logits `[item, K]` of the items, in pieces of BATCH, and their labels `[item]`."""
    pieces = []
    for rows in torch.arange(len(items)).split(BATCH):
        raw, label = items.batch(rows)
        pieces.append((judge(scale.unit(raw)), label))
    logits, labels = zip(*pieces, strict=True)
    return torch.cat(logits), torch.cat(labels)
