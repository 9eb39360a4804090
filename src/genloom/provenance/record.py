"""The record beside a batch of files: provenance-DIGEST.json, with the sha256 of each and one signature over all.

So a file whose format has no place for a mark is still vouched for, and an altered byte is found in any format.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.core.files import write_atomic
from genloom.provenance import identity as identities
from genloom.provenance.identity import Identity
from genloom.provenance.mark import SOURCE

SCHEMA = "genloom.provenance/1"
PREFIX = "provenance-"


@dataclass(frozen=True)
class Record:
    """A record as found. problem: why it does not hold, "" where it does. signed: somebody's signature is there and
    fits; own: it is the local identity's."""

    path: Path
    document: Mapping[str, Any]
    problem: str
    signed: bool
    own: bool
    signer: str

    def entry(self, name: str, digest: str = "") -> Mapping[str, Any] | None:
        """What the record says of a file: of the one with this sha256, whatever its name now, else of that name."""
        files = self.document.get("files")
        entries = [f for f in files if isinstance(f, dict)] if isinstance(files, list) else []
        same = [f for f in entries if digest and f.get("sha256") == digest]
        named = [f for f in same or entries if f.get("name") == name]
        return next(iter(named or same), None)


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: the document without its signature, keys sorted, nothing but ASCII."""
    kept = {k: v for k, v in document.items() if k != "signature"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode("ascii")


def write_record(
    folder: Path, about: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], identity: Identity | None
) -> Path:
    """Write the record of a batch. The same batch asked for again takes the place of its record; another has its own.

    Raises GenloomError when it cannot be written.
    """
    names = [e["name"] for e in entries]
    digest = hashlib.sha256(canonical({"names": names, **{k: about.get(k) for k in ("run", "task", "asked")}}))
    document = {
        "schema": SCHEMA,
        "statement": "These files were made by a trained model.",
        "source": SOURCE,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **about,
        "files": list(entries),
    }
    document = json.loads(json.dumps(document))  # tuples become the lists that a reader will find
    if identity is not None:
        document["signature"] = {
            "algorithm": "ES256",
            "chain": identity.chain.decode("ascii"),
            "value": identities.encoded(identity.sign(canonical(document))),
        }
    path = folder / f"{PREFIX}{digest.hexdigest()[:10]}.json"
    text = json.dumps(document, ensure_ascii=False, indent=1)
    if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
        text = json.dumps(document, indent=1)  # half a surrogate pair has no bytes of its own
    write_atomic(path, f"{text}\n".encode())
    return path


def read_record(path: Path, own: Identity | None) -> Record:
    """A record and whether it holds."""
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
    except (OSError, ValueError, RecursionError) as e:
        return Record(path, {}, f"it cannot be read ({str(e)[:80]})", False, False, "")
    signature = document.get("signature")
    if not isinstance(signature, dict):
        return Record(path, document, "", False, False, "")
    try:
        from cryptography import x509  # noqa: F401
    except ImportError:
        return Record(path, document, "", False, False, "not checked, the package cryptography is not installed")
    try:
        chain, value = str(signature["chain"]).encode(), base64.b64decode(str(signature["value"]), validate=True)
        when = datetime.datetime.fromisoformat(str(document["created"]))
        problem = identities.check(chain, value, canonical(document), when)
        signer, mark = identities.certificate_name(identities.certificates(chain)[0]), identities.fingerprint(chain)
    except (KeyError, ValueError, TypeError, IndexError):
        return Record(path, document, "its signature cannot be read", False, False, "")
    return Record(
        path, document, problem, not problem, not problem and own is not None and mark == own.fingerprint, signer
    )


def records_beside(path: Path, digest: str, own: Identity | None) -> list[Record]:
    """Records in the folder of a file that name it or its sha256, or cannot be read."""
    found = [read_record(p, own) for p in sorted(path.parent.glob(f"{PREFIX}*.json"))]
    return [r for r in found if not r.document or r.entry(path.name, digest) is not None]
