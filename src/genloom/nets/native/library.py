"""The compiled step: found in the cache, or compiled aside for the next process.

Nothing waits for the compiler. A process uses one kind of step from beginning to end: that which its first question
finds. The file's name is the digest of all that decides it (source, compiler, flags, processor), so that a cache that
several machines share holds one for each. Importing this module loads neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import hashlib
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from genloom.core.errors import GenloomError
from genloom.core.files import cache_root

SOURCE = Path(__file__).with_name("step.cpp")
FLAGS = ("-O3", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared", "-std=c++17")
AGAIN = 24 * 3600  # seconds after which a build that failed is tried again
LONGEST = 300  # seconds that a compiler may take
SWITCH = "GENLOOM_NATIVE"  # 0: never; else where there is a compiler

Kind = Literal["compiled", "torch"]
log = logging.getLogger(__name__)
_without: contextvars.ContextVar[bool] = contextvars.ContextVar("without", default=False)


class Model(ctypes.Structure):
    """As in step.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("cell", "vocab", "width", "depth", "heads", "hidden", "features")),
        *((name, ctypes.c_int64) for name in ("ngrams", "neighbours", "reach", "boundary")),
        *((name, ctypes.c_void_p) for name in ("token", "position", "tables", "rows", "small", "own")),
        *((name, ctypes.c_void_p) for name in ("beside", "back", "layers", "skip", "turns")),
        *((name, ctypes.c_float) for name in ("sharpness", "softcap")),
        ("head", ctypes.c_void_p),
    )


def library() -> ctypes.CDLL | None:
    """The compiled step, None where there is none or GENLOOM_NATIVE=0. The same from the first question to the last of
    a process, but for `using`."""
    return None if _without.get() else _found()


def kind() -> Kind:
    """Which step this process uses, for models that the compiled one knows."""
    return "torch" if library() is None else "compiled"


def prepare(notify: Callable[[str], None]) -> None:
    """Have the compiled step in this very process, where there can be one: for servers, which run long. notify is told
    before the compiler is waited for."""
    path = place()
    if library() is not None or path is None or _tried(path):
        return
    notify("compiling the step that decodes sequences; this happens once")
    with contextlib.suppress(GenloomError):
        build()
    _found.cache_clear()


@contextlib.contextmanager
def using(wanted: str) -> Iterator[None]:
    """With the step that was used when something was made; the compiled one is compiled if need be."""
    if wanted == "compiled" and _found() is None:
        with contextlib.suppress(GenloomError):
            build()
            _found.cache_clear()
    token = _without.set(wanted == "torch")
    try:
        yield
    finally:
        _without.reset(token)


@functools.cache
def _found() -> ctypes.CDLL | None:
    path = place()
    if path is None or not _is_own(path):
        return None
    try:
        return _loaded(path)
    except (OSError, AttributeError) as e:
        log.debug("the compiled step %s cannot be loaded (%s): PyTorch's is used", path, e)
        return None


def place() -> Path | None:
    """Where the compiled step lies, or would; None where there is no compiler, or it is not wanted."""
    compiler = _compiler()
    if os.environ.get(SWITCH) == "0" or compiler is None:
        return None
    about = os.stat(compiler)
    source = b"".join(path.read_bytes() for path in (SOURCE, SOURCE.with_name("arithmetic.h")))
    decides = (source, repr((*FLAGS, _tuned(), compiler, about.st_size, about.st_mtime, _processor())))
    digest = hashlib.sha256(decides[0] + decides[1].encode()).hexdigest()
    return cache_root() / "native" / f"step-{digest[:16]}.so"


def build_aside() -> None:
    """Have the step compiled by a process of its own, for the processes to come; does nothing where it is there, cannot
    be, or failed lately."""
    path = place()
    if path is None or path.exists() or _tried(path):
        return
    log.debug("the fast step for sequences is being compiled for the next time: %s", path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, env=environment,
        )  # fmt: skip


def build() -> Path:
    """Compile the step, check what it computes, and only then put it in its place, by a rename. Raises GenloomError."""
    path, compiler = place(), _compiler()
    if path is None or compiler is None:
        raise GenloomError("there is no C++ compiler (c++, g++, clang++ or $CXX), or GENLOOM_NATIVE=0")
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    failed, temporary = path.with_suffix(".failed"), path.with_name(f"{path.stem}.{os.getpid()}.tmp.so")
    failed.write_text("the build was stopped, or its result crashed\n", "utf-8")
    try:
        command = [compiler, *FLAGS, _tuned(), str(SOURCE), "-o", str(temporary)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LONGEST)
        if done.returncode:
            raise GenloomError(f"{compiler} could not compile {SOURCE.name}: {done.stderr.strip()[:2000]}")
        _check(_loaded(temporary))
        os.replace(temporary, path)
        failed.unlink(missing_ok=True)
    except (OSError, AttributeError, subprocess.SubprocessError, GenloomError) as e:
        failed.write_text(f"{e}\n", "utf-8")
        raise GenloomError(str(e)) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _compiler() -> str | None:
    if sys.platform == "win32":
        return None
    names = filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))
    return next((found for name in names if (found := shutil.which(name))), None)


def _tuned() -> str:
    """The flag for this very processor."""
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"


def _processor() -> str:
    """What -march=native depends on."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        told = {line.split(":")[0].strip(): line for line in reversed(lines)}
        return repr([told.get(k) for k in ("vendor_id", "cpu family", "model", "model name", "flags", "Features")])
    return repr((platform.platform(), platform.processor()))


def _is_own(path: Path) -> bool:
    """Whether the file is there and ours: code that others put there is not run."""
    try:
        return path.stat().st_uid in (os.getuid(), 0)
    except OSError:
        return False


def _tried(path: Path) -> bool:
    try:
        return time.time() - path.with_suffix(".failed").stat().st_mtime < AGAIN
    except OSError:
        return False


def _loaded(path: Path) -> ctypes.CDLL:
    c, pointer, number = ctypes.CDLL(str(path)), ctypes.c_void_p, ctypes.c_int64
    c.genloom_begin.argtypes, c.genloom_begin.restype = [pointer, number, number, pointer], pointer
    c.genloom_read.argtypes = [pointer, ctypes.POINTER(pointer), number, pointer, number, pointer]
    c.genloom_read.restype = number
    c.genloom_end.argtypes, c.genloom_end.restype = [pointer], None
    return c


def _check(c: ctypes.CDLL) -> None:
    """Two tokens through a model without layers against the formula: logits of what embeddings are, normalised."""
    vocab, width = 3, 20
    table = [[math.sin(1 + i * width + k) for k in range(width)] for i in range(vocab)]
    flat = (ctypes.c_float * (vocab * width))(*(v for row in table for v in row))
    address = ctypes.addressof(flat)
    model = Model(vocab=vocab, width=width, heads=1, features=width, boundary=-1, token=address, head=address)
    tokens, logits = (ctypes.c_int64 * 2)(2, 1), (ctypes.c_float * vocab)()
    state = c.genloom_begin(ctypes.byref(model), 1, 2, None)
    c.genloom_read(ctypes.byref(model), (ctypes.c_void_p * 1)(state), 1, tokens, 2, logits)
    c.genloom_end(state)
    root = math.sqrt(sum(v * v for v in table[1]) / width)
    expected = [sum(a * b for a, b in zip(row, table[1], strict=True)) / root for row in table]
    if any(abs(a - b) > 1e-4 for a, b in zip(logits, expected, strict=True)):
        raise GenloomError(f"the compiled step computes {list(logits)} where {expected} is right")


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    build()
