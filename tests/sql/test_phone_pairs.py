"""Pairs of a phone book entry and a participant, made from the numbering plans, judged by the package phonenumbers."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import phonenumbers
import pytest
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.phonenumberutil import region_code_for_country_code

from tests.support.database import Db
from tests.support.people import add_conversation, add_person, person_of

MOBILE, FIXED = PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE
# Numbers of fewer digits are not read in a country that they do not name.
FEWEST = 6


class Pair(NamedTuple):
    """What a person's phone field holds, what a WhatsApp webhook says, and whether they are one line."""

    phone: str
    identifier: str
    is_one: bool


def examples(kind: int, *, of_all: bool = False) -> Iterator[PhoneNumber]:
    """Yield the example of each region that has one, unless it is too short: mobile of one half, fixed of the other."""
    for place, region in enumerate(sorted(phonenumbers.SUPPORTED_REGIONS)):
        number = phonenumbers.example_number_for_type(region, kind)
        is_taken = of_all or place % 2 == (kind == FIXED)
        if is_taken and number and len(phonenumbers.national_significant_number(number)) >= FEWEST:
            yield number


def e164(number: PhoneNumber) -> str:
    """Return the digits from the country code on, as WhatsApp writes them."""
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]


def is_one_line(phone: str, identifier: str) -> bool:
    """Read a phone book entry in the country of the other side and compare."""
    other = phonenumbers.parse("+" + identifier)
    try:
        one = phonenumbers.parse(phone, region_code_for_country_code(other.country_code))
    except NumberParseException:
        return False
    one.extension = None
    return one == other


def whole(kind: int) -> Iterator[Pair]:
    """Yield entries that name their country, each in one of the ways that phones offer."""
    for place, number in enumerate(examples(kind)):
        digits = e164(number)
        written = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        ways = [f"+{digits}", written, f"00{digits}", f"tel:+{digits}", f"{written} ext. 12", f"{written}\u2060"]
        yield Pair(ways[place % len(ways)], digits, True)


def national(kind: int) -> Iterator[Pair]:
    """Yield entries without their country."""
    for number in examples(kind, of_all=True):
        phone = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        yield Pair(phone, e164(number), is_one_line(phone, e164(number)))


def neighbours(kind: int) -> Iterator[Pair]:
    """Yield entries that differ in one digit, the first of the area or the last."""
    for number_of_pair, number in enumerate(examples(kind)):
        digits = e164(number)
        place = len(str(number.country_code)) if number_of_pair % 2 else len(digits) - 1
        other = digits[:place] + str((int(digits[place]) + 1) % 10) + digits[place + 1 :]
        parsed = phonenumbers.parse("+" + other)
        if phonenumbers.is_possible_number(parsed) and e164(parsed) == other:
            yield Pair(f"+{other}", digits, False)


def abroad(kind: int) -> Iterator[Pair]:
    """Yield the same national number in another country where it has a possible length."""
    for number in examples(kind):
        code = 49 if number.country_code != 49 else 43
        other = f"+{code}{phonenumbers.national_significant_number(number)}"
        if phonenumbers.is_possible_number(phonenumbers.parse(other)):
            yield Pair(other, e164(number), False)


MAKERS = {
    f"{name} {make.__name__}": partial(make, kind)
    for name, kind in (("mobile", MOBILE), ("landline", FIXED))
    for make in (whole, national, neighbours, abroad)
}


def finds(db: Db, phone: str, identifier: str, platform: str, is_person_first: bool) -> bool:
    """Add a person and a conversation in this order, and check whether they match."""
    with db.transaction(force_rollback=True):
        early = add_person(db, phone) if is_person_first else None
        found = add_conversation(db, identifier, platform=platform)
        person = early or add_person(db, phone)
        return person_of(db, found) == person


def is_matched(db: Db, phone: str, identifier: str, platform: str = "whatsapp") -> bool:
    """Check whether a conversation finds the person, in both orders of arrival."""
    answers = {finds(db, phone, identifier, platform, is_person_first) for is_person_first in (True, False)}
    assert len(answers) == 1, f"{phone} and {identifier}: the order decides"
    return answers.pop()


