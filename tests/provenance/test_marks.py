"""Marks in files, the record beside them, and what verifying says after each kind of tampering.

The packages' own readers judge where there are any: c2pa-python, Pillow, wave, cryptography.
"""

from __future__ import annotations

import builtins
import io
import json
import socket
import stat
import struct
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genloom.core.errors import InputError
from genloom.provenance import Batch, Identity, Mark, Marker, credentials, load_identity, mark, verify
from genloom.provenance.identity import new_pem
from genloom.provenance.record import PREFIX

pytest.importorskip("cryptography")
signed = pytest.mark.skipif(not credentials.available(), reason="c2pa-python is not installed")
MARK = Mark("digits-flow", "sample", "ab" * 32, seed=3, index=5, label='猫 "&<')
BATCH = Batch("digits-flow", "ab" * 32, "sample", {"n": 2, "seed": 3, "label": None})


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    monkeypatch.setenv("GENLOOM_IDENTITY", str(tmp_path / "identity"))
    made = load_identity()
    assert made is not None
    return made


def picture(kind: str = "PNG", mode: str = "L", size: int = 28) -> bytes:
    rng, out = np.random.default_rng(0), io.BytesIO()
    shape = (size, size) if mode == "L" else (size, size, len(mode))
    Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(8000)
        w.writeframes(np.arange(999, dtype="<i2").tobytes())
    return out.getvalue()


def notes() -> bytes:
    events = b"\x00\x90\x3c\x40\x60\x80\x3c\x40\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(events)) + events


CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
PLY = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n"
FILES = {
    "a.png": picture(), "b.png": picture(mode="RGBA"), "c.jpg": picture("JPEG", "RGB"), "d.wav": sound(),
    "l.fasta": b">a length=3\nMKV\n>b\nMK\n", "m.pdb": b"ATOM      1  N   MET A   1\nEND\n",
    "i.smi": b"CCO ethanol\n", "j.sdf": b"a\n\n\nM  END\n>  <qed>\n0.4\n\n$$$$\n",
    "k.svg": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'><path d='M0'/></svg>\n",
    "e.mid": notes(), "f.obj": b"v 0 0 0\n", "g.ply": PLY, "h.txt": "潮平两岸阔\n".encode(),
}  # fmt: skip


def write(folder: Path, files: dict[str, bytes], identity: Identity | None) -> Path:
    """Files written as a modality writes them; returns the record."""
    folder.mkdir(exist_ok=True)
    marker = Marker(BATCH, identity)
    marker.places = {Path(name).stem: (i, "猫") for i, name in enumerate(files)}
    for name, data in files.items():
        (folder / name).write_bytes(marker(folder / name, data))
    record = marker.record(folder)
    assert record is not None
    return record


# -- the light mark -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_light_mark_is_found_again(name: str) -> None:
    data, suffix = FILES[name], Path(name).suffix
    marked = mark.put(data, suffix, MARK)
    if suffix == ".txt":
        assert marked == data
        return
    assert mark.find(data, suffix) is None
    assert mark.find(marked, suffix) == MARK.to_json()
    assert mark.put(data, suffix, MARK) == marked  # the same bytes every time
    assert len(marked) - len(data) < 1200


@pytest.mark.parametrize("name", ["a.png", "b.png", "c.jpg"])
def test_pictures_keep_their_pixels_and_pillow_reads_the_mark(name: str) -> None:
    with (
        Image.open(io.BytesIO(FILES[name])) as plain,
        Image.open(io.BytesIO(mark.put(FILES[name], "", MARK))) as marked,
    ):
        marked.load()
        assert marked.tobytes() == plain.tobytes() and marked.mode == plain.mode
        xmp = marked.info["xmp"]
        assert mark.SOURCE.encode() in (xmp if isinstance(xmp, bytes) else xmp.encode())
        description = marked.getxmp()["xmpmeta"]["RDF"]["Description"] if _has_defusedxml() else None
        assert description is None or json.loads(description["mark"]) == MARK.to_json()


def _has_defusedxml() -> bool:
    try:
        import defusedxml  # noqa: F401
    except ImportError:
        return False
    return True


