"""Personal data in text by its form: what a person should not find in what a model writes.

Each kind has a check beyond its pattern where there is one: Luhn for payment cards (ISO/IEC 7812-1), modulo 97 and the
country's length for IBANs (ISO 13616), the check digit and the date for Chinese resident identity numbers (GB
11643-1999), the ranges of numbers that are given out. Names and addresses are not looked for: that takes a language
model.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

KINDS = {
    "email": "e-mail addresses",
    "card": "payment card numbers",
    "iban": "bank accounts (IBAN)",
    "cn-id": "Chinese resident identity numbers",
    "ssn": "US social security numbers",
    "phone": "phone numbers",
    "ip": "IP addresses",
}


class Match(NamedTuple):
    """One of KINDS at text[start:end]."""

    kind: str
    start: int
    end: int


_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}+@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?![a-z0-9-])", re.A | re.I
)
# What a text must hold before the patterns are tried.
_DIGITS = re.compile(r"[0-9](?:[ .()/-]{0,2}+[0-9]){6}")
_ACCOUNT = re.compile(r"[0-9]{2} ?[A-Z0-9]{4}")
_DOTTED = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:")
_CARD = re.compile(
    r"(?<![0-9.+-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})(?![0-9]|[.-][0-9])"
)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Z0-9])")
_IDENTITY = re.compile(r"(?<![0-9])[1-8][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx](?![0-9A-Za-z])")
_SSN = re.compile(r"(?<![0-9-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])")
_PHONE = re.compile(
    r"(?<![0-9.+])(?:"
    r"(?:\+?86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}"  # Chinese mobile
    r"|\+[1-9][0-9]{0,2}(?:[ -]?\([0-9]{1,4}\))?(?:[ -]?[0-9]){6,13}"  # international: E.164
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}"  # North America
    r")(?![0-9]|[.-][0-9])"
)
_IPV4 = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}(?![\w:])", re.A | re.I)

# Lengths of IBANs by country (SWIFT's registry).
_LENGTHS = {
    name: length
    for length, names in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL OM SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for name in names.split()
}  # fmt: skip
_ISSUERS = re.compile(  # the first digits and the lengths that the networks give out
    r"4(?:.{12}|.{15}|.{18})|5[1-5].{14}|2(?:22[1-9]|2[3-9].|[3-6]..|7[01].|720).{12}|3[47].{13}"
    r"|6(?:011|5..|4[4-9].).{12}|3(?:0[0-5]|6.|[89].).{11}|35(?:2[89]|[3-8].).{12}|220[0-4].{12}|62.{14,17}"
)
# Provinces by the first two digits of an identity number.
_PROVINCES = {
    *range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83,
}  # fmt: skip
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def find(text: str) -> Iterator[Match]:
    """Personal data in the text; where two kinds overlap, the one with the stricter check."""
    taken = bytearray()  # 1 where something was found

    def of(kind: str, pattern: re.Pattern[str], holds: Callable[[str], bool]) -> Iterator[Match]:
        for m in pattern.finditer(text):
            start, end = m.span()
            if holds(m[0]) and 1 not in taken[start:end]:
                taken.extend(bytes(len(text) - len(taken)))
                taken[start:end] = b"\1" * (end - start)
                yield Match(kind, start, end)

    if "@" in text:
        yield from of("email", _EMAIL, lambda _: True)
    if _DIGITS.search(text):
        yield from of("cn-id", _IDENTITY, is_identity)
        yield from of("card", _CARD, is_card)
        yield from of("ssn", _SSN, lambda _: True)
        yield from of("phone", _PHONE, lambda s: 7 <= sum(c.isdigit() for c in s) <= 15)
    if _ACCOUNT.search(text):
        yield from of("iban", _IBAN, is_iban)
    if _DOTTED.search(text):
        yield from of("ip", _IPV4, _is_address)
    if _COLONS.search(text):
        yield from of("ip", _IPV6, _is_address)


def luhn(digits: str) -> bool:
    """Whether the last of the decimal digits is the check digit of the others."""
    values = [int(d) for d in reversed(digits)]
    return (sum(values[::2]) + sum(sum(divmod(2 * v, 10)) for v in values[1::2])) % 10 == 0


def is_card(text: str) -> bool:
    digits = re.sub("[ -]", "", text)
    return len(set(digits)) > 1 and _ISSUERS.fullmatch(digits) is not None and luhn(digits)


def is_iban(text: str) -> bool:
    account = text.replace(" ", "")
    if _LENGTHS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def is_identity(text: str) -> bool:
    """18 signs: province, date of birth, and the check digit of ISO 7064 MOD 11-2."""
    try:
        born = datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    check = "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, text, strict=False)) % 11]
    return int(text[:2]) in _PROVINCES and born <= datetime.date.today() and text[17].upper() == check


def _is_address(text: str) -> bool:
    """An IP address that may be someone's: not of this machine, of a group or of none."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    if ip.version == 6 and sum(len(part) for part in text.split(":")) < 8:
        return False
    return not (ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_reserved)


def masked(match: Match, text: str) -> str:
    """What was found with its middle hidden, so that a report does not spread it."""
    found = text[match.start : match.end]
    if match.kind == "email":
        name, _, host = found.partition("@")
        return f"{name[:1]}…@{host[:1]}….{host.rpartition('.')[2]}"
    return f"{found[:3]}…{found[-2:]}"
