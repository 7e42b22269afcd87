"""sql/258 to sql/262: characters, words, signs, stems and marks, each at the edges of what a function takes."""

import unicodedata
from typing import Any

import pytest

from tests.support.database import Db, rows, value

# The characters that search does not take as letters of words with spaces, by what it makes of them between x and y.
KINDS = {
    "xy": (
        "300-36f ad 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 610-61a 61c 640 64b-65f 670 180b-180f 1ab0-1aff 1dc0-1dff "
        "200b-200f 202a-202e 2060-206f 20d0-20ff fe00-fe0f feff 1f3fb-1f3ff e0000-e0fff"
    ),
    "x|y": (
        "1-2f 3a-40 5b-60 7b-ac ae-bf d7 f7 2b9-2bf 37e 55a-55f 589-58a 5be 5c0 5c3 5c6 5f3-5f4 60c 61b 61d-61f "
        "66a-66d 6d4 964-965 970 e3f e4f e5a-e5b f0b-f12 104a-104f 1361-1368 1680 17d4-17db 1800-180a 2000-200a "
        "2010-2029 202f-205f 2070-20cf 2100-22ff 2400-25ff 27c0-2aff 2e00-2e7f 3000-3004 3008-3020 302a-3030 3036-303a "
        "303d-303f 30a0 30fb fd3e-fd3f fe10-fe6f ff00-ff0f ff1a-ff20 ff3b-ff40 ff5b-ff65 fff0-ffff"
    ),
    "x|?|?|y": (
        "e01-e3e e40-e4e e50-e59 e81-f0a f13-1049 1050-109f 1100-11ff 1780-17d3 17dc-17e9 1950-1a1b 1a20-1aaf "
        "2300-23ff 2600-27bf 2b00-2bff 2e80-2fdf 3005-3007 3021-3029 3031-3035 303b-303c 3041-309f 30a1-30fa "
        "30fc-31bf 31f0-31ff 3400-4dbf "
        "4e00-9fff a960-a97f a9e0-a9ff aa60-aadf 16fe0-18d8f 1aff0-1b2ff 1f000-1f3fa 1f400-1faff "
        "20000-3ffff"
    ),
}


def spread(ranges: str) -> list[range]:
    """Read ranges of characters."""
    parts = [part.partition("-") for part in ranges.split()]
    return [range(int(first, 16), int(last or first, 16) + 1) for first, _, last in parts]


def is_in(code: int, ranges: list[range]) -> bool:
    """Return whether one of the ranges has a character."""
    return any(code in codes for codes in ranges)


def test_character_has_its_kind_at_the_edges(db: Db) -> None:
    kinds = {kind: spread(ranges) for kind, ranges in KINDS.items()}
    edges = {
        code
        for ranges in kinds.values()
        for codes in ranges
        # Folding makes other characters of some: those stand for no kind.
        for plain in [[code for code in codes if unicodedata.normalize("NFKD", chr(code)) == chr(code)]]
        for code in [codes[0] - 1, *plain[:1], *plain[-1:], codes[-1] + 1]
    }
    expected = {
        code: kind.replace("?", chr(code).lower())
        for code in sorted(edges - {0, 0xD8, 0xF8})
        if unicodedata.normalize("NFKD", chr(code)) == chr(code)
        for kind in [next((kind for kind, ranges in kinds.items() if is_in(code, ranges)), "x?y")]
    }
    # With a letter that is not ASCII, since a text in ASCII takes a shorter way.
    words = r"array_to_string(private.split_words('x' || chr(code) || e'y \u0436'), '|')"
    found = rows(db, f"select code, {words} from unnest(%s) as code", list(expected))
    assert {code: joined.removesuffix("|\u0436") for code, joined in found} == expected


