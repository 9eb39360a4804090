"""Molecules by RDKit: read with the reason why not, canonical and randomised SMILES, 3D structures, pictures.

RDKit is imported when it is first needed; its complaints never reach the terminal.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from PIL import Image

from genloom.core.errors import InputError, Unreadable

TRIES = 20  # embeddings of ETKDG before a molecule counts as without a 3D structure
STEPS = 500  # of the force field
CELL = 220  # pixels of a molecule's place in a picture


@cache
def rdkit() -> Any:
    """The package, with its own messages switched off. Raises InputError when it is not installed."""
    try:
        from rdkit import Chem, RDLogger
    except ModuleNotFoundError:
        raise InputError("molecules need RDKit: pip install 'genloom[molecule]'") from None
    RDLogger.DisableLog("rdApp.*")
    return Chem


@dataclass(frozen=True)
class Reading:
    """What is kept of a molecule. largest: the largest part of several (of a salt without its counter-ion). isotopes,
    stereo: whether marks of isotopes and of handedness are kept. atoms: heavy atoms at most."""

    largest: bool = False
    isotopes: bool = True
    stereo: bool = True
    atoms: int = 100


@lru_cache(2**17)
def read_smiles(text: str, how: Reading) -> str:
    """The canonical SMILES of a SMILES. Raises Unreadable with RDKit's reason."""
    return _read(rdkit().MolFromSmiles, text, how)


def read_block(block: str, how: Reading) -> str:
    """The canonical SMILES of a record of an SDF file. Raises Unreadable with RDKit's reason."""
    return _read(rdkit().MolFromMolBlock, block, how)


def _read(parse: Callable[[str], Any], text: str, how: Reading) -> str:
    mol = parse(text)
    if mol is None or not mol.GetNumAtoms():
        raise Unreadable(_why(lambda: parse(text)))
    return _canonical(mol, how)


def _canonical(mol: Any, how: Reading) -> str:
    chem = rdkit()
    if how.largest:
        parts = chem.GetMolFrags(mol, asMols=True)
        mol = max(parts, key=lambda p: (p.GetNumHeavyAtoms(), p.GetNumAtoms()))
    if mol.GetNumHeavyAtoms() > how.atoms:
        raise Unreadable(
            f"it has {mol.GetNumHeavyAtoms()} heavy atoms, more than modality.atoms={how.atoms}, the most to learn from"
        )
    if not how.isotopes:
        for atom in mol.GetAtoms():
            atom.SetIsotope(0)
        mol = chem.RemoveHs(mol)  # deuterium has become hydrogen
    if not how.stereo:
        chem.RemoveStereochemistry(mol)
    return str(chem.MolToSmiles(mol))


def _why(parse: Any) -> str:
    """The first thing that RDKit says when it refuses what `parse` reads."""
    from rdkit import rdBase

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rdkit")
    kept, logger.handlers, logger.propagate = logger.handlers, [handler], False
    rdBase.LogToPythonLogger()
    rdBase.EnableLog("rdApp.error")
    try:
        parse()
    finally:
        rdBase.DisableLog("rdApp.error")
        rdBase.LogToCppStreams()
        logger.handlers = kept
        rdBase.DisableLog("rdApp.*")
    words = re.sub(r"^\[[\d:.]+\]\s*", "", " ".join(said[0].split())) if said else "it holds no atoms"
    return f"no molecule: {words[:200]}"


@lru_cache(2**14)
def molecule(smiles: str) -> Any:
    """RDKit's molecule, or None where the SMILES is invalid or empty."""
    mol = rdkit().MolFromSmiles(smiles)
    return mol if mol is not None and mol.GetNumAtoms() else None


def randomised(smiles: str, seed: int, kekule: bool = False) -> str:
    """The same molecule written from another atom and along other branches (Arus-Pous et al. 2019); as it is where it
    is no molecule. kekule: as `kekulised` has it."""
    mol = molecule(smiles)
    if mol is None:
        return smiles
    return _spelt(_kekule(mol) if kekule else mol, seed % (2**31 - 1) + 1)


def _spelt(mol: Any, seed: int) -> str:
    return str(rdkit().MolToRandomSmilesVect(mol, 1, seed)[0])


def respelt(smiles: str) -> str:
    """The canonical SMILES; as it is where it is no molecule."""
    mol = molecule(smiles)
    return smiles if mol is None else str(rdkit().MolToSmiles(mol))


def kekulised(smiles: str) -> str:
    """The same molecule with single and double bonds in aromatic rings; as it is where it is no molecule. Written so,
    the hydrogens of nitrogen follow from the bonds, and no ring can fail to be aromatic."""
    mol = molecule(smiles)
    return smiles if mol is None else str(rdkit().MolToSmiles(_kekule(mol)))


def _kekule(mol: Any) -> Any:
    out = rdkit().Mol(mol)
    rdkit().Kekulize(out, clearAromaticFlags=True)
    return out


# -- properties --------------------------------------------------------------------------------------------------------

PROPERTIES: Mapping[str, str] = {
    "qed": "quantitative estimate of drug-likeness, 0 to 1",
    "logp": "Wildman-Crippen estimate of the octanol-water partition coefficient",
    "weight": "average molecular weight in g/mol",
    "tpsa": "topological polar surface area in square angstroms",
    "sa": "synthetic accessibility, 1 easy to 10 hard",
    "rings": "number of rings",
    "atoms": "number of heavy atoms",
}
LIMITS = {
    "qed": (0.0, 1.0), "weight": (0.0, float("inf")), "tpsa": (0.0, float("inf")), "sa": (1.0, 10.0),
    "rings": (0.0, float("inf")), "atoms": (1.0, float("inf")),
}  # fmt: skip


