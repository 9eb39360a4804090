"""The networks of a sentence VAE: what depends on what, and likelihoods by hand."""

from __future__ import annotations

import torch

from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.nets.sentences import SentenceConfig, Sentences

SPEC = Tokens(9, 12, 0, 2, 1)


def net(**settings: object) -> Sentences:
    torch.manual_seed(0)
    made = Sentences(SPEC, 3, 2, SentenceConfig(width=8, encoder_hidden=6, hidden=10, **settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    return made.eval()


def test_the_code_does_not_depend_on_padding_but_on_order() -> None:
    n = net()
    x = torch.tensor([[2, 5, 6, 7, 1]])
    padded = torch.nn.functional.pad(x, (0, 3))
    torch.testing.assert_close(n.posterior(x)[0], n.posterior(padded)[0])
    swapped = torch.tensor([[2, 6, 5, 7, 1]])
    assert not torch.allclose(n.posterior(x)[0], n.posterior(swapped)[0])


def test_log_probability_by_hand() -> None:
    """One token at a time, with the state carried; the end counts, padding does not."""
    n = net()
    x, z, label = torch.tensor([[2, 5, 6, 1, 0, 0]]), torch.randn(1, 3), torch.tensor([1])
    state, total = n.decoder.begin(1, 0, z), 0.0
    for t in range(3):
        h = n.decoder(n._inputs(x[:, t : t + 1], z, label), None, state)
        total += float(n.head(h).detach()[0, 0].log_softmax(0)[x[0, t + 1]])
    torch.testing.assert_close(n.log_prob(x, z, label), torch.tensor([total]))


def test_the_code_matters_at_every_step_and_hidden_words_are_hidden() -> None:
    n = net(word_dropout=1.0)
    z, x = torch.randn(2, 3), torch.tensor([[2, 5, 6, 7, 8, 1]]).expand(2, -1)
    logits = n.head(n.decoder(n._inputs(x, z, None), None, None))
    assert ((logits[0] - logits[1]).abs().amax(1) > 1e-4).all()
    other = torch.tensor([[2, 9, 9, 9, 9, 1]])

    def last(row: torch.Tensor) -> torch.Tensor:  # of the probability only the targets can tell
        return n.log_prob(row, z[:1], None, Rng(0)) - n.log_prob(row[:, :-1], z[:1], None, Rng(0))

    torch.testing.assert_close(last(x[:1]), last(other))


def test_cold_draws_are_the_most_probable_tokens_and_end() -> None:
    n = net()
    z = torch.randn(4, 3)
    x = n.draw(z, None, torch.zeros(4, 8), 0.0)
    assert (x[:, 0] == 2).all() and x.shape[1] <= 9
    for row, code in zip(x, z, strict=True):
        length = int((row != 0).sum())
        logits = n.head(n.decoder(n._inputs(row[None, : length - 1], code[None], None), None, None))[0]
        logits[:, [0, 2]] = -torch.inf
        assert torch.equal(logits.argmax(1), row[1:length])
        assert not bool(row[length:].any())
