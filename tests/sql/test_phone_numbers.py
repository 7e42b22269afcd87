"""sql/102_phone_numbers.sql reads numbers as the package phonenumbers does, and what phone books hold besides."""

from collections.abc import Iterator
from functools import cache

import phonenumbers
import pytest
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from tests.support import phones
from tests.support.database import Db, rows, value

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = sorted(PhoneNumberType.values())
ABROAD = ["US", "DE", "JP", "BR"]  # each dials another prefix before a country code
READ = """
select number.country_code, number.national_number, number.is_complete and number.has_country
from unnest(%s::text[], %s::text[]) with ordinality as given (spelling, region, place)
left join lateral unnest(private.parse_phone(given.spelling, given.region)) as number on true
order by given.place
"""


@cache
def examples(region: str) -> list[PhoneNumber]:
    """Return an example of each kind of number of a region, and one that is not valid."""
    found = [phonenumbers.example_number_for_type(region, kind) for kind in KINDS]
    return [number for number in [*found, phonenumbers.invalid_example_number(region)] if number]


def spellings(region: str) -> Iterator[tuple[str, str | None]]:
    """Yield the ways to write the examples of a region, each with the country where it is read."""
    for number in examples(region):
        for form in (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966):
            yield phonenumbers.format_number(number, form), None
        yield phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL), region
        yield phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:], region
        for country in ABROAD:
            yield phonenumbers.format_out_of_country_calling_number(number, country), country


def read_by_the_library(text: str, region: str | None) -> tuple[str, str, bool]:
    """Return country code, national number, and whether the text names a country and has one of its lengths."""
    number = phonenumbers.parse(text, region)
    names_country = region is None or phonenumbers.parse(text, region, keep_raw_input=True).country_code_source in {
        phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN,
        phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_IDD,
    }
    is_possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    return str(number.country_code), phonenumbers.national_significant_number(number), names_country and is_possible


def test_phone_metadata_is_current() -> None:
    assert phones.PATH.read_text(encoding="utf-8") == phones.render(), "Run `make phones`."


@pytest.mark.parametrize("first", sorted({region[0] for region in REGIONS}))
def test_numbers_are_read_as_by_the_library(db: Db, first: str) -> None:
    given = [each for region in REGIONS if region[0] == first for each in spellings(region)]
    read = rows(db, READ, *map(list, zip(*given, strict=True)))
    assert len(read) == len(given)
    assert [*zip(given, read, strict=True)] == [(each, read_by_the_library(*each)) for each in given]


