"""A head of several members that share most of their weights, whose logits are averaged.

Reference: Gorishniy, Kotelnikov, Babenko, TabM, ICLR 2025: members differ by how they scale a
layer's inputs, which makes them nearly as good as an ensemble at the price of one network.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MemberHead(nn.Module):
    """From features to a logit by each member.

    Args:
        features: width of the input.
        members: number of members.
        hidden: width of both hidden layers.
        input_dropout: dropout of the features, each member's own.
        dropout: dropout of the hidden layers.
        prevalence: share of the outcome in training, which untrained members predict.
    """

    def __init__(
        self,
        features: int,
        members: int,
        hidden: int,
        input_dropout: float,
        dropout: float,
        prevalence: float,
    ) -> None:
        super().__init__()
        self.input_dropout, self.dropout = input_dropout, dropout
        # Different from the start, or the members would all learn the same.
        self.scale1 = nn.Parameter(1 + 0.3 * torch.randn(members, features))
        self.scale2 = nn.Parameter(1 + 0.3 * torch.randn(members, hidden))
        self.gain = nn.Parameter(torch.ones(members, hidden))
        self.shift = nn.Parameter(torch.zeros(members, hidden))
        self.layer1 = nn.Linear(features, hidden)
        self.layer2 = nn.Linear(hidden, hidden)
        self.output = nn.Parameter(torch.randn(members, hidden) / math.sqrt(hidden))
        self.bias = nn.Parameter(torch.full((members,), first_logit(prevalence)))

    def forward(self, features: Tensor) -> Tensor:
        """`[record, features]` to logits `[record, member]`."""
        x = F.dropout(features[:, None] * self.scale1, self.input_dropout, self.training)
        x = F.gelu(torch.addcmul(self.shift, self.layer1(x), self.gain))
        x = F.dropout(x, self.dropout, self.training)
        x = F.gelu(self.layer2(x * self.scale2))
        x = F.dropout(x, self.dropout, self.training)
        return (x * self.output).sum(-1) + self.bias


def first_logit(prevalence: float) -> float:
    """Logit that an untrained head predicts: that of the training records' share."""
    share = min(max(prevalence, 1e-3), 1 - 1e-3)
    return math.log(share / (1 - share))


def members_bce(logits: Tensor, outcome: Tensor) -> Tensor:
    """Mean cross-entropy of the members, each trained by itself, `[]` nats.

    Args:
        logits: `[record, member]`.
        outcome: `[record]`, 0 or 1. Classes are not weighed, or risks would not be calibrated.
    """
    return F.binary_cross_entropy_with_logits(logits, outcome[:, None].expand_as(logits))
