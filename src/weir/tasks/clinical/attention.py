"""Transformer blocks that look at a mask: among the events of a set, or the sets of a record."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from weir.networks.attention import MLP, Attention


class MaskedAttention(Attention):
    """Self-attention among the tokens of each group."""

    def masked(self, tokens: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """`[group, place, width]` to the same.

        Args:
            tokens: `[group, place, width]`, padded at the end.
            mask: `[group, place]`, True for tokens; None where nothing is padded.
            causal: whether a token sees only those before it and itself; then padding, which comes
                after, needs no mask.
        """
        query = self._split(self.query(tokens))
        key, value = (self._split(part) for part in self.key_value(tokens).chunk(2, -1))
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None or causal else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))


class MaskedBlock(nn.Module):
    """Pre-norm residual block: attention within each group, then an MLP on each token.

    Args:
        width: width of the tokens.
        heads: attention heads; divides `width`.
        dropout: dropout of the attention weights and of both branches.
        causal: whether a token sees only those before it and itself.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.attention_norm = nn.LayerNorm(width)
        self.attention = MaskedAttention(width, heads, dropout)
        self.residual = ResidualMLP(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """`[group, place, width]` to the same; `mask` as of `MaskedAttention`."""
        mixed = self.attention.masked(self.attention_norm(tokens), mask, self.causal)
        return self.residual(tokens + self.dropout(mixed))


class ResidualMLP(nn.Module):
    """Two layers on each token by itself, added to it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 2.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., width]` to the same."""
        return tokens + self.dropout(self.mlp(self.norm(tokens)))
