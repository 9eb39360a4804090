"""What a comparison trains: an entry for each contender and seed, and the plan that its folder was begun with."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.core.config import merge
from genloom.core.discover import names
from genloom.core.errors import InputError
from genloom.core.files import write_json
from genloom.families import find_family
from genloom.modalities import find_modality
from genloom.recipes import find_recipe

PLAN, PLAN_SCHEMA = "plan.json", "genloom.comparison-plan/1"
FAMILIES = "genloom.families"


@dataclass(frozen=True)
class Contender:
    """A model, from its defaults or from a recipe: a row of the comparison."""

    model: str
    recipe: str | None = None

    @property
    def label(self) -> str:
        return f"{self.model}:{self.recipe}" if self.recipe else self.model


@dataclass(frozen=True)
class Entry:
    """One training: a contender with a seed, in the folder `name`."""

    contender: Contender
    seed: int

    @property
    def name(self) -> str:
        return f"{self.contender.label.replace(':', '-')}-seed{self.seed}"


def contenders(models: Sequence[str], recipes: Sequence[str], kind: str) -> list[Contender]:
    """Those named, models as NAME or NAME:RECIPE; without any all families that take data of this kind.

    Raises InputError for a name that is not known, one named twice, or a recipe for another model.
    """
    out = []
    for text in models:
        model, _, recipe = text.partition(":")
        find_family(model)
        if recipe and find_recipe(recipe)()["model"] != model:
            raise InputError(f"the recipe {recipe} is for the model {find_recipe(recipe)()['model']}, not {model}")
        out.append(Contender(model, recipe or None))
    out += [Contender(find_recipe(r)()["model"], r) for r in recipes]
    if not models and not recipes:
        form = find_modality(kind).forms[0]
        # A family that begins with a model of somebody else's needs one: --from is not for comparisons.
        known = [n for n in names(FAMILIES) if n != "pretrained"]
        out = [Contender(n) for n in known if form in find_family(n).accepts]
    twice = next((c for i, c in enumerate(out) if c in out[:i]), None)
    if twice is not None:
        raise InputError(f"{twice.label} is named twice; name each model or recipe once, and use --seeds for repeats")
    return out


def entries(chosen: Sequence[Contender], seeds: Sequence[int]) -> tuple[Entry, ...]:
    """Every contender with every seed. Raises InputError when there is nothing to compare."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"seeds are different whole numbers from 0, as in 0,1,2; got {', '.join(map(str, seeds))}")
    out = tuple(Entry(c, s) for s in seeds for c in chosen)  # each model once before any a second time
    if len(out) < 2:
        only = chosen[0].label if chosen else "no model"
        raise InputError(f"{only} alone is no comparison; name two with --models or --recipes, or give --seeds 0,1")
    return out


def settings_of_data(chosen: Sequence[Contender], kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sections data and modality that all contenders share. Raises InputError where a recipe prepares the data
    otherwise than another: figures then have no feature space in common."""
    found = {}
    for c in chosen:
        base = find_recipe(c.recipe)() if c.recipe else {}
        if base.get("kind", kind) != kind:
            raise InputError(f"the recipe {c.recipe} is for {base['kind']}, but the data is {kind}; leave it out")
        shared = {s: merge(base.get(s, {}), settings.get(s, {})) for s in ("data", "modality")}
        found[c.label] = shared
    first = next(iter(found))
    for label, shared in found.items():
        if shared != found[first]:
            section = next(s for s in shared if shared[s] != found[first][s])
            pair = (found[first][section], shared[section])
            name = next(k for k in sorted({*pair[0], *pair[1]}) if pair[0].get(k) != pair[1].get(k))
            raise InputError(
                f"{first} and {label} prepare the data in different ways ({section}.{name}), so their figures cannot "
                f"stand side by side; give all the same with --set {section}.{name}=..."
            )
    return found[first]


@dataclass(frozen=True)
class Plan:
    """What all trainings of a comparison have in common. length: ("budget", seconds) or ("steps", number). sets: as
    after --set."""

    data: str
    kind: str
    length: tuple[str, float]
    sets: tuple[str, ...]

    @property
    def option(self) -> list[str]:
        """The length as on the command line: whole numbers without an exponent."""
        value = self.length[1]
        return [f"--{self.length[0]}", str(int(value) if value == int(value) else value)]

    def to_json(self) -> dict[str, Any]:
        source = str(Path(self.data).resolve()) if Path(self.data).exists() else self.data
        return {
            "schema": PLAN_SCHEMA,
            "data": source,
            "kind": self.kind,
            self.length[0]: self.length[1],
            "sets": list(self.sets),
        }

    def command(self, chosen: Sequence[Contender], seeds: Sequence[int], n: int | None, out: Path) -> str:
        """The command line that goes on with this comparison."""
        words = ["genloom", "compare", self.data, "--models", ",".join(c.label for c in chosen)]
        words += self.option
        words += [w for s in self.sets for w in ("--set", s)]
        words += ["--seeds", ",".join(map(str, seeds))] if tuple(seeds) != (0,) else []
        words += ["-n", str(n)] if n is not None else []
        return shlex.join([*words, "--out", str(out)])


def claim(out: Path, plan: Plan) -> None:
    """Make the folder of a comparison, or find it begun with the same plan.

    Raises InputError when it holds something else, was begun with another plan, or cannot be written.
    """
    path = out / PLAN
    if path.is_file():
        _same(out, read_plan(path), plan.to_json())
        return
    if out.exists() and (not out.is_dir() or any(p.name != ".lock" for p in out.iterdir())):
        raise InputError(f"{out} exists and holds no comparison; choose another folder with --out")
    make_folder(out)
    write_json(path, plan.to_json())


def make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"the folder {out} cannot be made: {e.strerror or e}; choose another with --out") from None
    if not os.access(out, os.W_OK):
        raise InputError(f"the folder {out} cannot be written; choose another with --out")


def read_plan(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or known.get("schema") != PLAN_SCHEMA:
        raise InputError(f"{path} is damaged or of another version; restore it, or choose another folder with --out")
    return known


def _same(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            was, now = (_said(key, d.get(key)) for d in (old, new))
            raise InputError(
                f"the comparison in {out} was begun with {was}, now it is {now}; give the same, or choose another "
                "folder with --out"
            )


def _said(key: str, value: Any) -> str:
    if key == "budget":
        return f"a budget of {value:g} s" if value is not None else "no budget"
    if key == "steps":
        return f"{value:,.0f} steps" if value is not None else "no number of steps"
    if key == "sets":
        return f"--set {' --set '.join(value)}" if value else "no --set"
    return f"{key} {value}"


def as_sets(settings: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """Nested settings as after --set: `{"train": {"batch": 64}}` as "train.batch=64"."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from as_sets(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={'none' if value is None else json.dumps(value, ensure_ascii=False)}"


def listed(given: str | Sequence[str] | None, option: str) -> list[str]:
    """Names given as "a,b" or as a list. Raises InputError when something was given that holds no name."""
    if given is None:
        return []
    parts = given.split(",") if isinstance(given, str) else [p for g in given for p in str(g).split(",")]
    out = [p.strip() for p in parts if p.strip()]
    if not out:
        raise InputError(f"{option} takes names with commas between, as in vae,gan; got {given!r}")
    return out


def numbers(given: str | Sequence[int]) -> list[int]:
    """Seeds given as "0,1,2" or as numbers. Raises InputError."""
    try:
        return [int(p) for p in (given.split(",") if isinstance(given, str) else given)]
    except (TypeError, ValueError):
        raise InputError(f"seeds are whole numbers with commas between, as in 0,1,2; got {given!r}") from None
