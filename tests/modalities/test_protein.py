"""Proteins: what is read and refused, figures against other computations, files, structures, samples that decode."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data.evolved import evolved
from genloom.data.fasta import RESIDUES
from genloom.data.kinds import find_kind
from genloom.data.prepare import prepare
from genloom.metrics import proteins
from genloom.modalities.protein import Protein, ProteinConfig, Twenty
from genloom.nets.esmfold import VARIABLE, Folder

pytest.importorskip("Bio")

SEQUENCES = [s for _, _, s in evolved()]


def test_what_is_no_protein_is_refused_with_the_reason() -> None:
    read = lambda raw: Protein.read(raw, ProteinConfig(length=40))  # noqa: E731
    assert read(b">a title\nmkv-lag\nCD.EF*\n") == "MKVLAGCDEF"
    assert read("MKVLAGBCDEF") == "MKVLAGXCDEF"
    for raw, match in (
        (">a\nACGTACGTACGTACGTACGTNN\n", "DNA or RNA"),
        (">a\nMKV1LAG\n", "'1' at place 4"),
        (">a\nMK\n", "2 residues"),
        (">a\n" + "MKVLAGCDEF" * 5, "50 residues, more than modality.length=40"),
        (">a\nMKXXXXXVLA\n", "are unknown"),
        (">a\nMKVLA\n>b\nMKVLA\n", "2 sequences"),
        (">a\n\n", "empty"),
        (7, "not a protein but int"),
    ):
        with pytest.raises(Unreadable, match=match):
            read(raw)


def test_files_are_told_and_their_names_are_families(tmp_path: Path) -> None:
    for family in ("alpha", "beta"):
        rows = [f">{family}{k} OS=Made {k % 2}\n{s}\n" for f, k, s in evolved() if f == family][:30]
        (tmp_path / f"{family}.fasta").write_text("".join(rows))
    assert find_kind(tmp_path) == "protein" and find_kind("toy-proteins") == "protein"
    assert find_kind([s for s in SEQUENCES[:5]]) == "protein"
    prepared = prepare(tmp_path, None, {}, DataConfig())
    assert prepared.condition.classes == ("alpha", "beta") and [p.name for p in prepared.condition.properties] == [
        "length"
    ]
    one = tmp_path / "alpha.fasta"
    one.rename(tmp_path / "alpha.txt")
    assert find_kind(tmp_path / "alpha.txt") == "protein"
    (tmp_path / "alpha.txt").rename(one)
    assert prepare(one, None, {}, DataConfig(label="OS")).condition.classes == ("Made 0", "Made 1")
    with pytest.raises(InputError, match="GN="):
        prepare(one, None, {}, DataConfig(label="GN"))


def test_a_file_of_dna_is_one_sentence(tmp_path: Path) -> None:
    rows = [f">gene{i}\n{'ACGTTGCA' * 5}{'ACGT'[i % 4]}\n" for i in range(8)]
    (tmp_path / "genes.fasta").write_text("".join(rows))
    with pytest.raises(InputError, match=r"DNA or RNA .* translate it first"):
        prepare(tmp_path / "genes.fasta", None, {}, DataConfig())
    (tmp_path / "genes.fasta").write_text("MKVLAGCDEF\n")
    with pytest.raises(InputError, match="it is no FASTA"):
        prepare(tmp_path / "genes.fasta", None, {}, DataConfig())


def test_an_alignment_is_learnt_by_columns_or_as_sequences(tmp_path: Path) -> None:
    (tmp_path / "a.a3m").write_text("#A3M\n>q\nMKVLAGCD\n>b\nMK--AGcdeCD\n>c\n-KVLWGCD\n")

    def found(**settings: object) -> tuple[set[str], Protein]:
        prepared = prepare(tmp_path / "a.a3m", None, settings, DataConfig(validation=0, test=0))
        assert any("of 8 columns are learnt column by column" in n for n in prepared.notices) != bool(settings)
        return {prepared.modality.decode(x) for x in prepared.train.batch(np.arange(3)).x}, prepared.modality

    rows, modality = found()
    assert rows == {"MKVLAGCD", "MK--AGcdeCD", "-KVLWGCD"} and modality.families == ("MKVLAGCD",)
    assert found(aligned=False)[0] == {"MKVLAGCD", "MKAGCDECD", "KVLWGCD"}
    # Samples are sequences in files and figures, rows beside.
    assert modality.properties("MK--AGcdeCD") == {"length": 9.0} and modality.sizes("M-k") == {"residue": 2}
    paths = modality.write(["MK--AGcdeCD", "MKVLAGCD"], tmp_path / "out", ["x", "y"])
    assert paths[0].read_text() == ">x length=9\nMKAGCDECD\n" and paths[-1].name == "proteins.a3m"
    assert "\nMK--AGcdeCD\n" in paths[-1].read_text()
    other = next(v for k, v in modality.figures().items() if k == "repeats")
    assert other.measure(["AAAA-AAAA"], ["MK"]).tolist() == [1.0]
    # A sequence that is no row is aligned first.
    assert modality.decode(modality.encode("MKVAGCD")) in ("MKV-AGCD", "MK-VAGCD")


def test_the_grammar_lets_twenty_residues_and_an_end_through() -> None:
    modality = Protein.fit(ProteinConfig(), ["MKVXLA"])
    allowed = modality.grammar().allowed(torch.tensor([[2], [2]]))
    assert {i for i in range(24) if allowed[0, i]} == set(range(3, 23))
    later = Twenty(24).allowed(torch.tensor([[2, 5]]))
    assert bool(later[0, 1]) and not later[0, [0, 2, 23]].any()
    with pytest.raises(InputError, match="'1' is no residue"):
        modality.prompt("MK1")


def test_figures_agree_with_other_computations() -> None:
    a, b = SEQUENCES[:40], SEQUENCES[40:90]
    shares = [Counter("".join(side)) for side in (a, b)]
    total = [sum(c.values()) for c in shares]
    expected = sum(abs(shares[0][r] / total[0] - shares[1][r] / total[1]) for r in RESIDUES) / 2
    assert proteins.composition_distance(a, b) == pytest.approx(expected)
    from scipy.spatial.distance import jensenshannon

    pairs = [Counter(s[i : i + 2] for s in side for i in range(len(s) - 1)) for side in (a, b)]
    keys = sorted({*pairs[0], *pairs[1]})
    other = jensenshannon([pairs[0][k] for k in keys], [pairs[1][k] for k in keys]) ** 2
    assert proteins.kmer_distance(2)(a, b) == pytest.approx(other)
    assert proteins.kmer_distance(3)(a, a) == pytest.approx(0, abs=1e-12)


def test_identity_is_that_of_the_most_similar_sequence() -> None:
    changed = SEQUENCES[3][:20] + "WWW" + SEQUENCES[3][23:]
    different = sum(x != y for x, y in zip(changed, SEQUENCES[3], strict=True))
    found = proteins.identities([SEQUENCES[3], changed, "WWWWWWWWWW"], [s for s in SEQUENCES if s != changed])
    assert found[0] == 1 and found[2] < 0.4
    assert found[1] == pytest.approx(1 - different / len(changed), abs=0.02)


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [("MKAAAAAAAAV", True), ("MKAAAAAAAV", False), ("MKSGSGSGSGSGV", True), ("MKSGSGSGV", False), ("MKVLAWGHT", False)],
)
def test_unnatural_repeats(sequence: str, expected: bool) -> None:
    def brute(s: str) -> bool:
        return any(
            s[i : i + p] * n == s[i : i + p * n]
            for p, n in [(1, 8), (2, 5), (3, 4), (4, 4), (5, 4), (6, 4)]
            for i in range(len(s) - p * n + 1)
        )

    assert proteins.repeated(sequence) is brute(sequence) is expected


def test_a_profile_knows_its_family_and_is_what_counting_gives() -> None:
    rng = np.random.default_rng(0)
    column = [0.7, 0.3]
    made = [
        "".join(rng.choice(["A", "L"], p=column) if i % 5 == 4 else c for i, c in enumerate("MKVWHYEDRN" * 4))
        for _ in range(300)
    ]
    value = proteins.profile_perplexity(made[200:], made[:200])
    entropy = -sum(p * np.log(p) for p in column) / 5  # eight of forty places vary
    assert value == pytest.approx(np.exp(entropy), rel=0.15)
    families = [s for f, _, s in evolved() if f == "alpha"], [s for f, _, s in evolved() if f == "beta"]
    known = families[0][:60] + families[1][:60]
    assert proteins.profile_perplexity(families[0][60:], known) < 0.6 * proteins.profile_perplexity(
        families[0][60:], families[1]
    )
    assert len(proteins.Profiles.learnt(known).references) == 2


def test_files_are_fasta_that_another_reader_reads(tmp_path: Path) -> None:
    from Bio import SeqIO

    modality = Protein.fit(ProteinConfig(), SEQUENCES)
    paths = modality.write(SEQUENCES[:3], tmp_path, ["a", "b", "c"], lambda _, data: data)
    assert [p.name for p in paths] == ["a.fasta", "b.fasta", "c.fasta", "proteins.fasta"]
    assert [str(r.seq) for r in SeqIO.parse(tmp_path / "proteins.fasta", "fasta")] == SEQUENCES[:3]


def test_structures_come_from_a_model_of_the_class_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    from Bio.PDB.PDBParser import PDBParser

    trunk = {
        "num_blocks": 1, "sequence_state_dim": 32, "pairwise_state_dim": 16, "sequence_head_width": 8,
        "pairwise_head_width": 8, "position_bins": 4, "max_recycles": 1,
        "structure_module": {
            "sequence_dim": 32, "pairwise_dim": 16, "ipa_dim": 4, "resnet_dim": 8, "num_heads_ipa": 2,
            "num_qk_points": 2, "num_v_points": 2, "num_blocks": 1, "num_transition_layers": 1, "num_resnet_blocks": 1,
        },
    }  # fmt: skip
    names = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
    config = transformers.EsmConfig(
        vocab_size=33, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, pad_token_id=1, mask_token_id=32, is_folding_model=True, vocab_list=names,
        position_embedding_type="rotary", esmfold_config={"trunk": trunk, "lddt_head_hid_dim": 8, "fp16_esm": False},
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.EsmForProteinFolding(config).save_pretrained(tmp_path / "esmfold")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "esmfold"))
    modality = Protein.fit(ProteinConfig(), ["MKVLAGCD"])
    paths = modality.write(["MKVLA"], tmp_path / "out", ["a"])
    assert [p.name for p in paths] == ["a.fasta", "a.pdb"]
    chain = next(PDBParser(QUIET=True).get_structure("a", tmp_path / "out" / "a.pdb").get_chains())
    assert [r.get_resname() for r in chain] == ["MET", "LYS", "VAL", "LEU", "ALA"]
    factors = [atom.get_bfactor() for atom in chain.get_atoms()]
    expected = Folder.load(str(tmp_path / "esmfold"))("MKVLA").confidence
    assert 1 < min(factors) <= max(factors) <= 100 and len(expected) == 5
    assert np.mean([a.get_bfactor() for a in list(chain)[2]]) == pytest.approx(expected[2], abs=0.01)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no weights of ESMFold"):
        Protein.fit(ProteinConfig(), ["MKVLAGCD"]).write(["MKVLA"], tmp_path / "out", ["b"])


def test_the_picture_shows_every_sequence() -> None:
    modality = Protein.fit(ProteinConfig(), SEQUENCES)
    shown = modality.show(SEQUENCES[:2])
    file = io.BytesIO()
    shown.save(file, "PNG")
    assert shown.width > 500 and len({tuple(c) for c in np.asarray(shown).reshape(-1, 3).tolist()}) > 20
