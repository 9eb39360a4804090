"""The signing identity: an ES256 key with its certificates in one PEM file, made at first use.

The file is the user's: put your own key and chain in its place. What a self-made certificate proves is that two files
come from the same key, not who holds it.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import itertools
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError

FILE = "identity.pem"
YEARS = 10
CURVE = 32  # bytes of one of the two numbers of an ES256 signature


@dataclass(frozen=True)
class Identity:
    """key: an elliptic-curve key on P-256. chain: certificates in PEM, the signer's own first."""

    path: Path
    key: Any
    chain: bytes

    @property
    def name(self) -> str:
        return certificate_name(certificates(self.chain)[0])

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.chain)

    def key_pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization as s

        pem: bytes = self.key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        return pem

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature (r and s, 64 bytes); the same data gives the same signature (RFC 6979)."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(self.key.sign(data, _ecdsa(deterministic=True)))
        return r.to_bytes(CURVE, "big") + s.to_bytes(CURVE, "big")


def identity_path() -> Path:
    """$GENLOOM_IDENTITY (a folder or a .pem file), or identity.pem in the user's folder for settings of genloom."""
    given = os.environ.get("GENLOOM_IDENTITY")
    if given:
        return Path(given) if given.endswith(".pem") else Path(given) / FILE
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "genloom" / FILE


def load_identity(make: bool = True) -> Identity | None:
    """The user's identity, made now if there is none and `make`; None where none is, or the package cryptography is
    not installed.

    Raises InputError when it cannot be made or read, has no key, or has expired.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return None
    path = identity_path()
    try:
        if not path.exists():
            if not make:
                return None
            _make(path)
        pem = path.read_bytes()
    except OSError as e:
        raise InputError(
            f"the signing identity {path} cannot be {'read' if path.exists() else 'made'} ({e.strerror or e}); set "
            "GENLOOM_IDENTITY to a folder that can be written, or leave the mark out with --no-mark"
        ) from None
    return read_identity(path, pem)


def read_identity(path: Path, pem: bytes | None = None) -> Identity:
    """An identity in a PEM file. Raises InputError when it is not one that can sign now."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = path.read_bytes() if pem is None else pem
    advice = "put a PEM with a P-256 key and its certificates there, or delete it and a new one is made"
    key, chain = _blocks(pem, b"PRIVATE KEY"), _blocks(pem, b"CERTIFICATE")
    if not key or not chain:
        raise InputError(f"the signing identity {path} has no {'certificate' if key else 'private key'}; {advice}")
    try:
        private = load_pem_private_key(key, None)
        first = certificates(chain)[0]
    except (ValueError, TypeError, IndexError) as e:
        raise InputError(f"the signing identity {path} cannot be read ({str(e)[:80]}); {advice}") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise InputError(f"the key in {path} is not on the curve P-256, which ES256 signs with; {advice}")
    if private.public_key() != first.public_key():
        raise InputError(f"the key in {path} is not the one its first certificate is for; {advice}")
    now = _now()
    if not first.not_valid_before_utc <= now <= first.not_valid_after_utc:
        when = "expired" if now > first.not_valid_after_utc else "is not valid yet"
        raise InputError(f"the signing identity {path} {when} ({first.not_valid_after_utc:%Y-%m-%d}); {advice}")
    return Identity(path, private, chain)


def _make(path: Path) -> None:
    """Write a new key with a chain of two certificates; readable by the user alone, and whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(new_pem())
        with contextlib.suppress(FileExistsError):  # another process was first: its identity is the one
            _claim(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path) -> None:
    """Give the file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if not path.exists():
            os.replace(temporary, path)


def new_pem(days: int = 365 * YEARS) -> bytes:
    """A new ES256 key, its certificate, and that of the authority that signed it, whose own key is thrown away.

    The names tell nothing about the person or the machine. days: how long it is valid; negative: long expired.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    begin = _now() - datetime.timedelta(days=1 if days > 0 else 2 - days)
    end = begin + datetime.timedelta(days=abs(days) + 1)
    tag = secrets.token_hex(4)

    def name(role: str) -> x509.Name:
        parts = [(NameOID.ORGANIZATION_NAME, "genloom, self-made"), (NameOID.COMMON_NAME, f"{role} {tag}")]
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])

    def certificate(role: str, key: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey) -> bytes:
        authority = key is root
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
        usage = {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                  "decipher_only")  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(role))
            .issuer_name(name("local authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **dict.fromkeys(others, False)), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(identifier, critical=False)
        )
        if not authority:  # C2PA asks for one of a few purposes; this one needs no registration
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root, hashes.SHA256()).public_bytes(s.Encoding.PEM)

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    return private + certificate("local identity", key, root) + certificate("local authority", root, root)


# -- certificates of anybody --------------------------------------------------------------------------------------


def certificates(chain: bytes) -> list[Any]:
    from cryptography import x509

    return list(x509.load_pem_x509_certificates(chain))


def certificate_name(certificate: Any) -> str:
    from cryptography.x509.oid import NameOID

    parts = [certificate.subject.get_attributes_for_oid(o) for o in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)]
    return ", ".join(str(p[0].value) for p in parts if p) or "no name"


def fingerprint(chain: bytes) -> str:
    """sha256 of the signer's public key, which other certificates for the same key share."""
    from cryptography.hazmat.primitives import serialization as s

    key = certificates(chain)[0].public_key()
    return hashlib.sha256(key.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def check(chain: bytes, signature: bytes, data: bytes, when: datetime.datetime) -> str:
    """ "" where the signature holds, else what is wrong: the signature, the chain, or that it was made outside the
    certificate's time."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        found = certificates(chain)
        key = found[0].public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or len(signature) != 2 * CURVE:
            return "the signature is not ES256"
        r, s = (int.from_bytes(part, "big") for part in (signature[:CURVE], signature[CURVE:]))
        key.verify(encode_dss_signature(r, s), data, _ecdsa())
        for low, high in itertools.pairwise(found):
            low.verify_directly_issued_by(high)
    except InvalidSignature:
        return "the signature does not fit"
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return "the certificates cannot be read"
    if not found[0].not_valid_before_utc <= when <= found[0].not_valid_after_utc:
        return "it was signed outside the time its certificate is valid for"
    return ""


def _ecdsa(deterministic: bool = False) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256(), deterministic_signing=True) if deterministic else ec.ECDSA(hashes.SHA256())


def _blocks(pem: bytes, kind: bytes) -> bytes:
    """The PEM blocks of a kind, such as CERTIFICATE or any PRIVATE KEY."""
    out, keep = [], False
    for line in pem.splitlines():
        if line.startswith(b"-----BEGIN"):
            keep = kind in line
        if keep:
            out.append(line + b"\n")
        if line.startswith(b"-----END"):
            keep = False
    return b"".join(out)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
