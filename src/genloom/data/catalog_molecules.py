"""Named sets of molecules."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

from genloom.data.catalog_files import GITHUB, Entry, at, fetch, known_digest
from genloom.data.items import Source

if TYPE_CHECKING:
    from genloom.data.texts import Wishes


def _zinc(entry: Entry, wishes: Wishes) -> Source:
    """24,445 to train and 5,000 to test: what is published as validation and test split of ZINC 250k, whose training
    split of 10 MB is not needed here."""
    from genloom.data.texts import files_source

    train, test = (fetch(entry, f) for f in entry.files)
    return files_source(
        entry.name, known_digest(entry), [(train, "train"), (test, "test")], replace(wishes, unit="line")
    )


# Rings with two places for groups, and groups that end in an atom that binds.
RINGS = (
    "c1ccc({})cc1{}", "c1cc({})cc(c1){}", "c1cnc({})cc1{}", "C1CCC({})CC1{}", "C1CN({})CCC1{}", "c1csc({})c1{}",
    "c1coc({})c1{}", "c1cc({})[nH]c1{}", "C1OCC({})CC1{}", "c1ccc2c({})cccc2c1{}",
)  # fmt: skip
GROUPS = ("C", "CC", "C(C)C", "CO", "CN", "C(=O)N", "C(=O)OC", "C(F)(F)F", "CC#N", "CCl", "CS(C)(=O)=O", "C(=O)NCC")


def _simple(entry: Entry, wishes: Wishes) -> Source:
    from genloom.data.texts import list_source

    every = [ring.format(*pair) for ring in RINGS for pair in combinations_with_replacement(GROUPS, 2)]
    return list_source(every, replace(wishes, unit="line"))


MOLECULES = (
    Entry(
        "zinc",
        "29,445 drug-like molecules as SMILES, a line each; 24,445 to train and 5,000 to test.",
        "MIT (the selection); ZINC is free of charge, and large parts of it may not be redistributed",
        "https://github.com/wengong-jin/icml18-jtnn",
        29445,
        at(
            f"{GITHUB}/wengong-jin/icml18-jtnn/d4c425a8a28fce7d0e8f5da741d27d3fce4a7ec0/data/zinc/",
            """sha256:ad7d9c2bfebd93ffda6c32ed0e89d1714ae1f592f6340c0e6ae057521bbae30d 1106144 valid.txt
            sha256:31f6ce92914814db33bf0dbfc45f3836193e27cb80a59c54d88bc05a1f5fab83 225615 test.txt""",
        ),
        modality="molecule",
        note="the two smaller of the three files of ZINC 250k",
        texts=_zinc,
    ),
    Entry(
        "simple-molecules",
        "780 small molecules: ten common rings, each with two common groups; needs no download.",
        "CC0 1.0",
        "https://github.com/rdkit/rdkit",
        780,
        (),
        modality="molecule",
        note="made by rule, for a first look and for tests",
        texts=_simple,
    ),
)