def test_sound_and_notes_stay_what_they_are() -> None:
    marked = mark.put(FILES["d.wav"], ".wav", MARK)
    with wave.open(io.BytesIO(FILES["d.wav"])) as plain, wave.open(io.BytesIO(marked)) as w:
        assert w.getparams() == plain.getparams() and w.readframes(999) == plain.readframes(999)
    assert struct.unpack("<I", marked[4:8])[0] == len(marked) - 8
    midi = mark.put(FILES["e.mid"], ".mid", MARK)
    start = midi.index(b"MTrk")
    assert int.from_bytes(midi[start + 4 : start + 8], "big") == len(midi) - start - 8
    assert midi.endswith(FILES["e.mid"][-12:])
    assert mark.put(PLY, ".ply", MARK).startswith(b"ply\nformat ascii 1.0\ncomment genloom {")


@pytest.mark.parametrize("cut", [9, 20, 40, 100, 300])
def test_broken_files_are_no_reason_to_fail(tmp_path: Path, cut: int) -> None:
    for name, data in FILES.items():
        path = tmp_path / name
        path.write_bytes(mark.put(data, path.suffix, MARK)[:cut])
        assert verify(path).state in ("unmarked", "unsigned", "altered")


# -- verifying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_format_holds_and_an_altered_byte_is_found(tmp_path: Path, identity: Identity, name: str) -> None:
    write(tmp_path / "out", {name: FILES[name]}, identity)
    path = tmp_path / "out" / name
    verdict = verify(path)
    assert (verdict.state, verdict.own, verdict.facts["run"], verdict.facts["seed"]) == (
        "holds",
        True,
        "digits-flow",
        3,
    )
    assert (verdict.facts["index"], verdict.facts["label"]) == (0, "猫")
    data = path.read_bytes()
    for place in np.linspace(0, len(data) - 1, 12).astype(int):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert verify(path).state in ("altered", "stripped"), place
    path.write_bytes(data)
    assert verify(path).holds