def test_characters_beside_marks_are_not_cut(db: Db) -> None:
    marks = {code for code in range(0x20000) if unicodedata.combining(chr(code))}
    marks.update(*spread(KINDS["xy"]))
    plain = "".join(
        9 * chr(code)
        for code in sorted({code + step for code in marks for step in (-1, 1)} - marks)
        if unicodedata.category(chr(code)) in {"Lu", "Ll", "Lo", "Lm", "Nd", "Po"} and code != 0x1CD3
    )
    assert value(db, "select private.shorten_marks(%s)", plain) == plain


# The signs in C++20, #a_b and --a_b that come after those before a word.
C_AND_PAIRS = ["c++", "a_b", "a_b"]
# Hebrew: the book.
THE_BOOK = "\u05d4\u05e1\u05e4\u05e8"
BOOK = THE_BOOK[1:]
VALUES: dict[str, dict[str, Any]] = {
    "marks in a row": {
        # Only a text of more than 1,000 bytes is cut.
        "octet_length(private.shorten_marks('a' || repeat(e'\\u0300', 499) || 'b'))": 1000,
        "octet_length(private.shorten_marks('a' || repeat(e'\\u0300', 500) || 'bc'))": 1 + 16 + 2,
    },
    "folding": {
        r"private.fold_text(e'Foo\u2122 Bar\u2120x \ud55c\uff21')": "foo  bar x \ud55ca",
        r"private.fold_text(e'\u00f8\u0142\u0111\u0127\u0167\u0131\u03c2')": "oldhti\u03c3",
        **{
            f"private.fold_text('{letter}')": plain
            for letter, plain in {
                "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "\u03c2": "\u03c3",
                "ß": "ss", "æ": "ae", "œ": "oe",
            }.items()
        },
        r"private.fold_text(e'\u00c9\u00df\u00f8\u0153\u0300', true)": "\u00e9\u00df\u00f8\u0153\u0300",
    },
    "lengths": {
        r"char_length(private.fold_for_index(repeat(e'\u6f22', 66666)))": 66_666,
        r"char_length(private.fold_for_index(repeat(e'\u6f22', 66667)))": 50_000,
        r"char_length(private.fold_for_index(repeat(e'\u0434', 100001)))": 100_000,
        r"private.fold_for_index(repeat(e'\u00ad', 199999) || 'ab')": "a",
        "char_length((private.split_words(repeat('x', 256)))[1])": 255,
        r"private.split_words(e'H\u00e4user', true)": ["h\u00e4user"],
        r"private.split_words(e'a\u0001b \u0436')": ["a", "b", "\u0436"],
    },
    "signs": {
        f"array(select * from unnest((private.list_compounds({text})).{part}))": found
        for text, signed, joined in (
            ("'wi-fi it''s O''Brien o\u2019sullivan'", [], ["wifi", "obrien", "osullivan"]),
            ("'we''ll don\u2019t they''re I''m he''d'", [], []),
            ("'x\u2010y a-b-c -d e-'", ["-d"], ["xy", "abc"]),
            ("'O''Brien'", [], ["obrien"]),
            ("'O\u2019Brien'", [], ["obrien"]),
            ("'x\u2010y'", [], ["xy"]),
            ("'x-y'", [], ["xy"]),
            ("'1,234 12,345,678 1,23'", [], ["1234", "12345678"]),
            ("'1,234.56 1,2345.6'", ["1234.56", "2345.6"], ["1234", "1234"]),
            ("'a_b_c 1.2.3 y.z'", ["a_b", "b_c", "1.2", "2.3"], []),
            (
                "'#123 @name .net --flag -f c++ c# #a_b --no-verify --a_b C++20 c#x c+ c#\u0436'",
                ["#123", "@name", ".net", "--flag", "-f", "c++", "c#", "#a_b", "--no-verify", "--a_b", *C_AND_PAIRS],
                ["noverify"],
            ),
            ("'(#a) ä@b \u064a@b x#1 1#1 _#2 ##3 @#4 .#5 +#6 <-7 ---9 #-d'", ["#a"], []),
            ("repeat('x', 60) || '-' || repeat('x', 60)", [], ["x" * 100]),
            ("'#' || repeat('x', 101)", ["#" + "x" * 99], []),
            ("repeat('x', 60) || '_' || repeat('x', 60)", ["x" * 60 + "_" + "x" * 39], []),
        )
        for part, found in (("signed", signed), ("joined", joined))
    },
    "texts with signs": {
        rf"'{text}' ~ private.compound_signs()": found
        for text, found in {
            "a#": True, "a@": True, "a+": True, "a_": True, "1.2": True, "1,2": True, "a.b": False, "a,2": False,
            "1.a": False, ".net": True, "a .net": True, "-f": True, "a.net": False, ".": False, "- .": False,
            ".é": True,
            ".\u064a": True, "a-b": True, "a\u2010b": True, "a- b": False, "a -": False, "O''B": True, "O\u2019B": True,
            "it''s": False,
            "don''t": False, "I''d": False, "I''m": False, "we''re": False, "I''ve": False, "I''ll": False,
            "o''ste": True,
            "a'' b": False,
        }.items()
    },
    "stems": {
        f"array(select place || stem from private.list_stems({given}))": found
        for given, found in {
            "'{hauser,viele,go,test}', '{häuser,viele,go,test}', 'pg_catalog.german_stem', true": ["1haus", "2viel"],
            "'{hauser,laufen}', null, 'pg_catalog.german_stem', true": ["1haus", "2lauf"],
            "'{ps,pst}', null, 'pg_catalog.french_stem', true": [],
            "'{the,is,tests,was}', null, 'pg_catalog.english_stem', true": ["3test"],
            # The stemmers get no word of a later script.
            "'{ทดส}', '{tests}', 'pg_catalog.english_stem', true": [],
            "'{\u0dd0\u0dd1\u0dff}', '{tests}', 'pg_catalog.english_stem', true": ["1test"],
        }.items()
    },
    "prefixes": {
        f"array(select stem from private.list_stems(array['{word}'], null, null, {is_message}))": stems
        for word, is_message, stems in (
            # The Arabic words for the book, and the book, with the book, and so on.
            *((f"{prefix}\u0643\u062a\u0627\u0628", False, ["\u0643\u062a\u0627\u0628"]) for prefix in (
                "\u0627\u0644", "\u0648\u0627\u0644", "\u0641\u0627\u0644", "\u0628\u0627\u0644", "\u0643\u0627\u0644",
                "\u0641\u0628\u0627\u0644", "\u0644\u0644", "\u0648\u0644\u0644", "\u0641\u0644\u0644",
            )),
            ("\u0627\u0644\u0643", False, []), ("\u0627\u0644\u0643\u062a", False, ["\u0643\u062a"]),
            # Hebrew: and, that, when, in, like, to, from and the before a word of three letters.
            *((f"{prefix}{BOOK}", True, [BOOK]) for prefix in (
                "\u05d5", "\u05e9", "\u05db\u05e9", "\u05d1", "\u05db", "\u05dc", "\u05de", "\u05d4", "\u05d5\u05d1",
                "\u05d5\u05e9\u05d4", "\u05d5\u05db\u05e9\u05d1\u05d4",
            )),
            (THE_BOOK, False, []), ("\u05d1\u05d6\u05d4", True, []), ("\u05d4\u05d6\u05d4", True, ["\u05d6\u05d4"]),
        )
    },
    "forms of a word": {
        f"private.list_word_forms({given})": found
        for given, found in {
            "'tests', 'tests', '{pg_catalog.english_stem,pg_catalog.german_stem}'": ["test", "tests"],
            "'the', 'the', '{pg_catalog.english_stem}'": ["the"],
            "'runs', 'runs', '{pg_catalog.english_stem}'": ["run", "runs"],
            "'ps', 'ps', '{pg_catalog.french_stem}'": ["ps"],
            "'dry', 'dry', '{pg_catalog.english_stem}'": ["dri", "dry"],
            f"'{THE_BOOK}', '{THE_BOOK}', '{{pg_catalog.english_stem}}'": [THE_BOOK],
            "'hauser', 'Häuser Xen', '{pg_catalog.english_stem,pg_catalog.german_stem}'": ["haus", "hauser"],
        }.items()
    },
    "index entries": {
        f"private.index_words('{text}', '[]', '{language}')::text": found
        for text, language, found in (
            ("Häuser tests", "english", "'hauser':1A 'test':2 'tests':2A"),
            ("Häuser tests", "german", "'haus':1 'hauser':1A 'test':2 'tests':2A"),
            ("viele Häuser x\u00b7y", "german", "'haus':2 'hauser':2A 'viel':1 'viele':1A 'x':3A 'y':4A"),
            ("\u201ctests\u201d viele", "german", "'test':1 'tests':1A 'viel':2 'viele':2A"),
            (f"{THE_BOOK} tests", "english", f"'test':2 'tests':2A '{THE_BOOK}':1A '{BOOK}':1"),
            (f"{THE_BOOK} viele", "german", f"'viel':2 'viele':2A '{THE_BOOK}':1A '{BOOK}':1"),
            ("wi-fi a_b c++", "english", "'a':3A 'a_b':9A 'b':4A 'c':5A 'c++':7A 'fi':2A 'wi':1A 'wifi':7C"),
            ("déployés xé", "french", "'deploi':1 'deployes':1A 'xe':2A"),
            ("http://a", "english", "':link' 'a':2A 'http':1A"),
        )
    },
    "marks of a query": {
        "array[(select array_agg(word order by word)::text from unnest(words) as word), beginnings, heads, neighbours]"
        f" from private.list_marks('{query}')": found
        for query, found in {
            "''c++'' & ''2.0'' & ''x_y'' & ''@ann'' & ''#12'' & ''--flag'' & ''.net''": [
                "{0,12,2,ann,c,flag,net,x,y}", None, "0|12|2|an|c|fl|ne|x|y", None
            ],
            "''lamp'' & ''zoo'':*A & ''best'':AB": ["{best,lamp}", "^(zoo)", "be|la|zo", None],
            "''lamp'' & ''lamp'':*": ["{lamp}", "^(lamp)", "la", None],
            "''กข''": [None, None, None, "ก(?=ข)|(?<=ก)ข"],
            "''部署'' & ''部'':* & lamp": [
                "{lamp}", None, "la", "部(?=署)|(?<=部)署|部"
            ],
        }.items()
    },
    "marked words": {
        f"regexp_replace(given, private.mark_pattern(array[given], '{query}', '{{german_stem}}'), '<\\&>', 'g')"
        f" from (select e'{text}') as this (given)": found
        for text, query, found in (
            ("Haus häuser, Hausboot (HAUS)", "haus", "<Haus> <häuser>, Hausboot (<HAUS>)"),
            *((f"haus{gap}x{gap}haus", "haus", f"<haus>{gap}x{gap}<haus>") for gap in (
                *"!/:@[`{\n", "\u00bf", "\u2000", "\u206f", "\u3000", "\u303f", "\uff00", "\uff0f",
            )),
            ("haus0 ahaus", "haus", None), ("Hauser", "hauser", "<Hauser>"),
            ("haus 部署", "haus & 部署", "<haus> <部><署>"),
        )
    },
    "steps of a rank": {
        f"private.ranking_steps('{words}', {query}, {lexemes})": steps
        for words, query, lexemes, steps in (
            ("a:1,2,3 b:4", "'a'", "'{a}'", 9), ("a:1,2,3 b:4,5", "'a & b'", "'{a,b}'", 75),
            ("a:1,2,3 b:4,5", "'a:*'", "null", 25), ("a:1", "null", "null", None),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("place", VALUES)
def test_words_and_marks_are_these(db: Db, place: str) -> None:
    found = {expression: value(db, f"select {expression}") for expression in VALUES[place]}
    assert found == VALUES[place]