def test_numbers_of_no_country_are_read(db: Db) -> None:
    examples = map(phonenumbers.example_number_for_non_geo_entity, phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
    texts = [phonenumbers.format_number(number, PhoneNumberFormat.E164) for number in examples]
    assert rows(db, READ, texts, [None] * len(texts)) == [read_by_the_library(text, None) for text in texts]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("+33 (0)6 12 34 56 78", ["33 612345678"]),
        ("0033 6 12 34 56 78", ["33 612345678"]),
        ("tel:+33-6-12-34-56-78", ["33 612345678"]),
        ("tel:612345678;phone-context=+33", ["33 612345678"]),
        ("whatsapp:+33612345678", ["33 612345678"]),
        ("33612345678@s.whatsapp.net", ["33 612345678"]),
        ("33612345678:12@s.whatsapp.net", ["33 612345678"]),
        ("33612345678@c.us", ["33 612345678"]),
        ("+49 4333 633333 ext. 543", ["49 4333633333 x543"]),
        ("+49 4333 633333 x543", ["49 4333633333 x543"]),
        ("tel:+49-4333-633333;ext=543", ["49 4333633333 x543"]),
        ("+1 555 123 4567,123", ["1 5551234567 x123"]),
        ("+1 555 123 4567,,123#", ["1 5551234567 x123"]),
        ("+49 30 1234\u00b7567", ["49 301234567"]),
        ("+1 555 123 4567\t", ["1 5551234567"]),
        pytest.param("\u202a+49\u00a0151\u20112345678\u202c\u2060", ["49 1512345678"], id="invisible marks"),
        ("\uff0b\uff11 555 123 4567", ["1 5551234567"]),
        pytest.param(
            "+\u0662\u0660\u0661\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666", ["20 100123456"], id="Arabic digits"
        ),
        ("+\u0967 555 123 4567", ["1 5551234567"]),
        ("+1 555 123 4567 / +1 555 987 6543", ["1 5551234567", "1 5559876543"]),
        ("+33 6 12 34 56 78, +33 6 98 76 54 32", ["33 612345678", "33 698765432"]),
        ("+33 6 12 34 56 78 or +33 6 98 76 54 32", ["33 612345678", "33 698765432"]),
        ("(030) 12.34-56/7", ["? 0301234567"]),
        ("06 12 34 56 78", ["? 0612345678"]),
        ("+49,151", ["49 151"]),
        ("-1001551234567", []),
        ("120363046314515100", []),
        ("120363046314515100@g.us", []),
        ("15551234567-1600000000@g.us", []),
        ("137180000000000@lid", []),
        ("@1234567890", []),
        ("bob1234567890", []),
        ("1234567890x", []),
        ("+", []),
        ("", []),
        ("+1 555 123 4567 / 9876543", ["1 5551234567", "? 9876543"]),
        ("+1 555 123 4567 / 987654", []),
        ("TEL:+33612345678", ["33 612345678"]),
        ("tel:+33612345678;isub=12", ["33 612345678"]),
        ("1234567 x12", ["? 1234567 x12"]),
        ("123456 x12", []),
        ("0033 (0)6 12 34 56 78", ["33 612345678"]),
        ("0039 (0)2 1234567", ["39 21234567"]),
        ("1+5551234567", ["? 15551234567"]),
        ("0045 (0)32 12 34 56", ["45 32123456"]),
        ("06+12345678", ["? 0612345678"]),
        ("+1 555 123 4567 x12345", ["1 5551234567 x12345"]),
        ("+49 1512345678901", ["49 1512345678901"]),
        ("+49 15123456789012", []),
        ("+33 6 12 34 56 78; +33 6 98 76 54 32", ["33 612345678", "33 698765432"]),
        ("+33 6 12 34 56 78 & 06 98 76 54 32", ["33 612345678", "? 0698765432"]),
        ("+33 6 12 34 56 78 OR +33 6 98 76 54 32", ["33 612345678", "33 698765432"]),
        pytest.param("\ufeff+33 6\u202f12 34 56\u2022 78", ["33 612345678"], id="marks of files and lists"),
        ("999123456", ["? 999123456"]),
        ("+999 123456", ["? 999123456"]),
        ("00 0612345678", ["? 000612345678"]),
    ],
)
def test_phone_book_entries_are_read(db: Db, text: str, numbers: list[str]) -> None:
    found = """
    select coalesce(country_code, '?') || ' ' || national_number || coalesce(' x' || extension, '')
    from unnest(private.parse_phone(%s, null))
    """
    assert rows(db, found, text) == numbers


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("06 12 34 56 78", "FR", "33 612345678"),
        pytest.param(
            "\u0660\u0661\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
            "EG",
            "20 1001234567",
            id="Arabic digits",
        ),
        ("02 1234567", "IT", "39 021234567"),
        ("011 15 2345-6789", "AR", "54 91123456789"),
        ("011 44 20 7946 0958", "US", "44 2079460958"),
        ("0044 20 7946 0958", "US", "44 2079460958"),
        ("+44 20 7946 0958", "FR", "44 2079460958"),
        ("555 1234", "BB", "1 2465551234"),
        ("8196151702", "BY", "375 196151702"),
        ("06123456789012", "FR", "33 6123456789012"),
    ],
)
def test_number_without_country_is_read_at_home(db: Db, text: str, country: str, number: str) -> None:
    found = "select country_code || ' ' || national_number from unnest(private.parse_phone(%s, %s))"
    assert value(db, found, text, country) == number


def test_plain_digits_are_those_of_every_home_country(db: Db) -> None:
    e164 = [
        phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for region in REGIONS[::10]
        for number in examples(region)
    ]
    texts = sorted({form for text in e164 for form in (text, text[1:], f"{text[1:]}@s.whatsapp.net")})
    differing = """
    select given.text, home.region
    from unnest(%s::text[]) as given (text)
    cross join lateral private.plain_digits('whatsapp', given.text) as plain
    cross join unnest(array['US', 'DE', 'BY', 'CL', 'CU', 'RU']) as home (region)
    where plain is distinct from
        (private.read_number((private.parse_phone(given.text, home.region))[1], true)).digits and plain is not null
    """
    assert rows(db, differing, texts) == []
    plain = value(
        db, "select count(*) from unnest(%s::text[]) as t where private.plain_digits('whatsapp', t) is not null", texts
    )
    assert plain > len(texts) * 0.9
