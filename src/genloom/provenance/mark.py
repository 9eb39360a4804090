"""What a mark says, and the light mark inside a file: XMP in PNG and JPEG, INFO in WAV, a text event in MIDI, comments
in OBJ, PLY, Tiled maps and lists of SMILES, a data field in SDF, metadata in SVG, the title of FASTA, a remark in PDB.

A light mark is read by any tool of the format and costs about 1 KB, but proves nothing: anybody can write or remove it.
Pixels, sound and notes are never touched.
"""

from __future__ import annotations

import html
import json
import re
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

GENERATOR = "genloom"
# https://cv.iptc.org/newscodes/digitalsourcetype/: media made by a trained model.
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
XAP = b"http://ns.adobe.com/xap/1.0/\0"
# Comment lines: what begins one, and after how many lines of the file the mark may stand.
COMMENTS = {".obj": (b"# ", 0), ".ply": (b"comment ", 2), ".smi": (b"# ", 0), ".pdb": (b"REMARK 999 ", 0)}
FASTA = ".fasta"  # the rest of the first title
FIELD = b">  <genloom>\n"  # of a record of an SDF file
XML = (".tmx", ".musicxml")  # a comment


@dataclass(frozen=True)
class Mark:
    """Where one file comes from. weights: sha256 of the run's weights, empty while it trains. index: place in its
    batch; None for a picture of several samples."""

    run: str
    task: str  # sample, grid, reconstruct, interpolate, train
    weights: str = ""
    seed: int | None = None
    index: int | None = None
    label: str | None = None
    step: int | None = None

    def to_json(self) -> dict[str, Any]:
        facts = {k: v for k, v in asdict(self).items() if v is not None and v != ""}
        return {"generator": GENERATOR, "source": SOURCE, **facts}


def kind_of(data: bytes, suffix: str) -> str:
    """The format of a file by its first bytes, else by its ending; "" for one without a place for a mark."""
    if data.startswith(PNG):
        return "png"
    if data.startswith(JPEG):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data.startswith(b"MThd"):
        return "midi"
    if suffix.lower() == ".sdf" and b"$$$$" in data:
        return "sdf"
    if suffix.lower() == ".svg" and b"<svg" in data:
        return "svg"
    return suffix.lower() if suffix.lower() in (*COMMENTS, *XML, FASTA) else ""


def put(data: bytes, suffix: str, mark: Mark) -> bytes:
    """The file with the light mark; unchanged where the format has no place for one (plain text)."""
    kind, facts = kind_of(data, suffix), json.dumps(mark.to_json(), ensure_ascii=True)
    if kind == "png":
        end = len(PNG) + 25  # after IHDR, which is always first and 25 bytes long
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + _xmp(facts)
        return data[:end] + _chunk(b"iTXt", text) + data[end:]
    if kind == "jpeg":
        end = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2  # after JFIF's own segment
        body = XAP + _xmp(facts)
        return data[:end] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[end:]
    if kind == "wav":
        parts = b"INFO" + _riff(b"ISFT", GENERATOR.encode() + b"\0") + _riff(b"ICMT", facts.encode() + b"\0")
        body = data[8:] + _riff(b"LIST", parts)
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if kind == "midi":
        return _midi(data, facts.encode())
    if kind == "sdf":
        return data.replace(b"$$$$", FIELD + facts.encode() + b"\n\n$$$$", 1)
    if kind == "svg":
        start = data.index(b">", data.index(b"<svg")) + 1
        return data[:start] + b"<metadata>genloom " + html.escape(facts).encode() + b"</metadata>" + data[start:]
    if kind in XML:  # after the XML declaration; two hyphens would end the comment
        head, _, rest = data.partition(b"\n")
        return head + b"\n<!-- genloom " + facts.replace("--", "\\u002d-").encode() + b" -->\n" + rest
    if kind == FASTA:
        title, newline, rest = data.partition(b"\n")
        return title + b" genloom " + facts.encode() + newline + rest
    if kind in COMMENTS:
        prefix, after = COMMENTS[kind]
        lines = data.split(b"\n", after)
        return b"\n".join([*lines[:after], prefix + GENERATOR.encode() + b" " + facts.encode(), *lines[after:]])
    return data