@cache
def _measures() -> dict[str, Any]:
    rdkit()
    from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors
    from rdkit.Contrib.SA_Score import sascorer

    return {
        "qed": QED.qed, "logp": Crippen.MolLogP, "weight": Descriptors.MolWt, "tpsa": rdMolDescriptors.CalcTPSA,
        "sa": sascorer.calculateScore, "rings": rdMolDescriptors.CalcNumRings, "atoms": lambda m: m.GetNumHeavyAtoms(),
    }  # fmt: skip


@lru_cache(2**17)
def measured(smiles: str, name: str) -> float:
    """The property `name` of PROPERTIES; NaN where there is no molecule or it cannot be computed."""
    mol = molecule(smiles)
    if mol is None:
        return float("nan")
    try:
        return float(_measures()[name](mol))
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError):  # of RDKit, for atoms it has no numbers for
        return float("nan")


# -- structures in space -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Structure:
    """A record of an SDF file. energy: of the force field in kcal/mol; None where there is no 3D structure, and then
    `problem` says why and the record is flat."""

    block: str
    energy: float | None
    problem: str = ""


def structure(smiles: str, name: str, facts: Mapping[str, str]) -> Structure:
    """A molecule in three dimensions, with `facts` as data of its record: embedded by ETKDGv3 (Riniker and Landrum
    2015) with a fixed seed, then minimised with MMFF94s. `smiles` must be valid."""
    chem = rdkit()
    from rdkit.Chem import AllChem

    mol = chem.AddHs(chem.MolFromSmiles(smiles))
    options = AllChem.ETKDGv3()
    options.randomSeed, options.maxIterations = 17, TRIES
    energy, problem = None, ""
    try:
        if AllChem.EmbedMolecule(mol, options) < 0:
            problem = "no 3D coordinates were found"
        elif not AllChem.MMFFHasAllMoleculeParams(mol):
            problem = "the force field MMFF94s lacks parameters for an atom"
        else:
            AllChem.MMFFOptimizeMolecule(mol, "MMFF94s", STEPS)
            field = AllChem.MMFFGetMoleculeForceField(mol, AllChem.MMFFGetMoleculeProperties(mol, "MMFF94s"))
            energy = float(field.CalcEnergy())
    except (ValueError, RuntimeError) as e:
        problem = " ".join(str(e).split())[:120]
    if energy is None:
        mol = chem.MolFromSmiles(smiles)
        AllChem.Compute2DCoords(mol)
    mol.SetProp("_Name", name)
    told = {"energy_kcal_per_mol": f"{energy:.3f}"} if energy is not None else {"flat_because": problem}
    lines = [chem.MolToMolBlock(mol)]
    lines += [f">  <{key}>\n{value}\n\n" for key, value in {"smiles": smiles, **told, **facts}.items()]
    return Structure("".join(lines) + "$$$$\n", energy, problem)


# -- pictures ----------------------------------------------------------------------------------------------------------


def picture(smiles: Sequence[str], columns: int, captions: Sequence[str]) -> Image.Image:
    """The structural formulas in rows; an empty place with its caption for what is no molecule."""
    from rdkit.Chem import Draw

    mols = [molecule(s) or rdkit().Mol() for s in smiles]
    drawn = Draw.MolsToGridImage(
        mols, molsPerRow=columns, subImgSize=(CELL, CELL), legends=list(captions), returnPNG=True,
        drawOptions=_drawing(),
    )  # fmt: skip
    data = drawn if isinstance(drawn, bytes) else drawn.data
    return Image.open(io.BytesIO(data)).convert("RGB")


def svg(smiles: Sequence[str], columns: int, captions: Sequence[str]) -> str:
    """The same as a drawing of lines."""
    from rdkit.Chem import Draw

    mols = [molecule(s) or rdkit().Mol() for s in smiles]
    return str(
        Draw.MolsToGridImage(
            mols, molsPerRow=columns, subImgSize=(CELL, CELL), legends=list(captions), useSVG=True,
            drawOptions=_drawing(),
        )
    )  # fmt: skip


def _drawing() -> Any:
    from rdkit.Chem.Draw import rdMolDraw2D

    options = rdMolDraw2D.MolDrawOptions()
    options.legendFontSize = 15
    options.padding = 0.08
    return options


# -- growing -----------------------------------------------------------------------------------------------------------


def opened(core: str, kekule: bool = False) -> str:
    """A spelling of a core that ends at its one open place (*), so that what follows grows there: of many one with the
    fewest branches, as canonical SMILES are. Raises InputError. kekule: as `kekulised` has it."""
    mol = molecule(core)
    if mol is None:
        raise InputError(f"the core {core!r} is no molecule; mark the place that grows with *, as in c1ccccc1*")
    places = [a for a in mol.GetAtoms() if not a.GetAtomicNum()]
    if len(places) != 1 or places[0].GetDegree() != 1:
        raise InputError(f"the core {core!r} must have one open place (*) at the end of a bond; it has {len(places)}")
    mol = _kekule(mol) if kekule else mol
    spellings = {_spelt(mol, seed) for seed in range(1, 500)}
    ends = [s[:-1] for s in spellings if s.endswith("*")]
    if not ends:
        raise InputError(
            f"no spelling of the core {core!r} ends at its open place; give the beginning of a SMILES instead"
        )
    return min(ends, key=lambda s: (s.count("("), len(s), s))
