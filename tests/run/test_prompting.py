"""Prompts, stops and streamed text with a family and a modality made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.errors import InputError
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens
from genloom.families import find_family
from genloom.families.autoregressive import Autoregressive
from genloom.modalities.text import Text, TextConfig
from genloom.run import prompting
from genloom.run.prompting import Both, StopAt, columns, cut, given, guide_for, pieces

LINES = ["the cat sat\n", "the dog ran\n", "一二三 naïve 🙂\n"]


def text(tokenizer: str = "char", unit: str = "stream") -> Text:
    return Text.fit(TextConfig(tokenizer=tokenizer, unit=unit), LINES)  # type: ignore[arg-type]


def family(modality: Text, **settings: object) -> Autoregressive:
    torch.manual_seed(0)
    given = {"width": 16, "depth": 1, "heads": 2, "context": 32, "ngram_rows": 64, **settings}
    made = Autoregressive(modality.spec, Autoregressive.Config(**given), ConditionSpec()).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return made


def tokens_of(modality: Text, written: str) -> Iterator[int]:
    return iter(modality.prompt(written))


# -- text as it comes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_pieces_join_to_the_text_and_none_is_half_a_character(tokenizer: str) -> None:
    modality = text(tokenizer)
    written = "".join(LINES)
    parts = list(pieces(modality.decode, tokens_of(modality, written), []))
    assert "".join(parts) == written
    assert all("\N{REPLACEMENT CHARACTER}" not in p for p in parts)
    if tokenizer == "char":
        assert parts == list(written)


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    modality = text("byte")
    ids = modality.prompt("a🙂b")
    given: list[int] = []

    def watched() -> Iterator[int]:
        for t in ids:
            given.append(t)
            yield t

    seen = [(p, len(given)) for p in pieces(modality.decode, watched(), [])]
    assert seen == [("a", 1), ("🙂", 5), ("b", 6)]
    assert "".join(pieces(modality.decode, iter(ids[:3]), [])).startswith("a")  # cut off in the middle: no error


@pytest.mark.parametrize(
    ("written", "stops", "expected"),
    [
        ("the cat sat", [], "the cat sat"),
        ("the cat sat", ["cat"], "the "),
        ("the cat sat", ["cat", "e c"], "th"),
        ("the cat sat", ["t"], ""),
        ("the cat sat", ["sax"], "the cat sat"),  # begins like a stop and is none
        ("the cat sat", ["sat!", ""], "the cat sat"),  # the end of the text may still begin one
        ("tttthe", ["tthe"], "tt"),
    ],
)
def test_a_stop_spread_over_tokens_ends_the_text(written: str, stops: list[str], expected: str) -> None:
    modality = text()
    assert "".join(pieces(modality.decode, tokens_of(modality, written), stops)) == expected
    assert cut(written, 0, stops) == expected


def test_what_may_begin_a_stop_is_held_back() -> None:
    modality = text()
    assert list(pieces(modality.decode, tokens_of(modality, "the se"), ["set"])) == [*"the ", "se"]
    taken: list[str] = []

    def watched() -> Iterator[int]:
        for c in "the cat sat":
            taken.append(c)
            yield modality.prompt(c)[0]

    assert "".join(pieces(modality.decode, watched(), ["cat"])) == "the "
    assert "".join(taken) == "the cat"  # nothing is asked for after the stop


def test_cut_leaves_the_prompt_alone() -> None:
    assert cut("cat and cat", 3, ["cat"]) == "cat and "
    assert cut("cat and cat", 0, ["cat"]) == ""
    assert cut("abc", 0, ["", "x"]) == "abc"


# -- stops as a guide --------------------------------------------------------------------------------------------------


def test_a_stop_ends_its_row_and_not_in_the_prompt() -> None:
    modality = text()
    stop = StopAt(modality, ["at", ""], begin=4)
    rows = [modality.prompt(w) for w in ("sat the", "sat sat", "satthat")]
    assert stop.allowed(torch.tensor(rows)) is None
    assert stop.finished(torch.tensor(rows)).tolist() == [False, True, True]  # type: ignore[union-attr]
    assert StopAt(modality, ["at"], begin=0).finished(torch.tensor(rows)).tolist() == [True] * 3  # type: ignore[union-attr]


class Odd:
    def __init__(self, rest: int, ends: bool) -> None:
        self.rest, self.ends = rest, ends

    def allowed(self, tokens: Tensor) -> Tensor | None:
        return (torch.arange(6) % self.rest == 0).expand(len(tokens), -1)

    def finished(self, tokens: Tensor) -> Tensor | None:
        return torch.tensor([self.ends, False])


def test_two_guides_allow_what_both_do_and_end_where_either_does() -> None:
    tokens = torch.zeros(2, 3, dtype=torch.long)
    both = Both(Odd(2, True), Odd(3, False))
    assert both.allowed(tokens)[0].nonzero()[:, 0].tolist() == [0]  # type: ignore[index]
    assert both.finished(tokens).tolist() == [True, False]  # type: ignore[union-attr]
    assert guide_for(text(), [], 0) is None and guide_for(text(), [""], 0) is None
    assert isinstance(guide_for(text(), ["x"], 0), StopAt)


# -- prompts ----------------------------------------------------------------------------------------------------------


def quiet(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("unit", ["stream", "document"])
def test_prompts_and_suffixes_become_what_is_known(unit: str) -> None:
    modality = text(unit=unit)
    made = family(modality)
    bos = [] if unit == "stream" else [modality.spec.bos]
    assert given(made, modality, "", "", 5, quiet) is None
    known = given(made, modality, "the", "", 5, quiet)
    assert known is not None and known.known is not None and known.mask is not None
    assert known.known.tolist() == [[*bos, *modality.prompt("the")]] and bool(known.mask.all())
    assert columns(modality.spec, known) == 1 + 3  # bos or, of a stream, the token that everything starts from
    assert columns(modality.spec, None) == 1
    known = given(made, modality, "the", "at", 2, quiet)
    assert known is not None and known.known is not None and known.mask is not None
    assert known.mask[0].tolist() == [True] * (len(bos) + 3) + [False] * 2 + [True] * 2
    assert known.known[0][known.mask[0]].tolist() == [*bos, *modality.prompt("theat")]


def test_unknown_characters_long_prompts_and_models_without_prompts() -> None:
    modality = text()
    with pytest.raises(InputError, match="'q'"):
        given(family(modality), modality, "quick", "", 5, quiet)
    told: list[str] = []
    given(family(modality), modality, "the cat " * 10, "", 5, told.append)
    assert len(told) == 1 and "80 tokens" in told[0] and "32" in told[0]
    given(family(modality, cell="gru"), modality, "the cat " * 10, "", 5, quiet)  # no limit
    vae = find_family("vae")
    images = vae(Grid((1, 8, 8)), vae.Config(), ConditionSpec())
    with pytest.raises(InputError, match="only models of sequences"):
        given(images, modality, "the", "", 5, quiet)


@pytest.mark.parametrize("cell", ["transformer", "gru"])
@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_streamed_text_is_the_sampled_text(cell: str, tokenizer: str) -> None:
    modality = text(tokenizer)
    made = family(modality, cell=cell)
    assert isinstance(made.spec, Tokens)
    known = given(made, modality, "the ", "", 5, quiet)
    assert known is not None and known.known is not None
    options = made.Options(max_tokens=60)
    for stops in ([], ["a"]):
        guide = guide_for(modality, stops, columns(modality.spec, known))
        whole = modality.decode(made.sample(1, known, Rng(3), options, guide)[0])
        steps = made.steps(1, known, Rng(3), options, guide)
        decode: Callable[[Tensor], str] = modality.decode
        drawn = (int(s.tokens[0]) for i, s in enumerate(steps) if i >= known.known.shape[1])
        streamed = "".join(pieces(decode, drawn, stops))
        expected = cut(whole, 4, stops)[4:]
        assert streamed == expected or "\N{REPLACEMENT CHARACTER}" in whole
        if tokenizer == "char":
            assert streamed == expected and expected


def test_the_tail_that_is_searched_holds_long_stops() -> None:
    modality = text("byte")
    stop = "the cat sat" * 20
    row = torch.tensor([modality.prompt("一" * 30 + stop)])
    assert StopAt(modality, [stop], 0).finished(row).tolist() == [True]  # type: ignore[union-attr]
    assert prompting.TAIL >= 8
    assert Condition().given() == frozenset()
