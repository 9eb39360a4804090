"""Molecules as Tokens of SMILES (or SELFIES), by RDKit.

An example is a str: of real data the canonical SMILES, of samples whatever was generated, valid or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting, unknown
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.guide import Guide
from genloom.core.modality import Fingerprint, Modality, OwnFigure, Score
from genloom.core.rng import Rng, derive
from genloom.core.spec import Tokens
from genloom.data import encoding, molecules
from genloom.data.atoms import AROMATIC, Atoms, Balanced, marked, plain, tokenize
from genloom.data.items import Source, count
from genloom.data.smiles import LISTS, STRUCTURES, TABLES, open_molecules, recognised
from genloom.data.vocabulary import BOS, EOS, PAD
from genloom.metrics.molecules import fingerprints, nearest
from genloom.metrics.moses import moses

ROOM = 1.25  # tokens of a randomised SMILES as a multiple of the canonical one's, at most
MOST_DRAWN = 64  # molecules of one SVG


class MoleculeConfig(Settings):
    """How files become molecules, and molecules tokens."""

    notation: Literal["smiles", "kekule", "selfies"] = setting(
        "smiles",
        "smiles; kekule, SMILES with single and double bonds in aromatic rings, where hydrogens need not be told; or "
        "selfies, in which every sequence is a molecule.",
    )
    pieces: int = setting(
        200,
        "Tokens and pieces of several tokens that often stand together, as many in all; each is one symbol. 0: no "
        "pieces.",
        ge=0,
    )
    augment: bool = setting(False, "Write each molecule from another atom every time it is seen (randomised SMILES).")
    salts: Literal["keep", "largest"] = setting(
        "keep", "Of molecules of several parts: keep all, or the largest part alone."
    )
    isotopes: bool = setting(True, "Keep the marks of isotopes; else [13C] is C.")
    stereo: bool = setting(True, "Keep the marks of handedness and of sides of double bonds.")
    atoms: int = setting(100, "Most heavy atoms of a molecule; larger ones are left out.", unit="atoms", ge=1)
    properties: tuple[str, ...] = setting(
        (), "Numbers that samples can be asked for, as in [qed,logp]: qed, logp, weight, tpsa, sa, rings, atoms."
    )
    grammar: bool = setting(False, "Keep SMILES well formed while they are generated: close every branch and ring.")


class Molecule(Modality[str]):
    """A molecule as int64 [T]: bos, pieces of atoms, bonds, branches and rings, eos."""

    Config = MoleculeConfig
    forms = (Tokens,)
    extensions = LISTS | STRUCTURES

    def __init__(self, config: MoleculeConfig, vocabulary: Atoms, length: int, notices: tuple[str, ...] = ()) -> None:
        """length: tokens of the longest training example with bos and eos."""
        self.config: MoleculeConfig = config
        self.vocabulary, self.notices = vocabulary, notices
        self.spec: Tokens = Tokens(length, vocabulary.size, PAD, BOS, EOS, False)

    # -- reading -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        """The source of `data`. Raises InputError; for a missing package and an unknown property before it reads."""
        molecules.rdkit()
        if isinstance(config, MoleculeConfig):
            if config.notation == "selfies":
                _selfies()
            for name in config.properties:
                if name not in molecules.PROPERTIES:
                    raise InputError(unknown(name, molecules.PROPERTIES, "property of molecules"))
        return open_molecules(data, cls.extensions | TABLES, where)

    @classmethod
    def recognises(cls, name: str, head: bytes) -> bool:
        return recognised(name, head)

    @classmethod
    def read(cls, raw: Any, config: Settings) -> str:
        """The canonical SMILES of a SMILES (a name may follow it) or of a record of an SDF file. Raises Unreadable with
        what RDKit says."""
        assert isinstance(config, MoleculeConfig)
        if not isinstance(raw, str | bytes):
            raise Unreadable(f"not a SMILES but {type(raw).__name__}")
        text = encoding.decode(raw) if isinstance(raw, bytes) else raw
        how = molecules.Reading(config.salts == "largest", config.isotopes, config.stereo, config.atoms)
        if "M  END" in text or "$$$$" in text:
            found = molecules.read_block(text, how)
        else:
            lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            if not lines:
                raise Unreadable("it is empty")
            found = molecules.read_smiles(lines[0].split(None, 1)[0], how)
        if config.notation == "selfies":
            _as_selfies(found)
        return found

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(hashlib.blake2b(example.encode(), digest_size=16).digest())

    @classmethod
    def fit(cls, config: Settings, train: Iterable[str]) -> Self:
        """The tokens of the training molecules; with randomised SMILES also those of two other spellings of each."""
        assert isinstance(config, MoleculeConfig)
        spellings = list[list[str]]()
        n = salts = isotopes = 0
        for smiles in train:
            n += 1
            spellings.append(_tokens(smiles, config))
            if config.augment:
                kekule = config.notation == "kekule"
                other = [molecules.randomised(smiles, derive(k, smiles), kekule) for k in range(2)]
                spellings += [marked(tokenize(text)) if kekule else _tokens(text, config) for text in other]
            salts += "." in smiles
            isotopes += any(t[0] == "[" and t[1:2].isdigit() for t in tokenize(smiles))
        if not n:
            raise InputError("there is no molecule to learn from")
        vocabulary = Atoms.learnt(spellings, config.pieces)
        longest = max(len(vocabulary.encode(own)) for own in spellings)
        length = 2 + (round(ROOM * longest) if config.augment else longest)
        return cls(config, vocabulary, length, tuple(_notices(config, salts, isotopes)))

    # -- tokens ------------------------------------------------------------------------------------------------------

    def encode(self, example: str) -> Tensor:
        """int64 [T]; tokens that the training molecules lack become the unknown one."""
        ids = self.vocabulary.encode(_tokens(example, self.config))
        return torch.from_numpy(np.concatenate([[BOS], ids, [EOS]]))

    def decode(self, x: Tensor) -> str:
        """The SMILES up to the first eos, as it was generated. Of SELFIES and Kekulé structures the canonical one,
        where they are molecules."""
        ids = x.detach().cpu().numpy().astype(np.int64)
        ended = np.flatnonzero(ids == EOS)
        text = "".join(self.vocabulary.decode(ids[: ended[0]] if len(ended) else ids))
        if self.config.notation == "smiles":
            return text
        return molecules.respelt(_from_selfies(text) if self.config.notation == "selfies" else text)

    def augment(self, x: Tensor, rng: Rng) -> Tensor:
        """Every whole molecule of each row [T] written from another atom. What follows it moves; what passes the row's
        end is cut off."""
        if not self.config.augment or self.config.notation == "selfies":
            return x
        draws = rng.integers("spelling", 2**31 - 1, len(x)).tolist()
        rows = [self._respelled(row, draw) for row, draw in zip(x.numpy(), draws, strict=True)]
        return torch.from_numpy(np.stack(rows))

    def _respelled(self, row: NDArray[np.int64], draw: int) -> NDArray[np.int64]:
        out = np.full_like(row, PAD)
        begins, ends = np.flatnonzero(row == BOS), np.flatnonzero(row == EOS)
        parts, done = [], 0
        for k, begin in enumerate(begins.tolist()):
            end = next((e for e in ends.tolist() if e > begin), None)
            if end is None:
                break
            parts += [row[done:begin], self._other(row[begin : end + 1], derive(draw, k))]
            done = end + 1
        whole = np.concatenate([*parts, row[done:]])[: len(row)]
        out[: len(whole)] = whole
        return out

    def _other(self, ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """Another spelling of a molecule with bos and eos; the same where it would hold tokens that are not known."""
        text = molecules.randomised("".join(self.vocabulary.decode(ids)), seed, self._kekule)
        spelling = marked(tokenize(text))
        other = self.vocabulary.encode(spelling)
        if self.vocabulary.unknown(spelling) or len(other) + 2 > self.spec.length:
            return ids
        return np.concatenate([[BOS], other, [EOS]])

    @property
    def _kekule(self) -> bool:
        return self.config.notation == "kekule"

    @property
    def unknown(self) -> int:
        """The id of tokens that the training molecules lack."""
        return self.vocabulary.unk

    def prompt(self, text: str) -> list[int]:
        """The tokens of a beginning: a part of a SMILES, or a core with one open place, as in c1ccccc1*, which samples
        grow outward. Raises InputError naming what is unknown."""
        if self.config.notation == "selfies" and text:
            raise InputError("a model of SELFIES cannot be given a beginning; train it with modality.notation=smiles")
        if self._kekule and "*" not in text and any(map(AROMATIC.match, tokenize(text))):
            raise InputError(
                "a model of Kekulé structures takes a beginning with single and double bonds (C1=CC=CC=C1), or a core "
                "with its open place (*), which it writes so itself"
            )
        tokens = marked(tokenize(molecules.opened(text, self._kekule) if "*" in text else text))
        missing = self.vocabulary.unknown(tokens)
        if missing:
            raise InputError(f"the model does not know {missing[0]!r}: no molecule that it was trained on has it")
        return self.vocabulary.encode(tokens).tolist()

    def grammar(self) -> Guide | None:
        """None unless asked for: then validity is the model's own."""
        asked = self.config.grammar and self.config.notation != "selfies"
        return Balanced(self.vocabulary, BOS, EOS) if asked else None

    def units(self, example: str) -> list[str]:
        """Atoms, bonds, branches and rings."""
        return [plain(t) for t in _tokens(example, self.config)]

    def sizes(self, example: str) -> dict[str, int]:
        """Characters of the SMILES, and its bytes."""
        return {"character": len(example), "byte": len(example.encode())}

    # -- what people look at -----------------------------------------------------------------------------------------

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """NAME.sdf of each molecule, in 3D with its energy where that can be computed (else flat, with the reason), or
        NAME.smi of what is no molecule; of several also all in molecules.smi and, up to 64, drawn in molecules.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        files: list[tuple[Path, bytes]] = []
        solid = 0
        for name, example in zip(names, examples, strict=True):
            if molecules.molecule(example) is None:
                files.append((folder / f"{name}.smi", f"{example}\n".encode()))
                continue
            record = molecules.structure(example, name, _facts(example))
            solid += record.energy is not None
            files.append((folder / f"{name}.sdf", record.block.encode()))
        if len(names) > 1:
            valid = sum(path.suffix == ".sdf" for path, _ in files)
            head = f"# {count(len(names), 'sample')}: {valid} valid, {solid} of them with a 3D structure\n"
            rows = [f"{e} {n}\n" for e, n in zip(examples, names, strict=True) if molecules.molecule(e) is not None]
            files.append((folder / "molecules.smi", "".join([head, *rows]).encode()))
            if len(names) <= MOST_DRAWN:
                drawing = molecules.svg(examples, _columns(len(names)), list(names))
                files.append((folder / "molecules.svg", drawing.encode()))
        for path, data in files:
            write_atomic(path, finish(path, data))
        return [path for path, _ in files]

    def show(self, examples: Sequence[str], columns: int | None = None) -> Image.Image:
        """The structural formulas with their drug-likeness and lipophilicity."""
        if not examples:
            raise InputError("there is no molecule to show")
        return molecules.picture(examples, columns or _columns(len(examples)), [_caption(e) for e in examples])

    # -- what is measured --------------------------------------------------------------------------------------------

    def property_names(self) -> tuple[str, ...]:
        return self.config.properties

    def properties(self, example: str) -> Mapping[str, float]:
        """Each of `property_names`; NaN where it cannot be computed."""
        return {name: molecules.measured(example, name) for name in self.config.properties}

    def traits(self) -> dict[str, str]:
        return {"valid": "Share that RDKit reads as a molecule, without any correction."}

    def shows_trait(self, name: str, example: str) -> bool:
        return molecules.molecule(example) is not None

    def figures(self) -> Mapping[str, OwnFigure]:
        """Those of MOSES that need no trained network."""
        return moses(molecules.molecule, molecules.measured)

    def scores(self) -> Mapping[str, Score]:
        def score(name: str, meaning: str) -> Score:
            low, high = molecules.LIMITS.get(name, (-np.inf, np.inf))
            return Score(meaning, low, high, lambda smiles: molecules.measured(smiles, name))

        return {name: score(name, meaning) for name, meaning in molecules.PROPERTIES.items()}

    def identity(self, example: str) -> str | None:
        """The canonical SMILES."""
        mol = molecules.molecule(example)
        return None if mol is None else str(molecules.rdkit().MolToSmiles(mol))

    def similarity(self, text: str) -> Callable[[str], float]:
        """Tanimoto similarity of Morgan fingerprints."""
        target = molecules.molecule(text)
        if target is None:
            raise InputError(f"{text!r} is no molecule to be similar to")
        own = fingerprints([target])

        def similar(smiles: str) -> float:
            mol = molecules.molecule(smiles)
            return float("nan") if mol is None else float(nearest(fingerprints([mol]), own)[0])

        return similar

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "length": self.spec.length,
            "tokens": list(self.vocabulary.tokens),
            "merges": self.vocabulary.merges,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(MoleculeConfig(**state["config"]), Atoms(state["tokens"], state["merges"]), state["length"])


def _columns(n: int) -> int:
    return max(1, min(8, round((1.3 * n) ** 0.5)))


def _notices(config: MoleculeConfig, salts: int, isotopes: int) -> list[str]:
    out = []
    if salts:
        out.append(
            f"{count(salts, 'training molecule')} of several parts, such as salts, are learnt as they are "
            "(modality.salts=largest keeps the largest part)"
        )
    if isotopes:
        out.append(
            f"{count(isotopes, 'training molecule')} with marks of isotopes (modality.isotopes=false drops them)"
        )
    return out


def _facts(smiles: str) -> dict[str, str]:
    """Data of an SDF record."""
    values = {name: molecules.measured(smiles, name) for name in ("qed", "logp", "weight", "tpsa")}
    return {name: f"{value:.4g}" for name, value in values.items() if np.isfinite(value)}


def _caption(smiles: str) -> str:
    if molecules.molecule(smiles) is None:
        return "not valid"
    return f"QED {molecules.measured(smiles, 'qed'):.2f}, logP {molecules.measured(smiles, 'logp'):.1f}"


# -- SELFIES (Krenn et al. 2020) ---------------------------------------------------------------------------------------


def _selfies() -> Any:
    try:
        import selfies
    except ModuleNotFoundError:
        raise InputError("modality.notation=selfies needs: pip install 'genloom[molecule]'") from None
    return selfies


def _tokens(smiles: str, config: MoleculeConfig) -> list[str]:
    if config.notation == "selfies":
        return list(_selfies().split_selfies(_as_selfies(smiles)))
    return marked(tokenize(molecules.kekulised(smiles) if config.notation == "kekule" else smiles))


def _as_selfies(smiles: str) -> str:
    selfies = _selfies()
    try:
        return str(selfies.encoder(smiles))
    except selfies.EncoderError as e:
        raise Unreadable(f"SELFIES cannot write it: {' '.join(str(e).split())[:160]}") from None


def _from_selfies(text: str) -> str:
    selfies = _selfies()
    try:
        return str(selfies.decoder(text))
    except selfies.DecoderError:
        return text
