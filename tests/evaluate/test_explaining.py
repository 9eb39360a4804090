"""Nearest training examples, traversals and surprise against brute force, by hand and by formula."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

from evaluate.conftest import Memory
from evaluate.languages import Letters, sequences
from genloom.core.batch import Condition, ConditionSpec
from genloom.core.errors import InputError
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens
from genloom.evaluate.nearest import nearest_on_grids, nearest_sequences
from genloom.evaluate.panels import PanelRow, panel
from genloom.evaluate.surprise import surprise_of
from genloom.evaluate.traversals import changes, has_latents, traversals
from genloom.families import find_family

# -- nearest training examples ----------------------------------------------------------------------------------------


def test_nearest_on_grids_is_brute_force_with_held_out_distances_as_a_scale(digits: Any) -> None:
    x = digits.test.x[:5]
    found = nearest_on_grids(x, digits, 4)
    d = torch.cdist(x.flatten(1).double(), digits.train.x.flatten(1).double())
    expected = d.topk(4, largest=False)
    np.testing.assert_allclose(found.distance, expected.values, rtol=1e-5)
    assert (found.index[:, 0] == expected.indices[:, 0].numpy()).all()
    assert len(found.usual) == 500 and found.searched == 1000
    share = (found.usual <= found.distance[2, 0]).mean()
    assert found.nearer(2) == pytest.approx(share)
    copy = nearest_on_grids(digits.train.x[7:8], digits, 1)
    assert copy.distance[0, 0] == 0 and copy.index[0, 0] == 7 and copy.nearer(0) == 0
    alone = nearest_on_grids(x, replace(digits, validation=Memory(x[:0]), test=Memory(x[:0])), 2)
    assert alone.nearer(0) is None and alone.scale() == {}
    with pytest.raises(InputError, match="2000 nearest examples"):
        nearest_on_grids(x, digits, 2000)


def test_nearest_texts_are_those_of_tf_idf() -> None:
    modality = Letters(False, 200)
    train = ["the cat sat on a mat", "春眠不觉晓", "the cow jumped over the moon", "a mat for the cat", "处处闻啼鸟"]
    asked = ["the cat on the mat", "春眠不处晓", "zzzz"]
    found = nearest_sequences(sequences(modality, asked), sequences(modality, train), None, 5)
    words = TfidfVectorizer(
        analyzer="char", ngram_range=(3, 5), lowercase=False, sublinear_tf=True, smooth_idf=True
    ).fit(train)
    words.idf_ = np.log((1 + len(train)) / (1 + np.asarray((words.transform(train) > 0).sum(0)).ravel()))
    a, b = (words.transform(t).toarray() for t in (asked[:2], train))
    # our rarity is the plain logarithm; runs that no training text has count towards the length of what is asked
    assert found.index[0, 0] in (0, 3) and found.index[1, 0] == 1
    order = np.argsort(-(a[0] @ b.T))
    assert set(found.index[0, :2]) == set(order[:2].tolist())
    assert 0 < found.distance[0, 0] < found.distance[0, 2] <= 1
    assert found.distance[2].tolist() == [1.0] * 5 and found.nearer(0) is None
    same = nearest_sequences(sequences(modality, train), sequences(modality, train), None, 1)
    assert same.index[:, 0].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(same.distance, 0, atol=1e-12)


def test_streams_are_compared_in_pieces() -> None:
    modality = Letters(True, 64)
    draw = np.random.default_rng(0)
    text = "".join(draw.choice(list("abcdefghij "), 2000))
    train = sequences(modality, [text])
    piece = text[3 * 128 : 4 * 128]
    found = nearest_sequences(sequences(modality, [piece[5:90]]), train, sequences(modality, [text[:700]]), 2)
    assert found.index[0, 0] == 3 and found.searched == 2000 // 128
    assert len(found.usual) == 5 and found.usual[0] < 1e-9  # the same pieces again


# -- latents ----------------------------------------------------------------------------------------------------------


class Plane(nn.Module):
    """Codes are the first three values of an example; the third is never used by the decoder."""

    spec = Grid((1, 2, 2))
    condition = ConditionSpec()

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def honours(self) -> frozenset[str]:
        return frozenset()

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3]

    def decode(self, z: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        return torch.stack([3 * z[:, 0], z[:, 1], 0 * z[:, 2], 0 * z[:, 2]], 1).view(-1, 1, 2, 2)


def test_latents_are_ordered_by_what_they_change_and_moved_around_the_example() -> None:
    x = torch.randn(400, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    family: Any = Plane()
    found = traversals(family, x, None, steps=5)
    assert [t.latent for t in found.rows] == [0, 1, 2] and found.unit == "share"
    sd = x.flatten(1).std(0)
    shares = torch.tensor([9 * sd[0] ** 2, sd[1] ** 2, 0.0])
    np.testing.assert_allclose([t.activity for t in found.rows], shares / shares.sum(), rtol=1e-4)
    assert found.used == 2 and found.total == 3 and found.steps == (-2, -1, 0, 1, 2)
    row = found.rows[1].x.flatten(1)
    np.testing.assert_allclose(row[:, 1], x[0, 0, 0, 1] + torch.linspace(-2, 2, 5) * sd[1], rtol=1e-4)
    assert (row[:, 0] == row[0, 0]).all()
    assert changes(lambda z: 0 * z, x.flatten(1)[:4], sd).tolist() == [0, 0, 0, 0]


def test_a_vae_tells_the_kl_of_each_latent(digits: Any) -> None:
    cls = find_family("vae")
    vae = cls(digits.modality.spec, cls.Config(latent=6, encoder_width=8, decoder_width=8), digits.condition).eval()
    x = digits.test.x[:40]
    found = traversals(vae, x, torch.tensor([3]), most=4, steps=3)
    (mean, logvar), _ = vae.coder.posterior(x)  # type: ignore[operator, union-attr]
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean(0)
    order = kl.argsort(descending=True)[:4]
    assert found.unit == "nats" and [t.latent for t in found.rows] == order.tolist()
    np.testing.assert_allclose([t.activity for t in found.rows], kl[order].detach(), rtol=1e-4)


@pytest.mark.parametrize(("name", "known"), [("autoencoder", True), ("gan", True), ("flow", False)])
def test_which_families_have_latents(name: str, known: bool, digits: Any) -> None:
    cls = find_family(name)
    small = {"autoencoder": {"latent": 3, "encoder_width": 8, "decoder_width": 8}, "gan": {"latent": 4, "width": 16}}
    family = cls(digits.modality.spec, cls.Config(**small.get(name, {})), digits.condition).eval()
    assert has_latents(family) is known
    if known:
        found = traversals(family, digits.test.x[:8], torch.tensor([1]), most=2, steps=3)
        assert found.unit == "share" and found.rows[0].x.shape == (3, 1, 8, 8)
        assert found.rows[0].activity >= found.rows[1].activity
    else:
        with pytest.raises(ValueError, match="no latents"):
            traversals(family, digits.test.x[:8], None)


# -- surprise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{"cell": "lstm", "hidden": 16}, {"context": 8, "heads": 2}, {"counts": 0.3}])
def test_predictions_are_what_surprise_says(values: dict[str, Any]) -> None:
    cls = find_family("autoregressive")
    spec = Tokens(40, 30, 0, 2, 1)
    torch.manual_seed(0)
    family: Any = cls(
        spec, cls.Config(width=16, ngram_rows=64, heads=2, **{k: v for k, v in values.items() if k != "heads"}),
        ConditionSpec(),
    )  # fmt: skip
    family.eval()
    x = torch.randint(3, 30, (2, 25), generator=torch.Generator().manual_seed(0))
    x[:, 0], x[:, -1] = 2, 1
    if family.counts is not None:
        family.counts.fit(torch.randint(3, 30, (500,), generator=torch.Generator().manual_seed(1)).numpy())
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    logp = family.predictions(x)
    torch.testing.assert_close(logp.exp().sum(-1), torch.ones(2, 24), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(-logp.gather(2, x[:, 1:, None])[..., 0], family.surprise(x), rtol=1e-4, atol=1e-4)


class Says(nn.Module):
    """Predicts token t with probability proportional to t, whatever came before."""

    exact, context, stride = True, 9, 0

    def __init__(self, spec: Tokens) -> None:
        super().__init__()
        self.spec, self.anchor = spec, nn.Parameter(torch.zeros(1))

    def honours(self) -> frozenset[str]:
        return frozenset()

    def surprise(self, x: Tensor, condition: Condition) -> Tensor:
        return -self.predictions(x, condition).gather(2, x[:, 1:, None])[..., 0]

    def predictions(self, x: Tensor, condition: Condition) -> Tensor:
        p = torch.arange(self.spec.vocab).float()
        return (p / p.sum()).log().expand(*x[:, 1:].shape, -1)


def test_surprise_tells_nats_ranks_and_what_was_expected() -> None:
    modality = Letters(False, 20)
    family: Any = Says(modality.spec)
    tokens = modality.encode("a春").tolist()
    found = surprise_of(family, modality, tokens, "here")
    total = sum(range(modality.spec.vocab))
    assert [p.text for p in found.pieces] == ["a", "春", ""] and found.pieces[-1].end
    np.testing.assert_allclose([p.nats for p in found.pieces], [-math.log(t / total) for t in tokens[1:]], rtol=1e-5)
    assert [p.rank for p in found.pieces] == [modality.spec.vocab - t for t in tokens[1:]]
    last = modality.decode(torch.tensor([modality.spec.vocab - 1]))
    assert all(p.expected == last for p in found.pieces)
    document = found.to_json()
    assert document["nats"] == pytest.approx(found.nats, abs=1e-3) and document["tokens"] == 3
    assert document["perplexity"] == pytest.approx(math.exp(found.nats / 3), rel=1e-3)
    assert [p.text for p in surprise_of(family, modality, tokens, "here", known=2).pieces] == ["春", ""]


def test_a_character_of_several_tokens_is_one_piece() -> None:
    class Octets:
        """UTF-8, a byte a token, as the modality of text reads it."""

        spec = Tokens(50, 259, 0, 2, 1)

        def decode(self, x: Tensor) -> str:
            return bytes(i - 3 for i in x.tolist() if i > 2).decode("utf-8", "replace")

    modality: Any = Octets()
    tokens = [2, *(b + 3 for b in "é月x".encode()), 1]
    found = surprise_of(Says(modality.spec), modality, tokens, "")  # type: ignore[arg-type]
    assert [p.text for p in found.pieces] == ["é", "月", "x", ""]
    every = Says(modality.spec).surprise(torch.tensor([tokens]), Condition())[0]
    np.testing.assert_allclose([p.nats for p in found.pieces[:2]], [every[:2].sum(), every[2:5].sum()], rtol=1e-5)


def test_a_panel_has_a_column_of_words_and_enlarges_small_pictures() -> None:
    strip = Image.new("RGB", (30, 10), "red")
    sheet = panel(
        [PanelRow(strip, ("first", "more"), ("", "1.2", "3")), PanelRow(strip, ("second",))], 3, ["a", "b", "c"]
    )
    assert sheet.width >= 3 * 64 + 30 and sheet.getpixel((sheet.width - 20, 40)) == (255, 0, 0)


def test_noise_of_a_gan_is_what_its_samples_are_made_of(digits: Any) -> None:
    cls = find_family("gan")
    gan: Any = cls(digits.modality.spec, cls.Config(latent=4, width=16), digits.condition).eval()
    label = torch.tensor([1, 2])
    x = gan.sample(2, Condition(label=label), Rng(5), gan.Options())
    torch.testing.assert_close(x, gan.decode(gan.noise(2, Rng(5)), Condition(label=label)).clamp(-1, 1))
