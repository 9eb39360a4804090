"""Named sets of proteins."""

from __future__ import annotations

from genloom.data.catalog_files import GITHUB, Entry, at, fetch, known_digest
from genloom.data.items import Items, Source

_HOME = "https://github.com/facebookresearch/esm"
_BASE = f"{GITHUB}/facebookresearch/esm/2b369911bb5b4b0dda914521b9475cad1656b2ac/examples/data/"
_LICENCE = "MIT (the collection); sequences of UniProt, CC BY 4.0"


def _files(entry: Entry, extensions: frozenset[str]) -> Source:
    from genloom.data.fasta import families

    return families(entry.name, known_digest(entry), [fetch(entry, f) for f in entry.files])


def _toy(entry: Entry, extensions: frozenset[str]) -> Source:
    from genloom.data.evolved import evolved

    sequences = evolved()
    names = [f"{family} {k}" for family, k, _ in sequences]
    items = Items(names, lambda i: sequences[i][2], [family for family, _, _ in sequences])
    return Source(entry.name, known_digest(entry), lambda: items)


SETS = (
    Entry(
        "protein-families",
        "5,626 members of five protein families, as alignments (a3m); the label is the family.",
        _LICENCE,
        _HOME,
        5626,
        at(
            _BASE,
            """sha256:7f5403f5d6a110da08b7123677cf522e0658a9ce134b58d76b0b633bb0281aa2 185807 1xcr_1_A.a3m
            sha256:40841d663ac730088c0d5318441db312ef9421b00c8469c08330d71f29d45dd2 212264 UniRef50_UPI0003108055.a3m
            sha256:4c4eae7f72e685cd3c14078303b2310bac969248852993e7a2a846293aade596 295112 UniRef50_UPI0003674933.a3m
            sha256:2c07c938cca50bd0d2f16617f1aef95da26c7f7f01e563af5bf00002edd36f7d 359157 """
            """hhblits_uniclust_2017_10_1a3a_1_A.a3m
            sha256:9747eaf0fee1d927f2407012905dbf4ace95b8db38799902f672e97dd413b901 431289 """
            """hhblits_uniclust_2017_10_5ahw_1_A.a3m""",
        ),
        _files,
        modality="protein",
        folder="proteins-esm",
    ),
    Entry(
        "beta-lactamase",
        "5,397 single mutants of a beta-lactamase of E. coli (TEM-1) with measured fitness in their titles.",
        _LICENCE,
        _HOME,
        5397,
        at(_BASE, "sha256:c5315619b48e13fac8995d13c4582ab74ff6bc8a0dc2105c4d236f473a4223bd 1761166 P62593.fasta"),
        _files,
        modality="protein",
        note="for `genloom score`",
        folder="proteins-esm",
    ),
    Entry(
        "toy-proteins",
        "360 made-up proteins of three families, evolved by rule from made-up ancestors; needs no download.",
        "CC0 1.0",
        "https://github.com/genloom",
        360,
        (),
        _toy,
        ("alpha", "beta", "gamma"),
        modality="protein",
        note="made by rule, for a first look and for tests",
    ),
)
