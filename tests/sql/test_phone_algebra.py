"""Phone numbers match as in Google's library of numbering plans, in either direction."""

import phonenumbers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phonenumbers import MatchType, PhoneNumber, PhoneNumberFormat

from tests.support.database import Db
from tests.support.people import add_conversation, add_person, person_of

PROPERTY = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example is rolled back
)
INTERNATIONAL = [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL]
EVERYWHERE = sorted(phonenumbers.SUPPORTED_REGIONS)
# Regions that dial national numbers like international ones, except for a leading zero.
REGULAR = ["BR", "CN", "DE", "GB", "IN", "NG", "TR", "US"]
MARKS = ["", " ", "-", "\u00a0", "\u2011", "\u202a", ".", "/"]


@st.composite
def numbers(draw: st.DrawFn, regions: list[str]) -> PhoneNumber:
    """Draw a number close to the example of a region, so that equal numbers are frequent."""
    kind = draw(st.sampled_from([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE]))
    region = draw(st.sampled_from(regions))
    number = PhoneNumber()
    number.merge_from(phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region))
    number.national_number += draw(st.integers(0, 3))
    return number


@st.composite
def spellings(draw: st.DrawFn, number: PhoneNumber, formats: list[int]) -> str:
    """Draw a number in one of the formats, with unusual separators."""
    return draw(st.sampled_from(MARKS)).join(phonenumbers.format_number(number, draw(st.sampled_from(formats))))


def finds(db: Db, contact: str, identifier: str) -> bool:
    """Check whether a conversation with this identifier matches a person with this number."""
    with db.transaction(force_rollback=True):
        person = add_person(db, contact)
        return person_of(db, add_conversation(db, identifier)) == person


@PROPERTY
@given(data=st.data())
def test_equal_international_numbers_match(db: Db, data: st.DataObject) -> None:
    region = data.draw(st.sampled_from(EVERYWHERE))
    one, other = data.draw(numbers([region])), data.draw(numbers([region]))
    spelled = [data.draw(spellings(number, INTERNATIONAL)) for number in (one, other)]
    assert finds(db, *spelled) == (phonenumbers.is_number_match(one, other) == MatchType.EXACT_MATCH)


def is_long(number: PhoneNumber) -> bool:
    return len(phonenumbers.national_significant_number(number)) >= 10


@PROPERTY
@given(data=st.data())
def test_long_number_matches_without_its_country_code(db: Db, data: st.DataObject) -> None:
    number = data.draw(numbers(REGULAR).filter(is_long))
    abroad = data.draw(spellings(number, INTERNATIONAL))
    at_home = data.draw(spellings(number, [PhoneNumberFormat.NATIONAL]))
    assert finds(db, abroad, at_home)
    assert finds(db, at_home, abroad)


prefixes = st.sampled_from(["", "0", "1", "+49", "+43", "0043", "@"])


@PROPERTY
@given(one=prefixes, other=prefixes, tail=st.text("0123456789", min_size=8, max_size=11))
def test_matching_is_symmetric(db: Db, one: str, other: str, tail: str) -> None:
    assert finds(db, one + tail, other + tail) == finds(db, other + tail, one + tail)
