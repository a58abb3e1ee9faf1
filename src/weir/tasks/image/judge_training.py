"""Training of the classifier that judges samples."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import cross_entropy

from weir.errors import WeirError
from weir.tasks.image.data import ImageSet
from weir.tasks.image.dataset_config import JudgeSettings
from weir.tasks.image.judge import FEATURES, Judge
from weir.tasks.image.scale import Scale
from weir.tasks.image.schema import JudgeCard, Part

PASSES, LEAST_STEPS = 4, 400
CHECKS = 5
"""Times that the validation items are looked at; the best state is kept."""

BATCH = 1000


def train_judge(
    parts: dict[Part, ImageSet],
    scale: Scale,
    classes: int,
    settings: JudgeSettings,
) -> tuple[Judge, JudgeCard]:
    """Train on `train`, select on `validation`, and tell the accuracy on both held-out parts.

    Pixels are dequantised anew at each step, so that samples between the levels are no news.
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
    best, best_state = -1.0, judge.state_dict()
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
            now = accuracy(judge.eval(), parts["validation"], scale)
            judge.train()
            # The later of equals: its loss is lower.
            if now >= best:
                best, best_state = now, copy.deepcopy(judge.state_dict())
    judge.load_state_dict(best_state)
    judge.eval().requires_grad_(False)
    held_out: tuple[Part, ...] = ("validation", "test")
    told = {part: round(accuracy(judge, parts[part], scale), 6) for part in held_out}
    return judge, JudgeCard(settings.width, FEATURES, told)


@torch.no_grad()
def accuracy(judge: Judge, items: ImageSet, scale: Scale) -> float:
    """Share of the items whose likeliest class is their own, without noise on the pixels."""
    right = 0
    for rows in torch.arange(len(items)).split(BATCH):
        raw, label = items.batch(rows)
        right += int((judge(scale.unit(raw)).argmax(1) == label).sum())
    return right / len(items)
