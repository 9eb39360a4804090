"""Personal data by their form: published examples hold, the same with one digit changed do not."""

import datetime
import random

import pytest

from genloom.metrics import personal


def kinds(text: str) -> list[tuple[str, str]]:
    return [(m.kind, text[m.start : m.end]) for m in personal.find(text)]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("email", "anna.li+news@mail.example.org"),
        ("card", "4111111111111111"),
        ("card", "5500 0000 0000 0004"),
        ("card", "3782-822463-10005"),
        ("card", "6200000000000005"),
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "DE89370400440532013000"),
        ("cn-id", "11010519491231002X"),
        ("ssn", "123-45-6789"),
        ("phone", "13800138000"),
        ("phone", "+86 138 0013 8000"),
        ("phone", "+49 30 901820"),
        ("phone", "(212) 555-2368"),
        ("ip", "203.0.113.77"),
        ("ip", "2001:db8:85a3::8a2e:370:7334"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "see {}.", "请联系{}，谢谢", "a\n{}\tb"])
def test_it_is_found_wherever_it_stands(kind: str, found: str, around: str) -> None:
    assert kinds(around.format(found)) == [(kind, found)]


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # Luhn
        "4111 1111 1111 1112",
        "1234567890123452",  # Luhn holds, but no network gives out such numbers
        "GB82 WEST 1234 5698 7654 33",  # modulo 97
        "DE8937040044053201300",  # a digit short
        "110105194912310021",  # check digit
        "110105194902310029",  # 31 February
        "000-45-6789",
        "12800138000",  # no such prefix
        "127.0.0.1, 0.0.0.0, 256.1.1.1 and version 1.2.3.4.5",
        "10:30:20 on 2019-10-12, pages 123-456, 3.14159265358979",
        "std::vector<int> a::b, @property, foo@bar, 1,234,567,890",
        "[12, 13, 14, 15, 16, 17, 18, 19, 20, 21]",
        "0x7fffffffffffffff 18446744073709551616",
    ],
)
def test_what_only_looks_like_it_is_not_reported(text: str) -> None:
    assert kinds(text) == []


def test_check_digits_by_their_definitions() -> None:
    rng = random.Random(0)
    for _ in range(200):
        digits = [rng.randrange(10) for _ in range(15)]
        doubled = [int(c) for k, d in enumerate(reversed(digits)) for c in (str(2 * d) if k % 2 == 0 else str(d))]
        right = -sum(doubled) % 10
        text = "".join(map(str, digits))
        assert [personal.luhn(f"{text}{c}") for c in range(10)] == [c == right for c in range(10)]
        born = datetime.date(1950, 1, 1) + datetime.timedelta(rng.randrange(20_000))
        front = f"4403{rng.randrange(1, 9):02d}{born:%Y%m%d}{rng.randrange(1000):03d}"
        # ISO 7064: the value of all 18 signs, each weighted by 2 to the power of its place, is 1 modulo 11
        total = sum(int(c) * 2 ** (17 - k) for k, c in enumerate(front))
        valid = ["0123456789X"[c] for c in range(11) if (total + c) % 11 == 1]
        assert [c for c in "0123456789X" if personal.is_identity(front + c)] == valid


def test_overlaps_are_told_once_and_shown_masked() -> None:
    text = "身份证 620102199001011234 and 620102199001010012"
    assert all(kind != "card" for kind, _ in kinds(text))
    text = "write to anna@mail.example.org or 13800138000"
    shown = [personal.masked(m, text) for m in personal.find(text)]
    assert shown == ["a…@m….org", "138…00"]
