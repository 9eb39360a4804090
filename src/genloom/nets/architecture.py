"""What a model of sequences is made of: its settings, and the network that they describe."""

from __future__ import annotations

from typing import Literal

from genloom.core.batch import ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.spec import Tokens
from genloom.nets.quantiser import Tokenizer
from genloom.nets.recurrent import Recurrent, RecurrentEncoder
from genloom.nets.sequence import Body, Encoder, Inputs, SequenceModel
from genloom.nets.transformer import Transformer, TransformerEncoder


class Architecture(Settings):
    """Kind and size of the network."""

    cell: Literal["transformer", "lstm", "gru"] = setting(
        "transformer", "What carries the past: transformer, lstm or gru."
    )
    width: int = setting(128, "Width of the embeddings, and of every layer of a transformer.", unit="values", ge=4)
    hidden: int = setting(384, "Width of the hidden state of an lstm or gru.", unit="values", ge=4)
    depth: int | None = setting(None, "Layers; if none, 4 of a transformer, 1 of an lstm or gru.", ge=1)
    heads: int = setting(4, "Attention heads of a transformer.", ge=1)
    ngrams: int | None = setting(
        None,
        "Longest n-gram with an embedding of its own; 1 for none; if none, 4, and 1 for codes of grids.",
        ge=1,
        le=6,
    )
    neighbours: tuple[int, ...] = setting(
        (), "Distances back at which each token has an embedding of its own too, as of the same voice before.",
        unit="tokens",
    )  # fmt: skip
    ngram_rows: int = setting(2**15, "Rows of the table of each n; rarer n-grams share rows.", ge=64)
    ngram_base: int | None = setting(
        None, "Vocabulary by which n-grams are numbered; comes with --from, whose vocabulary may have grown.", ge=1
    )
    places: bool = setting(
        False,
        "Learn from whole examples, and give every place in them an embedding of its own: for examples of like length "
        "whose places correspond, as in alignments. family.context grows to the longest of them.",
    )
    softcap: float = setting(0.0, "Largest absolute logit, by a smooth bound; 0 for none.", ge=0)
    tied: bool = setting(False, "Use the embedding of tokens for the output too (transformers).")
    encoder_depth: int | None = setting(
        None, "Layers that read a source; if none, 2 of a transformer, 1 of an lstm or gru.", ge=1
    )

    @property
    def recurrent(self) -> bool:
        return self.cell != "transformer"


def build(
    config: Architecture,
    tokens: Tokens,
    context: int,
    condition: ConditionSpec,
    tokenizer: Tokenizer | None = None,
    marks: int = 0,
) -> SequenceModel:
    """The network of a config. context: tokens that a transformer can look back. marks: tokens beside the data's.

    Raises InputError for settings that do not go together.
    """
    # What is asked of a source is often the next place in it: a transformer must know its own.
    places = context if config.places or (condition.source is not None and not config.recurrent) else 0
    inputs = Inputs(
        tokens.vocab + marks, config.width, ngrams=config.ngrams or (4 if tokenizer is None else 1),
        rows=config.ngram_rows, classes=len(condition.classes), properties=len(condition.properties),
        boundary=None if tokens.stream else tokens.bos,
        neighbours=tokenizer.neighbours() if tokenizer else config.neighbours,
        positions=tokenizer.length if tokenizer else places, parts=tokenizer.parts() if tokenizer else None,
        base=config.ngram_base,
    )  # fmt: skip
    encoder = _encoder(config, condition)
    body: Body
    if config.cell == "transformer":
        if config.width % (2 * config.heads):
            raise InputError(
                f"family.width={config.width} must be a multiple of twice family.heads={config.heads}, as rotary "
                "positions turn pairs of values"
            )
        body = Transformer(config.width, config.depth or 4, config.heads, context, encoder is not None)
    else:
        if config.tied:
            raise InputError(
                "family.tied is for transformers: the output of an lstm or gru is wider than its embedding"
            )
        features = None if encoder is None else encoder.features
        body = Recurrent(config.cell, config.width, config.hidden, config.depth or 1, features)
    nothing = (0, 0) if condition.source is None else (condition.source.eos, condition.source.pad)
    return SequenceModel(inputs, body, softcap=config.softcap, tied=config.tied, encoder=encoder, nothing=nothing)


def _encoder(config: Architecture, condition: ConditionSpec) -> Encoder | None:
    source = condition.source
    if source is None:
        return None
    vocab = None if source.shared else source.vocab
    if config.cell == "transformer":
        if config.width % (2 * config.heads):
            return None  # refused where the body is made
        return TransformerEncoder(vocab, config.width, config.encoder_depth or 2, config.heads, source.length)
    return RecurrentEncoder(config.cell, vocab, config.width, config.hidden, config.encoder_depth or 1)