@pytest.mark.parametrize("kind", MAKERS)
def test_pairs_match_as_the_library_says(db: Db, kind: str) -> None:
    pairs = list(MAKERS[kind]())
    assert len(pairs) > 60
    assert kind != "mobile national" or {pair.is_one for pair in pairs} == {True}
    wrong = [
        pair
        for place, pair in enumerate(pairs)
        if finds(db, pair.phone, pair.identifier, "whatsapp", bool(place % 2)) != pair.is_one
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("phone", "identifier"),
    [
        pytest.param("+55 31 98888-7777", "553188887777", id="Brazil without the ninth digit"),
        pytest.param("+55 31 8888-7777", "5531988887777", id="Brazil with the ninth digit"),
        pytest.param("(31) 8888-7777", "5531988887777", id="Brazil at home"),
        pytest.param("+52 55 1234 5678", "5215512345678", id="Mexico with the mobile digit"),
        pytest.param("+52 1 55 1234 5678", "525512345678", id="Mexico without the mobile digit"),
        pytest.param("044 55 1234 5678", "5215512345678", id="Mexico at home, as once"),
        pytest.param("+54 11 2345-6789", "5491123456789", id="Argentina without the mobile digit"),
        pytest.param("011 15 2345-6789", "5491123456789", id="Argentina at home"),
        pytest.param("+54 11 15 2345-6789", "5491123456789", id="Argentina with both"),
        pytest.param("02966 15 412345", "5492966412345", id="Argentina with a long area code"),
        pytest.param("+225 07 12 34 56", "2250707123456", id="Ivory Coast, Orange"),
        pytest.param("+225 44 12 34 56", "2250544123456", id="Ivory Coast, MTN"),
        pytest.param("01 12 34 56", "2250101123456", id="Ivory Coast at home"),
        pytest.param("+225 20 31 23 45", "2252720312345", id="Ivory Coast, landline"),
        pytest.param("+229 97 12 34 56", "2290197123456", id="Benin"),
        pytest.param("97 12 34 56", "2290197123456", id="Benin at home"),
        pytest.param("02 1234567", "39021234567", id="Italy keeps its zero"),
        pytest.param("8 029 491-19-11", "375294911911", id="Belarus at home"),
        pytest.param("13812345678", "8613812345678", id="China at home"),
        pytest.param("8 912 345-67-89", "79123456789", id="Russia at home"),
        pytest.param("06 30 123 4567", "36301234567", id="Hungary at home"),
    ],
)
def test_two_forms_of_one_line_match(db: Db, phone: str, identifier: str) -> None:
    assert is_matched(db, phone, identifier)
    assert is_matched(db, f"+{identifier}", phone, "signal")


@pytest.mark.parametrize(
    ("phone", "identifier"),
    [
        pytest.param("+55 21 98765-4321", "5511987654321", id="two cities"),
        pytest.param("5521987654321", "5511987654321", id="two cities, without a plus sign"),
        pytest.param("+55 21 3765-4321", "5521937654321", id="a landline of Brazil has no ninth digit"),
        pytest.param("+44 7702 234567", "17702234567", id="two countries"),
        pytest.param("+1 555 123 4567,123", "11234567123", id="an extension is no part of a number"),
        pytest.param("+225 07 12 34 56", "2250107123456", id="Ivory Coast, another operator"),
        pytest.param("+1 631 451 5100", "120363046314515100", id="the id of a group"),
        pytest.param("+1 155 123 4567", "-1001551234567", id="the id of a Telegram group"),
        pytest.param("+1 718 000 0000", "137180000000@lid", id="a LID"),
        pytest.param("+1 180 000 0000", "137180000000000", id="a LID without its mark"),
    ],
)
def test_different_lines_do_not_match(db: Db, phone: str, identifier: str) -> None:
    assert not is_matched(db, phone, identifier)


@pytest.mark.parametrize(
    ("phone", "identifier"),
    [
        pytest.param("+1 555 123 4567", "15551234567@s.whatsapp.net", id="a JID of Baileys"),
        pytest.param("+1 555 123 4567", "15551234567@c.us", id="a JID of WAHA"),
        pytest.param("+52 55 1234 5678", "whatsapp:+5215512345678", id="an address of Twilio"),
        pytest.param("+33 (0)6 12 34 56 78", "33612345678", id="a trunk zero in brackets"),
        pytest.param("+49 4333 633333 ext. 543", "494333633333", id="an extension"),
        pytest.param("+1 555 123 4567 / +1 555 987 6543", "15559876543", id="the second of two numbers"),
        pytest.param(
            "\u0660\u0661\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "201001234567", id="Arabic digits"
        ),
        pytest.param("+1 555 123 4567\t", "15551234567", id="a tab at the end"),
    ],
)
def test_form_of_a_webhook_or_phone_book_matches(db: Db, phone: str, identifier: str) -> None:
    assert is_matched(db, phone, identifier)


def test_telegram_id_is_no_phone_number(db: Db) -> None:
    assert not is_matched(db, "+1 617 123 4567", "6171234567", "telegram")


@pytest.mark.parametrize("home", [None, "FR", "DE"])
def test_number_is_read_in_the_country_of_the_other_side(db: Db, home: str | None) -> None:
    db.execute("update private.settings set default_country = %s", (home,))
    assert is_matched(db, "06 12 34 56 78", "33612345678")


def test_second_number_of_a_field_matches(db: Db) -> None:
    assert is_matched(db, "+33 6 12 34 56 78 / 01 23 45 67 89", "33123456789")


def test_brazilian_carrier_is_read_at_home(db: Db) -> None:
    db.execute("update private.settings set default_country = 'BR'")
    assert is_matched(db, "0 41 31 98888-7777", "553188887777")


def test_two_numbers_without_country_meet_at_home(db: Db) -> None:
    assert not is_matched(db, "06 12 34 56 78", "612345678", "signal")
    db.execute("update private.settings set default_country = 'FR'")
    assert is_matched(db, "06 12 34 56 78", "612345678", "signal")


def test_new_home_country_matches_again(db: Db) -> None:
    person, found = add_person(db, "06 12 34 56 78"), add_conversation(db, "612345678")
    assert person_of(db, found) is None
    db.execute("update private.settings set default_country = 'FR'")
    assert person_of(db, found) == person


def test_two_extensions_of_one_number_differ(db: Db) -> None:
    assert is_matched(db, "+49 4333 633333 ext. 543", "+494333633333;ext=543", "signal")
    assert not is_matched(db, "+49 4333 633333 ext. 543", "+494333633333;ext=544", "signal")