def find(data: bytes, suffix: str) -> dict[str, Any] | None:
    """What the light mark in a file says, or None where there is none or it is damaged."""
    text = _text(data, kind_of(data, suffix))
    if text is None:
        return None
    try:
        facts = json.loads(text)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and facts.get("generator") == GENERATOR else None


def stranger(data: bytes, suffix: str) -> str | None:
    """Whose mark of generated content a file carries besides genloom's, in words; None where none is found.

    Looked for are IPTC digital source types in XMP, and the text chunks of common image generators.
    """
    kind = kind_of(data, suffix)
    for block in _xmps(data, kind):
        found = re.search(rb"digitalsourcetype/(\w*[aA]lgorithmic\w*)", block)
        if found and b'genloom:mark="' not in block:
            return f"the IPTC digital source type {found[1].decode()}"
    if kind == "png":
        for name, body in _chunks(data):
            key = body.split(b"\0", 1)[0]
            if name in (b"tEXt", b"iTXt", b"zTXt") and key in (b"parameters", b"prompt", b"workflow"):
                return f"the text {key.decode()!r} that image generators write"
    return None


# -- formats ------------------------------------------------------------------------------------------------------


def _xmp(facts: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:genloom="urn:genloom:mark" Iptc4xmpExt:DigitalSourceType="{SOURCE}" '
        f'xmp:CreatorTool="{GENERATOR}" genloom:mark="{html.escape(facts)}"/></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    ).encode()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _midi(data: bytes, text: bytes) -> bytes:
    """The text as the first event of the first track, at time 0."""
    start = data.find(b"MTrk")
    if start < 0:
        return data
    event = b"\x00\xff\x01" + _variable(len(text)) + text
    length = int.from_bytes(data[start + 4 : start + 8], "big") + len(event)
    return data[: start + 4] + struct.pack(">I", length) + event + data[start + 8 :]


def _variable(n: int) -> bytes:
    """MIDI's variable-length number: seven bits a byte, all but the last with the high bit."""
    out = [n & 127]
    while n := n >> 7:
        out.append(n & 127 | 128)
    return bytes(reversed(out))


def _text(data: bytes, kind: str) -> str | None:
    """The JSON of the light mark."""
    if kind in ("png", "jpeg"):
        found = next((m for b in _xmps(data, kind) if (m := re.search(rb'genloom:mark="([^"]*)"', b))), None)
        return html.unescape(found[1].decode("utf-8", "replace")) if found else None
    if kind == "svg":
        svg = re.search(rb"<metadata>genloom ([^<]*)</metadata>", data)
        return html.unescape(svg[1].decode("utf-8", "replace")) if svg else None
    pattern = {
        "sdf": re.escape(FIELD) + rb"(\{[^\n]*\})\n",
        "wav": rb"ICMT.{4}(\{[^\0]*\})",
        "midi": rb"MTrk.{4}\x00\xff\x01[\x80-\xff]*[\x00-\x7f](\{[^\x00]*?\})\x00",
        **dict.fromkeys(XML, rb"^<!-- genloom (\{.*\}) -->\r?$"),
        FASTA: rb"^>[^\n]*? genloom (\{.*\})\r?$",
        ".pdb": rb"^REMARK 999 genloom (\{.*\})\r?$",
        ".obj": rb"^# genloom (\{.*\})\r?$",
        ".ply": rb"^comment genloom (\{.*\})\r?$",
        ".smi": rb"^# genloom (\{.*\})\r?$",
    }.get(kind)
    flags = re.MULTILINE if kind.startswith(".") else re.DOTALL
    match = re.search(pattern, data, flags) if pattern else None
    return match[1].decode("utf-8", "replace") if match else None


def _xmps(data: bytes, kind: str) -> list[bytes]:
    """Every XMP block of a PNG or JPEG file."""
    if kind == "png":
        return [b for name, b in _chunks(data) if name == b"iTXt" and b.startswith(b"XML:com.adobe.xmp\0")]
    return [b for b in _segments(data) if b.startswith(XAP)] if kind == "jpeg" else []


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, body) of a PNG's chunks, as far as they can be read."""
    out, at = [], len(PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        out.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return out


def _segments(data: bytes) -> list[bytes]:
    """Bodies of the segments before a JPEG's picture data."""
    out, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        out.append(data[at + 4 : at + 2 + length])
        at += 2 + max(length, 2)
    return out
