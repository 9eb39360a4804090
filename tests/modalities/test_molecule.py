"""Molecules: what is read, refused and written; RDKit judges the files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genloom
from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.core.rng import Rng
from genloom.data import atoms, molecules
from genloom.data.atoms import Atoms, Balanced, marked, plain, tokenize
from genloom.data.catalog_molecules import GROUPS, RINGS
from genloom.data.kinds import find_kind
from genloom.data.prepare import Prepared, prepare
from genloom.data.smiles import looks_like_smiles
from genloom.modalities.molecule import Molecule, MoleculeConfig

Chem = pytest.importorskip("rdkit.Chem")
SMILES = [ring.format(a, b) for ring in RINGS for a, b in pairwise(GROUPS)]
CONFIG = MoleculeConfig()


def read(raw: object, **settings: object) -> str:
    return Molecule.read(raw, MoleculeConfig(**settings))


def texts(p: Prepared) -> list[str]:
    return sorted(p.modality.decode(b.x[0]) for s in (p.train, p.validation, p.test) for b in s.batches(1))


def test_a_smiles_is_read_as_the_canonical_one() -> None:
    assert read("OCC ethanol") == read(b"C(O)C\n") == read("# a remark\n[CH3][CH2][OH]") == "CCO"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("CC(", "syntax error"),
        ("C1CC", "unclosed ring"),
        ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5"),
        ("c1cccc1", "kekulize"),
        ("", "empty"),
        ("C" * 101, "101 heavy atoms"),
        (7, "not a SMILES but int"),
        ("\n\n\n  1  0  0\n bad\nM  END", "no molecule"),
    ],
)
def test_what_rdkit_refuses_is_unreadable_with_its_reason(
    raw: object, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unreadable, match=reason) as e:
        read(raw)
    assert "\n" not in str(e.value)
    assert capfd.readouterr() == ("", "")


def test_salts_isotopes_and_handedness_are_kept_unless_asked() -> None:
    salt, heavy, left = "CC(=O)[O-].[Na+]", "[13CH3]CO", "C[C@H](N)C(=O)O"
    assert [read(s) for s in (salt, heavy, left)] == [Chem.CanonSmiles(s) for s in (salt, heavy, left)]
    assert read(salt, salts="largest") == "CC(=O)[O-]"
    assert read(heavy, isotopes=False) == read("[2H]CCO", isotopes=False) == "CCO"
    assert read(left, stereo=False) == Chem.CanonSmiles("CC(N)C(=O)O")
    notices = Molecule.fit(CONFIG, [salt, heavy, "CC"]).notices
    assert len(notices) == 2 and "1 training molecule of several parts" in notices[0] and "isotopes" in notices[1]


def test_bad_molecules_are_quarantined_once_and_told_in_one_notice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed.smi"
    path.write_text("".join(f"{s} x{i}\n" for i, s in enumerate([*SMILES, *["C1CC"] * 30])), "utf-8")
    prepared = prepare(path, None, {}, DataConfig())
    assert len(prepared.quarantined) == 30 and "unclosed ring" in prepared.quarantined[0].reason
    assert sum("30 examples" in n for n in prepared.notices) == 1
    assert texts(prepared) == sorted(read(s) for s in SMILES)
    assert capfd.readouterr().err == ""


def test_smiles_tables_sdf_and_folders_are_molecules_without_a_flag(tmp_path: Path) -> None:
    some = SMILES[:40]
    wanted = sorted(read(s) for s in some)
    (tmp_path / "list.txt").write_text("\n".join(some) + "\n", "utf-8")
    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([["id", "Smiles", "class"], *([i, s, "ab"[i % 2]] for i, s in enumerate(some))])
    folder = tmp_path / "sdf"
    folder.mkdir()
    blocks = [Chem.MolToMolBlock(Chem.MolFromSmiles(s)) + f">  <id>\n{i}\n\n$$$$\n" for i, s in enumerate(some)]
    (folder / "all.sdf").write_text("".join(blocks), "utf-8")
    for data in (tmp_path / "list.txt", tmp_path / "table.csv", folder / "all.sdf", folder):
        assert find_kind(data) == "molecule", data
        assert texts(prepare(data, None, {}, DataConfig())) == wanted
    assert prepare(tmp_path / "table.csv", None, {}, DataConfig()).condition.classes == ("a", "b")


def test_words_and_numbers_are_not_taken_for_molecules() -> None:
    assert looks_like_smiles(SMILES)
    assert not looks_like_smiles(["Anna", "Bob", "Ian", "Osip", "Conn", "Finn", "CPU"])
    assert not looks_like_smiles(["1", "22", "333", "10", "12"]) and not looks_like_smiles(["CCO"])


def test_tokens_are_atoms_and_join_to_the_text() -> None:
    assert tokenize("ClC[C@@H](Br)%12c1") == ["Cl", "C", "[C@@H]", "(", "Br", ")", "%12", "c", "1"]
    for odd in ("[C", "%1", "C\n]é"):
        assert "".join(tokenize(odd)) == odd


def test_marks_tell_the_ends_of_rings_and_branches_from_their_beginnings() -> None:
    tokens = tokenize("C1CC(C(=O)N%12C)C1c1c%12c1")
    marks = marked(tokens)
    assert [t for t in marks if plain(t) != t] == ["(1", "(2", ")2", ")1", "1'", "%12'", "1'"]
    assert [plain(t) for t in marks] == tokens
    for k in range(len(tokens)):
        assert marked(tokens[:k]) == marks[:k]  # so that a prompt has the tokens that training had
    assert marked(tokenize(")C)C(C)")) == [")2", "C", ")1", "C", "(1", "C", ")1"]  # an end without its beginning


def test_pieces_are_byte_pairs_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atoms, "LEAST", 5)
    smiles = [read(s) for s in SMILES]
    modality, single = (Molecule.fit(MoleculeConfig(pieces=n), smiles) for n in (60, 0))
    assert modality.vocabulary.size == 4 + 60 and not single.vocabulary.merges
    # The first piece is the most frequent pair.
    pairs = Counter(pair for s in smiles for pair in pairwise(marked(tokenize(s))))
    first = modality.vocabulary.pieces[len(modality.vocabulary.tokens)]
    assert pairs[first] == max(pairs.values())
    again = Molecule.from_state(json.loads(json.dumps(modality.state())))
    for s in smiles:
        x = modality.encode(s)
        assert modality.decode(x) == s and torch.equal(again.encode(s), x) and len(x) < len(single.encode(s))
    assert modality.vocabulary.encode(["C", "[Xe]", "C"]).tolist().count(modality.unknown) == 1
    # Whatever the guide allows is well formed, and every training molecule is allowed.
    guide = Balanced(modality.vocabulary, 2, 1)
    for s in smiles:
        x = modality.encode(s)
        for k in range(1, len(x)):
            assert guide.allowed(x[None, :k])[0, x[k]], (s, k)
    rng, ended = np.random.default_rng(0), 0
    for _ in range(60):
        row = [2]
        while row[-1] != 1 and len(row) < 60:
            may = guide.allowed(torch.tensor([row]))[0]
            row.append(1 if may[1] else int(rng.choice(torch.nonzero(may).flatten().numpy())))
        text = modality.decode(torch.tensor(row))
        ended += row[-1] == 1
        marks = marked(tokenize(text))
        assert row[-1] != 1 or text.count("(") == text.count(")"), text
        assert row[-1] != 1 or all(marks.count(r) == marks.count(r + "'") for r in "12"), text
        assert ")0" not in marks and marks == [t for i in row[1:] if i > 3 for t in modality.vocabulary.pieces[i - 4]]
    assert ended > 30


def test_kekule_structures_come_back_as_the_same_molecules() -> None:
    modality = Molecule.fit(MoleculeConfig(notation="kekule", augment=True), [read(s) for s in [*SMILES, "c1cc[nH]c1"]])
    assert not {"c", "n", "[nH]"} & set(modality.vocabulary.tokens)
    for s in (*SMILES[:20], "c1cc[nH]c1"):
        x = modality.encode(read(s))
        row = torch.nn.functional.pad(x, (0, 40))[None]
        assert modality.decode(x) == read(s) and modality.decode(modality.augment(row, Rng(3))[0]) == read(s)
    assert modality.decode(modality.encode("C1CC(")) == "C1CC("  # what is no molecule stays as it is
    begun = "".join(modality.vocabulary.decode(np.array(modality.prompt("c1cc(*)ccc1C"))))
    assert "c" not in begun and Chem.CanonSmiles(begun + "C(=O)N") == Chem.CanonSmiles("Cc1ccc(C(N)=O)cc1")
    assert "".join(modality.vocabulary.decode(np.array(modality.prompt("c1ccc(*)cc1")))) == "C1=CC=CC=C1"  # no branch
    assert modality.prompt("CC(=O)CCl")  # the l of Cl is no aromatic atom
    for text in ("c1ccc", "CCn1", "[nH]1"):
        with pytest.raises(InputError, match="single and double bonds"):
            modality.prompt(text)


def test_selfies_come_back_as_the_same_molecule() -> None:
    pytest.importorskip("selfies")
    modality = Molecule.fit(MoleculeConfig(notation="selfies"), [read(s) for s in SMILES])
    for s in SMILES[:20]:
        assert modality.decode(modality.encode(read(s))) == read(s)
    noise = torch.randint(4, modality.spec.vocab, (20, 30), generator=torch.Generator().manual_seed(0))
    assert all(molecules.molecule(modality.decode(row)) is not None for row in noise)


def test_randomised_smiles_are_other_spellings_of_the_same_molecules() -> None:
    modality = Molecule.fit(MoleculeConfig(augment=True), [read(s) for s in SMILES])
    rows = [torch.cat([modality.encode(read(s)) for s in SMILES[i : i + 3]]) for i in range(0, 30, 3)]
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=modality.spec.pad)
    x = torch.nn.functional.pad(x, (0, 40))
    y = modality.augment(x, Rng(1))
    assert y.shape == x.shape and torch.equal(y, modality.augment(x, Rng(1))) and not torch.equal(y, x)
    for before, after in zip(x, y, strict=True):
        for a, b in zip(split(modality, before), split(modality, after), strict=True):
            assert Chem.CanonSmiles(a) == Chem.CanonSmiles(b)


def split(modality: Molecule, row: torch.Tensor) -> list[str]:
    begins = torch.nonzero(row == modality.spec.bos).flatten().tolist()
    return [modality.decode(row[b:]) for b in begins]


def test_the_grammar_closes_rings_and_branches() -> None:
    vocabulary = Atoms(["(1", ")1", "(2", ")2", "1", "1'", "2", "2'", "=", "C", "c", "."])
    guide = Balanced(vocabulary, 2, 1)

    def after(text: str) -> set[str]:
        tokens = torch.tensor([[2, *vocabulary.encode(marked(tokenize(text))).tolist()]])
        found = torch.nonzero(guide.allowed(tokens)[0]).flatten()
        return {"end" if i == 1 else vocabulary.tokens[i - 4] for i in found.tolist()}

    assert after("") == {"C", "c"} and "end" in after("C")
    assert after("C(") == {"C", "c", "="} and {")1", "(2"} <= after("C(C") and "end" not in after("C(C")
    assert "end" not in after("C1CC") and "end" in after("C1CC1") and not {"1", "1'"} & after("C1")
    assert {"1'", "2"} <= after("C1CC") and not {"1", "2'"} & after("C1CC") and {"1", "2"} <= after("C1CC1")
    assert ")2" in after("C(C(C") and ")1" not in after("C(C(C") and ")1" in after("C(C(C)C")
    assert after("C=") == {"C", "c", "1", "2"} and not {")1", ")2"} & after("C")
    assert "grammar" in MoleculeConfig.model_fields and Molecule.fit(CONFIG, ["CC"]).grammar() is None


def test_files_are_3d_with_energies_and_failures_are_told(tmp_path: Path) -> None:
    modality = Molecule.fit(CONFIG, ["CCO", "[Cu]", "CC("])
    paths = modality.write(["CCO", "[Cu]", "CC("], tmp_path, ["a", "b", "c"])
    assert [p.name for p in paths] == ["a.sdf", "b.sdf", "c.smi", "molecules.smi", "molecules.svg"]
    solid, flat = (next(iter(Chem.SDMolSupplier(str(p), removeHs=False))) for p in paths[:2])
    assert (
        solid.GetConformer().Is3D() and solid.GetNumAtoms() == 9 and Chem.CanonSmiles(solid.GetProp("smiles")) == "CCO"
    )
    assert abs(float(solid.GetProp("energy_kcal_per_mol"))) < 100 and float(solid.GetProp("weight")) == 46.07
    assert not flat.GetConformer().Is3D() and "MMFF94s lacks" in flat.GetProp("flat_because")
    assert paths[3].read_text().splitlines()[0] == "# 3 samples: 2 valid, 1 of them with a 3D structure"
    listed = [m for m in Chem.SmilesMolSupplier(str(paths[3]), titleLine=False) if m is not None]
    assert [m.GetProp("_Name") for m in listed] == ["a", "b"]


def test_the_picture_has_a_place_for_each() -> None:
    modality = Molecule.fit(CONFIG, SMILES[:4])
    shown = modality.show(["CCO", "c1ccccc1", "CC("], 3)
    assert isinstance(shown, Image.Image) and shown.size == (3 * molecules.CELL, molecules.CELL)


def test_properties_are_those_of_rdkit_and_nan_where_there_are_none() -> None:
    from rdkit.Chem import QED, Descriptors

    modality = Molecule.fit(MoleculeConfig(properties=("qed", "weight")), ["CCO"])
    mol = Chem.MolFromSmiles("CCO")
    assert modality.properties("CCO") == {"qed": QED.qed(mol), "weight": Descriptors.MolWt(mol)}
    assert all(np.isnan(v) for v in modality.properties("CC(").values())


def test_a_property_that_fails_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(mol: object) -> float:
        raise ValueError("no parameters")

    monkeypatch.setitem(molecules._measures(), "tpsa", broken)
    assert np.isnan(molecules.measured("CCCCl", "tpsa"))


def test_an_unknown_property_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'logp'"):
        prepare("simple-molecules", None, {"properties": ("logpp",)}, DataConfig())


def test_a_core_is_grown_at_its_open_place() -> None:
    modality = Molecule.fit(CONFIG, [read(s) for s in SMILES])
    begun = "".join(modality.vocabulary.decode(np.array(modality.prompt("c1cc(*)ccc1C"))))
    grown = Chem.MolFromSmiles(begun + "C(=O)N")
    assert Chem.CanonSmiles(begun + "C(=O)N") == Chem.CanonSmiles("Cc1ccc(C(N)=O)cc1")
    assert grown.HasSubstructMatch(Chem.MolFromSmiles("c1ccccc1C"))
    for core, reason in {
        "c1cc(*)cc1*": "no molecule",
        "C(*)C*": "it has 2",
        "[Xe]*": "does not know '\\[Xe\\]'",
    }.items():
        with pytest.raises(InputError, match=reason):
            modality.prompt(core)


def test_from_training_to_judged_molecules_in_files(tmp_path: Path) -> None:
    """The whole path on the embedded set, tiny."""
    settings = {
        "family.cell": "lstm", "family.width": 24, "family.hidden": 96, "family.context": 32, "train.batch": 16,
        "train.grids": 0, "train.validate_times": 0, "modality.grammar": True, "train.ema": 0.9,
    }  # fmt: skip
    run = genloom.train("simple-molecules", steps=150, out=tmp_path / "run", settings=settings)
    assert run.config.kind == "molecule" and run.config.model == "autoregressive"
    judged = {f.name: f for f in run.evaluate(n=60).figures}
    assert judged["valid"].value is not None and judged["valid"].ceiling == 1
    assert judged["novelty"].ceiling == 1 and judged["fragments"].value is not None
    paths = run.write_samples(6, tmp_path / "out", seed=1)
    assert len(paths) == 8 and (tmp_path / "out" / "molecules.smi").is_file()
