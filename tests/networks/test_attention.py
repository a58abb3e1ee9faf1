import pytest
import torch

from weir.networks.attention import MLP, Attention, TransformerBlock


def test_attention_is_the_softmax_average_of_values():
    torch.manual_seed(0)
    attention = Attention(8, heads=2).eval()
    tokens = torch.randn(3, 5, 8)
    query = attention.query(tokens)
    key, value = attention.key_value(tokens).chunk(2, dim=-1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        weights = torch.softmax(query[..., part] @ key[..., part].mT / 4**0.5, dim=-1)
        heads.append(weights @ value[..., part])
    torch.testing.assert_close(attention(tokens), attention.output(torch.cat(heads, dim=-1)))


def test_a_context_is_attended_to_in_place_of_the_tokens():
    torch.manual_seed(0)
    attention = Attention(8, heads=2, context_width=6).eval()
    tokens, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    mixed = attention(tokens, context)
    assert mixed.shape == (2, 5, 8)
    # Of one token the average is that token's value, whatever is asked.
    single = attention(tokens, context[:, :1])
    value = attention.key_value(context[:, :1]).chunk(2, dim=-1)[1]
    torch.testing.assert_close(single, attention.output(value).expand_as(single))


def test_a_block_treats_tokens_as_a_set():
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=2, dropout=0.3).eval()
    tokens, order = torch.randn(2, 5, 8), torch.randperm(5)
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]))


def test_a_block_mixes_tokens_but_not_items_of_the_batch():
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=2).eval()
    tokens = torch.randn(2, 5, 8)
    changed = tokens.clone()
    changed[0, 0, 0] += 1  # one feature: a shift of all is what the norm takes off
    difference = (block(changed) - block(tokens)).abs().amax(-1)
    assert (difference[0] > 1e-6).all()
    assert (difference[1] == 0).all()


def test_without_heads_each_token_goes_its_own_way():
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=0).eval()
    tokens = torch.randn(2, 5, 8)
    changed = tokens.clone()
    changed[:, 0, 0] += 1
    difference = (block(changed) - block(tokens)).abs().amax(-1)
    assert (difference[:, 0] > 1e-6).all()
    assert (difference[:, 1:] == 0).all()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    block, tokens = TransformerBlock(8, heads=2, dropout=0.5), torch.randn(2, 5, 8)
    assert not torch.equal(block(tokens), block(tokens))
    block.eval()
    assert torch.equal(block(tokens), block(tokens))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"heads \(3\) must divide width \(8\)"):
        Attention(8, heads=3)


def test_mlp_widens_by_its_ratio():
    assert [tuple(p.shape) for p in MLP(8, ratio=2.0).parameters()] == [
        (16, 8),
        (16,),
        (8, 16),
        (8,),
    ]
