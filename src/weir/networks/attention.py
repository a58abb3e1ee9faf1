"""Transformer blocks over a set or sequence of tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention: self-attention, or cross-attention when given a context.

    Args:
        width: width of the tokens.
        heads: attention heads; divides `width`.
        dropout: dropout of the attention weights.
        context_width: width of the context's tokens, by default `width`.

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017.
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, context_width: int | None = None
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads ({heads}) must divide width ({width})")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width if context_width is None else context_width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """`[batch, token, width]`, each token attending to all of `context` (or of itself).

        Args:
            tokens: `[batch, token, width]`.
            context: `[batch, other, context_width]`, or None for self-attention.
        """
        query = self._split(self.query(tokens))
        pair = self.key_value(tokens if context is None else context)
        key, value = (self._split(part) for part in pair.chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """`[batch, token, width]` to `[batch, head, token, width / heads]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MLP(nn.Sequential):
    """Two linear layers with a GELU between, applied to each token by itself.

    Args:
        width: width of the tokens.
        ratio: width of the hidden layer, in multiples of `width`.
        dropout: dropout of the hidden layer.
    """

    def __init__(self, width: int, ratio: float = 4.0, dropout: float = 0.0) -> None:
        hidden = int(width * ratio)
        super().__init__(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )


class TransformerBlock(nn.Module):
    """Pre-norm residual block: attention among the tokens, then an MLP on each.

    Args:
        width: width of the tokens.
        heads: attention heads; divides `width`. With 0 there is no attention, so that each token
            goes its own way.
        dropout: dropout of attention weights, hidden layer and both residual branches.
        ratio: width of the MLP's hidden layer, in multiples of `width`.

    References:
        Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, ratio: float = 4.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width) if heads else None
        self.attention = Attention(width, heads, dropout) if heads else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, ratio, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[batch, token, width]` to the same."""
        if self.attention is not None and self.attention_norm is not None:
            tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens)))
        return tokens + self.dropout(self.mlp(self.mlp_norm(tokens)))
