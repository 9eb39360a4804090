"""The import direction of docs/architecture.md, and what must stay cheap to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genloom

SOURCE = Path(genloom.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 450

# A part may import itself and the parts of rows above its own; never another part of its own row.
ROWS = [
    {"core"},
    {"data", "nets", "metrics"},
    {"families", "modalities"},
    {"recipes", "evaluate", "provenance", "apply"},
    {"run", "inspection"},
    {"api"},
    {"comparison"},
    {"progress", ""},  # "" is genloom/__init__.py
    {"studio"},
    {"cli"},
    {"__main__"},
]
ROW = {part: i for i, row in enumerate(ROWS) for part in row}


def part_of(module: str) -> str:
    """The part of a module name: "core" of "genloom.core.loop", "" of "genloom"."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path) -> str:
    names = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of genloom's own modules, wherever it stands in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "genloom")
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, is_package)
            if base.split(".")[0] == "genloom":
                yield from ((node.lineno, found(base, alias.name)) for alias in node.names)


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that `from x import` names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    above = module.split(".")[: len(module.split(".")) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def found(base: str, name: str) -> str:
    """`from genloom import api` imports genloom.api, `from genloom import __version__` imports genloom."""
    path = SOURCE.parent.joinpath(*base.split("."), name)
    return f"{base}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else base


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    part = part_of(module)
    out = []
    for line, name in imported(ast.parse(source), module, is_package):
        other = part_of(name)
        if other != part and ROW[other] >= ROW[part]:
            out.append(f"{module}:{line} imports {name}")
    return out


def test_imports_go_one_way() -> None:
    assert FILES
    wrong = [v for f in FILES for v in violations(f.read_text("utf-8"), module_of(f), f.name == "__init__.py")]
    assert not wrong, "\n".join(wrong)


def test_every_part_has_a_row() -> None:
    assert {part_of(module_of(f)) for f in FILES} <= set(ROW)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("genloom.families.vae", "from genloom.modalities.image import Image"),
        ("genloom.families.vae", "def f():\n    from genloom import modalities"),
        ("genloom.families.vae", "from ..modalities import find_modality"),
        ("genloom.modalities.image", "import genloom.families.gan as gan"),
        ("genloom.core.loop", "from genloom.data.cache import Cache"),
        ("genloom.nets.mlp", "import genloom"),
        ("genloom.data.split", "from genloom.metrics import frechet"),
        ("genloom.evaluate.report", "from genloom.cli.output import say"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    "source", ["from genloom.core.spec import Grid", "from genloom.families.flow import Flow", "import torch"]
)
def test_a_right_import_passes(source: str) -> None:
    assert violations(source, "genloom.families.vae") == []


def test_no_file_is_too_long() -> None:
    long = {str(f.relative_to(SOURCE)): n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > MOST_LINES}
    assert not long, f"more than {MOST_LINES} lines: {long}"


HEAVY = ("torch", "sklearn", "scipy", "numpy", "tensorboard", "fastapi", "uvicorn")


@pytest.mark.parametrize(
    "code",
    [
        "import genloom",
        "import genloom.cli",
        "from genloom.cli import _run; _run(['--help'])",
        "from genloom.cli import _run; _run(['train', '--help'])",
        "from genloom.cli import _run; _run(['compare', '--help'])",
        "from genloom.cli.values import complete_name; assert complete_name('')",
        "from genloom.cli import _run; assert _run(['sample', 'no-such-run']) == 2",
        "from genloom.cli import _run; assert _run(['verify', 'no-such-file']) == 2",
    ],
)
def test_torch_is_not_imported_for(code: str) -> None:
    check = f"import sys; {code}; print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