@signed
@pytest.mark.parametrize("name", ["a.png", "b.png", "c.jpg", "d.wav"])
def test_the_c2pa_reader_recognises_the_mark(tmp_path: Path, identity: Identity, name: str) -> None:
    import c2pa

    record = write(tmp_path / "out", {name: FILES[name]}, identity)
    path = tmp_path / "out" / name
    with open(path, "rb") as f, c2pa.Reader(credentials.TYPES[path.suffix], f) as reader:
        document = json.loads(reader.json())
    assert document["validation_state"] == "Valid"
    failures = [f["code"] for f in document["validation_results"]["activeManifest"]["failure"]]
    assert failures == ["signingCredential.untrusted"]
    assertions = {a["label"]: a["data"] for a in document["manifests"][document["active_manifest"]]["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == mark.SOURCE
    assert assertions["genloom.mark"]["run"] == "digits-flow"
    assert path.stat().st_size - len(FILES[name]) < 20_000
    record.unlink()  # the credentials alone say it too, and whose they are
    assert (verify(path).state, verify(path).own) == ("holds", True)
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    assert verify(path).state == "altered" and "ismatch" in verify(path).says


def test_a_stripped_an_altered_and_an_unmarked_picture_are_told_apart(tmp_path: Path, identity: Identity) -> None:
    record = write(tmp_path / "out", {"a.png": FILES["a.png"], "t.txt": b"text"}, identity)
    path = tmp_path / "out" / "a.png"
    with Image.open(path) as p:
        p.load()
        again = Image.fromarray(np.asarray(p))
    again.save(path, compress_level=1)
    assert verify(path).state == "stripped" and verify(path).facts["index"] == 0
    again.putpixel((0, 0), again.getpixel((0, 0)) ^ 1)
    again.save(path)
    assert verify(path).state == "altered"
    record.unlink()
    assert verify(path).state == "unmarked"


def test_a_renamed_file_and_one_copied_away(tmp_path: Path, identity: Identity) -> None:
    write(tmp_path / "out", {"h.txt": FILES["h.txt"], "f.obj": FILES["f.obj"]}, identity)
    renamed = (tmp_path / "out" / "h.txt").rename(tmp_path / "out" / "poem.txt")
    assert verify(renamed).holds
    away = tmp_path / "f.obj"
    away.write_bytes((tmp_path / "out" / "f.obj").read_bytes())
    assert verify(away).state == "unsigned"  # nothing but a comment line is left


@pytest.mark.parametrize("change", ["seed", "digest", "chain", "value", "signature"])
def test_a_changed_record_does_not_hold(tmp_path: Path, identity: Identity, change: str) -> None:
    record = write(tmp_path / "out", {"h.txt": FILES["h.txt"]}, identity)
    document: dict[str, Any] = json.loads(record.read_text("utf-8"))
    if change == "seed":
        document["asked"]["seed"] = 4
    elif change == "digest":
        document["files"][0]["sha256"] = "0" * 64
    elif change == "signature":
        del document["signature"]
    elif change == "chain":
        document["signature"]["chain"] = new_pem().decode()
    else:
        document["signature"]["value"] = "AAAA"
    record.write_text(json.dumps(document), "utf-8")
    verdict = verify(tmp_path / "out" / "h.txt")
    assert verdict.state == ("unsigned" if change == "signature" else "altered")
    record.write_text("{" * 100_000)
    assert verify(tmp_path / "out" / "h.txt").state == "unmarked"
    assert verify(tmp_path / "out" / "h.txt").notes


@pytest.mark.parametrize("part", ["run", "asked", "files", "created", "signature", "software"])
@pytest.mark.parametrize("value", [None, 3, [1], {"a": []}, "text"])
def test_a_record_of_the_wrong_types_is_no_traceback(tmp_path: Path, identity: Identity, part: str, value: Any) -> None:
    record = write(tmp_path / "out", {"h.txt": FILES["h.txt"]}, None)
    document = json.loads(record.read_text("utf-8"))
    record.write_text(json.dumps({**document, part: value}), "utf-8")
    assert not verify(tmp_path / "out" / "h.txt").holds


def test_a_batch_of_somebody_else_holds_but_is_not_ones_own(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", {"a.png": FILES["a.png"]}, identity)
    monkeypatch.setenv("GENLOOM_IDENTITY", str(tmp_path / "other"))
    for path in (None, tmp_path / "other" / "identity.pem"):
        if path is not None:
            load_identity()
        verdict = verify(tmp_path / "out" / "a.png")
        assert (verdict.state, verdict.own) == ("holds", False)
    assert not (tmp_path / "third").exists()


def test_two_batches_in_one_folder_keep_their_records(tmp_path: Path, identity: Identity) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / "out", {name: FILES[name]}, identity)
    write(tmp_path / "out", {"a.png": FILES["a.png"]}, identity)  # once more: takes the place of the first
    assert len(list((tmp_path / "out").glob(f"{PREFIX}*.json"))) == 2
    assert all(verify(tmp_path / "out" / name).holds for name in ("a.png", "b.png"))


def moving() -> bytes:
    """The smallest MP4 that has every box a reader asks for, without a picture."""

    def box(name: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I", len(body) + 8) + name + body

    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    head = box(
        b"mvhd", bytes(12), struct.pack(">IIIH", 1000, 0, 1 << 16, 256), bytes(10), matrix, bytes(24), b"\0\0\0\2"
    )
    return box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + box(b"moov", head) + box(b"mdat", bytes(range(64)))


@signed
@pytest.mark.parametrize("kind", ["webp", "gif", "tiff", "mp4"])
def test_formats_of_other_people_can_be_sealed_too(tmp_path: Path, identity: Identity, kind: str) -> None:
    data = moving() if kind == "mp4" else picture(kind.upper())
    record = write(tmp_path / "out", {f"x.{kind}": data}, identity)
    record.unlink()
    path = tmp_path / "out" / f"x.{kind}"
    assert (verify(path).state, verify(path).own) == ("holds", True)
    sealed = path.read_bytes()
    place = sealed.rindex(data[-16:])
    path.write_bytes(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
    assert verify(path).state == "altered"


def test_a_record_of_half_a_surrogate_pair_can_be_read(tmp_path: Path, identity: Identity) -> None:
    marker = Marker(Batch("r", "", "sample", {"prompt": "\ud83d 猫"}), identity)
    (tmp_path / "a.txt").write_bytes(marker(tmp_path / "a.txt", b"text"))
    marker.record(tmp_path)
    assert verify(tmp_path / "a.txt").holds


@signed
def test_somebody_elses_content_credentials(tmp_path: Path, identity: Identity) -> None:
    import c2pa

    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=identity.chain, private_key=identity.key_pem(), ta_url=None)
    edited = {
        "label": "c2pa.actions.v2",
        "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CAMERA}]},
    }
    manifest = {"claim_generator_info": [{"name": "Other Studio"}], "assertions": [edited]}
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(manifest) as builder,
        open(tmp_path / "x.png", "wb+") as out,
    ):
        builder.sign(signer, "image/png", io.BytesIO(FILES["a.png"]), out)
    verdict = verify(tmp_path / "x.png")
    assert verdict.state == "foreign" and "Other Studio (digitalCapture)" in verdict.says


def test_marks_of_other_generators(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("parameters", "a cat, steps: 20")
    Image.new("L", (8, 8)).save(tmp_path / "x.png", pnginfo=text)
    assert verify(tmp_path / "x.png").state == "foreign"
    other = mark.put(FILES["c.jpg"], ".jpg", MARK).replace(b"genloom:mark=", b"someone:mark=")
    (tmp_path / "y.jpg").write_bytes(other)
    assert "trainedAlgorithmicMedia" in verify(tmp_path / "y.jpg").says
    Image.new("L", (8, 8)).save(tmp_path / "z.png")
    assert verify(tmp_path / "z.png").state == "unmarked"


def test_verifying_needs_no_network_and_makes_no_identity(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", {"a.png": FILES["a.png"]}, identity)
    monkeypatch.setenv("GENLOOM_IDENTITY", str(tmp_path / "none"))

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert verify(tmp_path / "out" / "a.png").holds
    assert not (tmp_path / "none").exists()


def test_without_the_packages_files_are_still_marked(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("cryptography", "c2pa"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr(credentials, "find_spec", lambda name: None)
    assert load_identity() is None
    write(tmp_path / "out", {"a.png": FILES["a.png"]}, None)
    assert verify(tmp_path / "out" / "a.png").state == "unsigned"


# -- the identity -------------------------------------------------------------------------------------------------


def test_the_identity_is_made_once_and_for_the_user_alone(identity: Identity) -> None:
    again = load_identity()
    assert again is not None and again.fingerprint == identity.fingerprint
    assert identity.path.name == "identity.pem" and len(list(identity.path.parent.iterdir())) == 1
    if sys.platform != "win32":
        assert stat.S_IMODE(identity.path.stat().st_mode) == 0o600


def test_signing_is_deterministic_and_verifies_with_cryptography(identity: Identity) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    value = identity.sign(b"data")
    assert value == identity.sign(b"data") != identity.sign(b"Data")
    r, s = int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big")
    identity.key.public_key().verify(utils.encode_dss_signature(r, s), b"data", ec.ECDSA(hashes.SHA256()))


def _bad(kind: str) -> bytes:
    pem = new_pem()
    key, chain = pem[: pem.index(b"-----BEGIN CERT")], pem[pem.index(b"-----BEGIN CERT") :]
    if kind == "p384":
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric import ec

        other = ec.generate_private_key(ec.SECP384R1())
        return other.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()) + chain
    return {
        "expired": new_pem(-30),
        "no key": chain,
        "no certificate": key,
        "another key": new_pem()[: len(key)] + chain,
        "garbage": key[:60] + b"\n-----END PRIVATE KEY-----\n" + chain,
        "empty": b"",
    }[kind]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("expired", "expired"),
        ("no key", "no private key"),
        ("no certificate", "no certificate"),
        ("another key", "is not the one"),
        ("garbage", "cannot be read"),
        ("empty", "no private key"),
        ("p384", "P-256"),
    ],
)
def test_an_identity_that_cannot_sign_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    path = tmp_path / "mine.pem"
    path.write_bytes(_bad(kind))
    monkeypatch.setenv("GENLOOM_IDENTITY", str(path))
    with pytest.raises(InputError, match=says):
        load_identity()
    (tmp_path / "x.txt").write_text("x")
    assert verify(tmp_path / "x.txt").state == "unmarked"  # verifying goes on and notes it
    assert any(says in note for note in verify(tmp_path / "x.txt").notes)


def test_an_identity_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.pem"
    path.write_bytes(new_pem())
    monkeypatch.setenv("GENLOOM_IDENTITY", str(path))
    write(tmp_path / "out", {"a.png": FILES["a.png"]}, load_identity())
    assert verify(tmp_path / "out" / "a.png").own


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENLOOM_IDENTITY", str(tmp_path / "file" / "folder"))
    with pytest.raises(InputError, match="--no-mark"):
        load_identity()


def test_a_signature_outside_the_certificates_time_does_not_hold(tmp_path: Path, identity: Identity) -> None:
    from genloom.provenance import identity as identities

    expired = new_pem(-30)
    chain = expired[expired.index(b"-----BEGIN CERT") :]
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    old = Identity(identity.path, load_pem_private_key(expired[: expired.index(b"-----BEGIN CERT")], None), chain)
    assert identities.check(identity.chain, identity.sign(b"x"), b"x", identities._now()) == ""
    write(tmp_path / "out", {"h.txt": FILES["h.txt"]}, old)
    verdict = verify(tmp_path / "out" / "h.txt")
    assert verdict.state == "altered" and "outside the time" in " ".join(verdict.notes)
