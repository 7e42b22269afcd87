"""sql/015 to sql/340: functions that only compute, each with values at the edges of what it takes."""

from typing import Any
from unicodedata import normalize

import psycopg
import pytest

from tests.support.database import Db, refused, rows, value

UUID = "0a1b2c3d-1111-4222-8333-444455556666"
TIMES = {
    "2026-03-19T15:10:22Z": "2026-03-19T15:10:22.000Z",
    "2026-03-19t15:10z": "2026-03-19T15:10:00.000Z",
    "2026-03-19 15:10:22.123456789012": "2026-03-19T15:10:22.123Z",
    "2026-03-19T15:10:22.1234567890123Z": None,
    "2026-03-19T15:10:22+05:30": "2026-03-19T09:40:22.000Z",
    "2026-03-19T15:10:22-0530": "2026-03-19T20:40:22.000Z",
    "2026-03-19T15:10:22+05": "2026-03-19T10:10:22.000Z",
    "2026-02-30T15:10:22Z": None,
    "2026-03-19": None,
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000Z",
    "0001-01-01T00:00:00+01:00": None,
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.9999995Z": None,
    "9999-12-31T23:59:59-01:00": None,
    "10000-01-01T00:00:00Z": None,
}
# The characters of a reaction: of a name, of an emoji, and of an emoji that shows as text without U+FE0F.
EMOJI = {
    "name": "2b 2d 30-39 41-5a 5f 61-7a c0-1fff 3040-d7ff",
    "symbol": (
        "a9 ae 203c 2049 2122 2139 2190-21ff 2300-24ff 25a0-27bf 2900-297f 2b00-2bff 3030 303d 3297 3299 "
        "1f000-1f1e5 1f200-1faff"
    ),
    "text": (
        "a9 ae 203c 2049 2122 2139 2194-2199 21a9 21aa 2328 23cf 23ed-23ef 23f1 23f2 23f8-23fa 24c2 25aa 25ab 25b6 "
        "25c0 25fb 25fc 2600-2604 260e 2611 2618 261d 2620 2622 2623 2626 262a 262e 262f 2638-263a 2640 2642 265f "
        "2660 2663 2665 2666 2668 267b 267e 2692 2694-2697 2699 269b 269c 26a0 26a7 26b0 26b1 26c8 26cf 26d1 26d3 "
        "26e9 26f0 26f1 26f4 26f7-26f9 2702 2708 2709 270c 270d 270f 2712 2714 2716 271d 2721 2733 2734 2744 2747 "
        "2763 2764 27a1 2934 2935 2b05-2b07 3030 303d 3297 3299 1f170 1f171 1f17e 1f17f 1f202 1f237 1f321 "
        "1f324-1f32c 1f336 1f37d 1f396 1f397 1f399-1f39b 1f39e 1f39f 1f3cb-1f3ce 1f3d4-1f3df 1f3f3 1f3f5 1f3f7 "
        "1f43f 1f441 1f4fd 1f549 1f54a 1f56f 1f570 1f573-1f579 1f587 1f58a-1f58d 1f590 1f5a5 1f5a8 1f5b1 1f5b2 "
        "1f5bc 1f5c2-1f5c4 1f5d1-1f5d3 1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa 1f6cb 1f6cd-1f6cf "
        "1f6e0-1f6e5 1f6e9 1f6f0 1f6f3"
    ),
}
DIGITS = "1" * 100
VALUES: dict[str, dict[str, Any]] = {
    "json": {
        """private.scalar_text('{"a": {"b": 1}}', 'a')""": "{}",
        "private.scalar_text('{\"a\": [1]}', 'a')": "[]",
        "private.scalar_text('{\"a\": 1.0}', 'a')": "1.0",
        "private.scalar_text('{\"a\": null}', 'a')": None,
        **{
            f"private.has_long_digits('{text}')": is_long
            for text, is_long in {
                '{"a": 1e100}': True,
                '{"a": 1E+100}': True,
                "[-1.5e-100]": True,
                "[1,2E100]": True,
                '{"a": 1e99}': False,
                f"[{DIGITS}]": True,
                f"[{DIGITS[1:]}]": False,
            }.items()
        },
        **{
            f"private.has_huge_number('{text}')": is_huge
            for text, is_huge in {"9e999": False, "1e1000": True, "-1e1000": True, "1e-1000": False}.items()
        },
        **{f"private.fits('{'[' * levels}{']' * levels}', 500)": levels == 100 for levels in (100, 101)},
        **{f"private.fits('\"\u00e9\"', {size})": size == 4 for size in (3, 4)},  # bytes, not characters
        r"""private.parse_json('{"a": "\\u0000 \\uDBFF\\uDFFF \\uDA00"}')""": {"a": "\ufffd \U0010ffff \ufffd"},
        r"""private.parse_json('{"a": "\\uDA00"}')""": {"a": "\ufffd"},
    },
    "requests": {
        **{f"private.format_time(private.parse_timestamp('{text}'))": time for text, time in TIMES.items()},
        f"private.is_uuid('{UUID.upper()}')": True,
        f"private.is_uuid('{UUID}0')": False,
        f"private.is_uuid('{UUID.replace('-', '')}')": False,
        **{
            f"private.parse_boolean('{{\"a\": {text}}}', 'a')": is_true
            for text, is_true in {
                "true": True, '"true"': True, '"1"': True, "1": True,
                "false": False, '"false"': False, '"0"': False, "0": False, "null": False,
            }.items()
        },
        "private.parse_integer('{\"a\": 999999999}', 'a', 0, 999999999, 5)": 999999999,
        "private.parse_integer('{\"a\": \"007\"}', 'a', 0, 7, 5)": 7,
        "private.parse_integer('{\"a\": null}', 'a', 0, 7, null)": None,
        **{
            f"private.is_about_data('{state}')": is_about
            for state, is_about in {
                "23505": True, "54000": True, "P0001": True, "PT404": True, "XX000": True,
                "40001": False, "57014": False, "XX001": False,
            }.items()
        },
        "private.parse_uuids('{\"a\": null}', 'a', 1)": [],
        "private.is_service()": False,
        f"private.lock_person(row('{UUID}', 'phone')::private.person_match)::text": None,
    },
    "national numbers": {
        f"private.unify_number('{code}', '{given}')": found
        for code, given, found in [
            ("55", "3168887777", "31968887777"), ("55", "3158887777", "3158887777"),
            ("52", "15512345678", "5512345678"), ("54", "91123456789", "1123456789"),
            ("229", "97123456", "0197123456"), ("229", "17123456", "17123456"),
            ("225", "20812345", "2120812345"), ("225", "30812345", "2130812345"), ("225", "20012345", "2520012345"),
            ("225", "30012345", "2530012345"), ("225", "20312345", "2720312345"), ("225", "01123456", "0101123456"),
            ("225", "43123456", "0143123456"), ("225", "44123456", "0544123456"), ("225", "46123456", "0546123456"),
            ("225", "47123456", "0747123456"), ("225", "0712345678", "0712345678"), ("49", "97123456", "97123456"),
        ]
    },
    "spellings": {
        f"private.list_spellings('{code}', '{given}', {trunk})": sorted(found)
        for code, given, trunk, found in [
            ("55", "31988887777", "'0'", ["031988887777", "03188887777", "31988887777", "3188887777"]),
            ("55", "3138887777", "null", ["3138887777"]),
            ("52", "551234567", "null", ["551234567"]),
            ("52", "5512345678", "null", [f"{prefix}5512345678" for prefix in ("", "01", "044", "045", "1")]),
            ("54", "1123456789", "null", [
                "1123456789", "111523456789", "112153456789", "112315456789", "91123456789"
            ]),
            ("225", "0707123456", "null", ["0707123456", "07123456"]),
            ("229", "0197123456", "null", ["0197123456", "97123456"]),
            ("375", "294911911", "'8'", ["294911911", "80294911911", "8294911911"]),
            ("49", "1512345678", "'0'", ["01512345678", "1512345678"]),
        ]
    },
    "readings": {
        **{
            f"to_jsonb(private.read_number((private.parse_phone('{text}', {home}))[1], {is_from_platform}))": {
                "line": line, "digits": text.split()[0], "home_line": home_line, "is_complete": line is not None,
                "is_national": not (line and is_from_platform), "extension": extension,
            }
            for text, home, is_from_platform, line, home_line, extension in [
                ("15551234567", "null", False, "15551234567", None, None),
                ("1555123456", "null", False, None, None, None),
                ("4930123456", "null", True, "4930123456", None, None), ("4930123456", "null", False, None, None, None),
                ("10001234567", "null", False, None, None, None),
                ("0612345678 x5", "'FR'", False, None, "33612345678", "5"),
            ]
        },
        "(private.parse_phone('0612345678', 'FQ'))[1].country_code": None,
        **{
            f"array(select key from private.list_phone_keys('{text}', null) as k order by key collate \"C\")":
            keys.split()
            for text, keys in {
                "+298 201234": "c:298201234 d:298201234 phone:201234 s:201234",
                "+290 22158": "c:29022158 d:29022158 phone:022158",
                "201234": "d:201234 phone:201234 w:201234",
                "20123": "d:20123 phone:20123",
                "+49 30 123456": "c:4930123456 d:4930123456 phone:123456 s:030123456 s:30123456 u:4930123456",
                "030 1234567": "d:0301234567 phone:234567 t:0301234567 w:0301234567",
                "030 123456": "d:030123456 phone:123456 w:030123456",
            }.items()
        },
        **{
            "array(select concat_ws(' ', rank, key, reason, extension) from unnest(private.list_match_keys("
            f"'{platform}', row('{kind}', '{text}', '')::private.identifier, {home}, {is_exact})) as one"
            ' order by rank, key collate "C")': keys
            for platform, kind, text, home, is_exact, keys in [
                ("signal", "phone", "0612345678", "'FR'", False, [
                    "1 d:0612345678 phone", "2 c:33612345678 phone_national", "2 h:33612345678 phone_national",
                    "2 s:0612345678 phone_national", "3 t:0612345678 phone_last_ten", "3 u:0612345678 phone_last_ten",
                ]),
                ("whatsapp", "phone", "33612345678", "null", False, [
                    "1 c:33612345678 phone", "1 d:33612345678 phone", "2 h:33612345678 phone_national",
                    "2 w:0612345678 phone_national", "2 w:612345678 phone_national", "3 t:3612345678 phone_last_ten",
                ]),
                ("signal", "phone", "612345678 x5", "null", False,
                    ["1 d:612345678 phone 5", "2 s:612345678 phone_national 5"]),
                ("signal", "phone", "+33612345678 x5", "null", True,
                    ["1 c:33612345678 phone 5", "1 d:33612345678 phone 5"]),
                ("telegram", "telegram_username", "ann", "null", True, []),
                ("telegram", "telegram_username", "ann", "null", False, ["2 telegram_username::ann telegram_username"]),
                ("telegram", "telegram_id", "5", "null", True, ["1 telegram_id::5 telegram_id"]),
            ]
        },
    },
    "sequences": {
        f"private.parse_sequence('{{\"sequence\": {text}}}')": found
        for text, found in {
            "9" * 18: int("9" * 18), "-" + "9" * 18: -int("9" * 18), "1" + "0" * 18: 0, '"-7"': -7, "1.5": 0,
        }.items()
    },
    "times of edits": {
        f"private.find_edit_time('{{\"edit_date\": {number}}}') is null": len(number) > 11
        for number in ("0", "1" * 10, "1" * 11, "1" * 12)
    },
    "previews": {
        "private.message_preview(jsonb_build_object('content', repeat(' ', 200) || 'x'))": "x",
        "private.message_preview('{\"deleted\": true, \"type\": \"image\"}')": "Deleted message",
        "private.message_preview('{\"deleted\": false, \"type\": \"image\"}')": "Photo",
    },
    "identifiers": {
        "private.phone_text('15551234567@c.us')": "+15551234567",
        "private.phone_text('011 442079460958123')": "011442079460958123",
        "private.phone_text('00 442079460958123')": "00442079460958123",
        "private.phone_text('0 442079460958123')": None,
        "private.phone_text('06 12 34 56 78')": "0612345678",
        **{
            f"private.identifier_value('{kind}', '{given}')": found
            for kind, given, found in [
                ("telegram_id", "1" * 16, "1" * 16), ("telegram_id", "1" * 17, None), ("telegram_id", "012345", None),
                ("telegram_username", "T.me/Ann_Lee", "ann_lee"), ("telegram_username", "@ann", None),
                ("telegram_username", "a" * 32, "a" * 32), ("telegram_username", "a" * 33, None),
                ("whatsapp_lid", "137180000000000.1:3@lid", "137180000000000"), ("whatsapp_lid", "1234", None),
                ("whatsapp_bsuid", "us.134", None), ("whatsapp_bsuid", "US." + "1" * 128, "US." + "1" * 128),
                ("signal_uuid", UUID.upper(), UUID), ("email", "Ann@X.Example", "ann@x.example"),
                ("email", "a@b.c", None),
                ("wechat_openid", "a" * 5, None), ("wechat_openid", "a" * 64, "a" * 64),
                ("wechat_unionid", "a" * 65, None),
                ("phone", "(030) 12345", "(030) 12345"), ("pager", "1", None),
            ]
        },
        **{
            f"to_jsonb(private.identify('{platform}', '{text}')) - 'app'": {"kind": kind, "value": found}
            for platform, text, kind, found in [
                ("telegram", "9999999999", "telegram_id", "9999999999"),
                ("telegram", "61712345678", "phone", "61712345678"),
                ("telegram", " @ann_lee ", "telegram_username", "ann_lee"), ("whatsapp", UUID, "phone", None),
                ("wechat", "x" * 28, "phone", None), ("wechat", "o" + "x" * 27, "wechat_openid", "o" + "x" * 27),
                ("whatsapp", "1" * 14, "whatsapp_lid", "1" * 14), ("signal", "1" * 14, "phone", "1" * 14),
                ("whatsapp", "12345@newsletter", None, None), ("signal", "US.134", "phone", None),
            ]
        },
        **{
            f"private.participant_key('{platform}', '{text}')": key
            for platform, text, key in [
                ("whatsapp", "15551234567", "phone:234567"), ("telegram", "6171234567", "telegram_id::6171234567"),
                ("signal", "@ann_lee", None), ("telegram", "@ann_lee", "telegram_username::ann_lee"),
                ("whatsapp", "15551234567@s.whatsapp.net", "phone:234567"), ("whatsapp", "group", None),
            ]
        },
        "private.is_phone('whatsapp', '137180000000000@lid')": False,
        "private.is_phone('whatsapp', 'group')": False,
        "(private.find_region('49')).country_code": "49",
        "private.identifier_key('wechat_openid', 'oabcdef', 'wx1')": "wechat_openid:wx1:oabcdef",
        "private.plain_digits('whatsapp', '8105551234567')": None,
        "private.plain_digits('whatsapp', '1195551234')": None,
        "private.plain_digits('whatsapp', '15551234567')": "15551234567",
        "private.plain_digits('signal', '15551234567')": None,
        "array(select extension from unnest(private.list_match_keys('signal', "
        "row('phone', '+49 4333 633333 x5', '')::private.identifier, null, false)) group by 1)": ["5"],
    },
    "emoji": {
        **{
            f"private.normalize_emoji(e'{given}')": found
            for given, found in {
                "\\u2764": "\u2764\ufe0f", "\\u2764\\ufe0e": "\u2764\ufe0f", "\\u2764\\ufe0f": "\u2764\ufe0f",
                "\\u261d\\U0001f3fd": "\u261d\U0001f3fd", "#\\u20e3": "#\ufe0f\u20e3", "A\\u20e3": None,
                "\\U0001f1e9\\U0001f1ea": "\U0001f1e9\U0001f1ea", "\\U0001f1e9": None, "\\U0001f44d\\U0001f44d": None,
                "\\U0001f441\\u200d\\U0001f5e8": "\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f",
                "\\U0001f468\\u200d\\U0001f469\\u200d\\U0001f467": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
                "caf\\u0065\\u0301": "caf\xe9", ":+1:": "+1", "+1:": "+1", ":a:b:": None, "a b": None,
            }.items()
        },
    },
    "webhooks": {
        **{
            f"private.is_webhook_url('{url}')": is_url
            for url, is_url in {
                "http://a:1": True, "http://a:0": False, "http://a:65535": True, "http://a:65536": False,
                "http://[::1]": True, "http://[1.2.3.4]": False, "http://1.2.3.4": True, "http://1.2.3.0004": False,
                "http://1.2.3.256": False, f"http://{'a' * 63}": True, f"http://{'a' * 64}": False,
                "http://" + "a." * 126 + "a": True, "http://" + "a." * 126 + "aa": False,
            }.items()
        },
    },
    "sign-up": {
        "private.choose_display_name('{\"full_name\": \" \", \"name\": \" Ann \"}', 'b@x.example')": "Ann",
        "private.choose_display_name('{\"name\": \" \"}', '@x.example')": "User",
        "private.choose_display_name(null, 'bob@x.example')": "bob",
        "private.choose_display_name(null, null)": "User",
        "private.choose_avatar_url('{\"avatar_url\": \"https://b\", \"picture\": \"https://a\"}')": "https://b",
        **{
            f"private.choose_avatar_url('{{\"picture\": \"{url}\"}}')": found
            for url, found in {
                "HTTPS://a": "HTTPS://a", "http://localhost/a": "http://localhost/a", "http://localhost.a": None,
                "http://127.0.0.1:1": "http://127.0.0.1:1", "http://127.0.0.10": None, "x https://a": None,
            }.items()
        },
        **{
            f"private.choose_avatar_url(jsonb_build_object('picture', 'https://' || repeat('a', {count})))": found
            for count, found in {1992: "https://" + "a" * 1992, 1993: None}.items()
        },
    },
    "snippets": {
        **{
            f"private.render_snippet(repeat('a', {before}) || ' hit', 'hit')": found
            for before, found in {
                59: "a" * 59 + " <mark>hit</mark>",
                60: "\u2026" + "a" * 59 + " <mark>hit</mark>",
            }.items()
        },
        **{
            f"private.render_snippet(repeat('a', {length}), null)": "a" * min(length, 240) + "\u2026" * (length > 240)
            for length in (240, 241)
        },
        "private.render_snippet('<a> \"hit\" hit', 'hit')":
            "&lt;a&gt; &quot;<mark>hit</mark>&quot; <mark>hit</mark>",
        "private.render_snippet('hithit', 'hit')": "<mark>hithit</mark>",
        "private.render_snippet('one hit', 'hit')": "one <mark>hit</mark>",
        # A message goes on after the 4,000 characters that a snippet looks at.
        "private.render_snippet(repeat('a ', 1990) || 'hit' || repeat(' b', 100), 'hit')":
            "\u2026" + "a " * 29 + "<mark>hit</mark>" + " b" * 8 + " \u2026",
    },
    "numbers of events": {
        f"private.parse_number('{{\"a\": {given}}}', 'a', {default})": found
        for given, default, found in [(9, "null", 9), ("9" * 18, "null", int("9" * 18)), ("null", "'3'", 3)]
    },
    "errors": {
        **{
            f"array[status::text, body::json #>> '{{error,code}}', body::json #>> '{{error,field}}']"
            f" from private.render_failure('{state}', '', '{detail}', '{field}', '')": found
            for state, detail, field, found in [
                ("PT503", "off", "", ["503", "off", None]), ("PT404", "", "id", ["404", "refused", "id"]),
                ("42501", "owner_required", "", ["403", "owner_required", None]),
                ("42501", "workspace_member_required", "", ["403", "workspace_member_required", None]),
                ("42501", "other", "", ["403", "forbidden", None]),
                ("23505", "", "", ["409", "conflict", None]), ("23503", "", "", ["409", "conflict", None]),
                ("23514", "", "", ["400", "invalid_value", None]), ("23502", "", "", ["400", "invalid_value", None]),
                ("22003", "", "", ["400", "invalid_value", None]), ("40001", "", "", [None, None, None]),
                ("PT100", "a", "", ["100", "a", None]), ("PT599", "a", "", ["599", "a", None]),
                ("PT600", "a", "", [None, None, None]), ("PT4000", "a", "", [None, None, None]),
            ]
        },
        **{
            f"private.retry_after({status}, '{code}', '{{\"ratelimit-reset\": \"7\"}}')": found
            for status, code, found in [
                (429, "rate_limited", {"retry-after": "7"}), (429, "too_many_at_once", {"retry-after": "5"}),
                (503, "summaries_not_configured", {"retry-after": "5"}), (409, "last_owner", {}),
            ]
        },
        **{
            f"private.retry_after(429, '{code}', '{{}}') = jsonb_build_object('retry-after', "
            "ceil(extract(epoch from date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::text)": True
            for code in (
                "summary_budget_exhausted", "project_summary_budget_exhausted", "too_many_invitations",
                "too_many_workspaces",
            )
        },
    },
    "mentions": {
        f"(private.parse_mentions('{text}')).is_channel": is_channel
        for text, is_channel in {"a<!channel>b": True, "<!CHANNEL>": False, "!channel": False}.items()
    },
    "types of files": {
        f"private.is_shown_type('{kind}')": is_shown
        for kind, is_shown in {
            " image/png": True, "image/svg": False,
            "application/vnd.ms-excel; x=y": True, "text/xsl": False, "x/x+xsl": False,
            "a/b+xml": False, "unknown/unknown": False, "image/": False, "image/*": False, "-a/b": False,
            "application/vnd.openxmlformats-officedocument": True,
        }.items()
    },
    "languages": {
        f"private.search_language('{tag}')": found
        for tag, found in {
            "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch",
            "en": "english", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
            "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
            "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian",
            "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
            "yi": "yiddish", "pt-BR": "portuguese", "de-Latn-AT": "german", "ja": None,
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("place", VALUES)
def test_function_gives_its_value(db: Db, place: str) -> None:
    # Another time zone changes nothing, and the order of spellings is free.
    db.execute("set local timezone = 'Asia/Tokyo'")
    found = {expression: value(db, f"select {expression}") for expression in VALUES[place]}
    if place == "spellings":
        found = {expression: sorted(spellings) for expression, spellings in found.items()}
    assert found == VALUES[place]


# Ranges of characters. Tests look at their ends and at the neighbours.
CLASSES = {
    "chr(n) ~ private.hidden_characters()": [
        (1, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200B, 0x200B), (0x200E, 0x200F), (0x2028, 0x202E),
        (0x2060, 0x2069), (0xFEFF, 0xFEFF),
    ],
    "chr(n) !~ private.visible_character()": [
        (1, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x1680, 0x1680),
        (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800),
        (0x3000, 0x3000), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF),
    ],
    "private.phone_digits('1' || chr(n)) is not null": [
        (0x20, 0x20), (0x28, 0x29), (0x2B, 0x39), (0xA0, 0xA0), (0x200B, 0x200B), (0x200E, 0x200F), (0x2010, 0x2015),
        (0x202A, 0x202F), (0x2066, 0x2069), (0xFEFF, 0xFEFF),
    ],
    "private.split_phones('1' || chr(n) || '2') = '{12}'": [
        (0xAD, 0xAD), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF),
    ],
    "private.split_phones('1' || chr(n) || '2') = '{1 2}'": [
        (0x20, 0x20), (0xA0, 0xA0), (0x2000, 0x200A), (0x202F, 0x202F), (0x3000, 0x3000),
    ],
    "private.split_phones('1' || chr(n) || '2') = '{1-2}'": [
        (0x2D, 0x2D), (0xB7, 0xB7), (0x2010, 0x2015), (0x2022, 0x2022), (0x2212, 0x2212), (0xFF0D, 0xFF0D),
    ],
}  # fmt: skip


@pytest.mark.parametrize("condition", CLASSES)
def test_class_of_characters_has_its_ends(db: Db, condition: str) -> None:
    ranges = CLASSES[condition]
    numbers = {n for first, last in ranges for n in (first - 1, first, last, last + 1)} - {0}
    found = rows(db, f"select n from unnest(%s::integer[]) as n where {condition} order by n", [*numbers])
    assert found == sorted(n for n in numbers if any(first <= n <= last for first, last in ranges))


def code_points(ranges: str) -> list[range]:
    ends = [each.partition("-") for each in ranges.split()]
    return [range(int(first, 16), int(last or first, 16) + 1) for first, _, last in ends]


def test_each_range_of_emoji_ends_where_unicode_says(db: Db) -> None:
    kinds = {kind: code_points(ranges) for kind, ranges in EMOJI.items()}
    near = {
        point
        for ranges in kinds.values()
        for each in ranges
        for point in (each.start - 1, each.start, each[-1], each.stop)
        if not 0xD800 <= point < 0xE000
    }

    def spelling(point: int) -> str | None:
        text = normalize("NFC", chr(point))
        found = [kind for kind, ranges in kinds.items() if any(ord(text) in each for each in ranges)]
        return text + "\ufe0f" if "text" in found else text if found else None

    query = "select point, private.normalize_emoji(chr(point)) from unnest(%s::int[]) as point"
    assert dict(rows(db, query, sorted(near))) == {point: spelling(point) for point in near}


@pytest.mark.parametrize(
    ("emoji", "ends"),
    [
        ("\U0001f44d{}", "1f3fb-1f3ff"),
        ("\u261d{}", "1f3fb-1f3ff"),
        ("\U0001f3f4{}\U000e007f", "e0020-e007e"),
        ("\U0001f1e6{}", "1f1e6-1f1ff"),
        ("{}\ufe0f\u20e3", "23 2a 30-39"),
    ],
    ids=["skin tone", "skin tone of a text symbol", "tag", "flag", "keycap"],
)
def test_part_of_an_emoji_is_of_its_range(db: Db, emoji: str, ends: str) -> None:
    for each in code_points(ends):
        for point in (each.start - 1, each.start, each[-1], each.stop):
            made = emoji.format(chr(point))
            found = made if point in each else None
            assert value(db, "select private.normalize_emoji(%s)", made) == found, hex(point)


def test_id_has_its_version_and_the_time_now(db: Db) -> None:
    # The clock goes on within a transaction, and now() does not.
    db.execute("do $$ begin while clock_timestamp() < now() + interval '2 ms' loop end loop; end $$")
    before, made, after = rows(
        db,
        """
        select floor(extract(epoch from clock_timestamp()) * 1000)::text union all
        select private.generate_id()::text union all
        select ceil(extract(epoch from clock_timestamp()) * 1000)::text
        """,
    )
    assert int(before) <= int(made.replace("-", "")[:12], 16) <= int(after)
    assert made[14] == "7"


@pytest.mark.parametrize(
    "text", ["0.5", "1e3", "-1", "1000000000", '""', '"1 "', '"1x"', "true", "[]", "{}"], ids=lambda text: text
)
def test_number_of_another_form_is_refused(db: Db, text: str) -> None:
    error = refused(db, "select private.parse_integer(%s, 'a', 0, 7, 5)", f'{{"a": {text}}}', by=psycopg.Error)
    assert (error.sqlstate, error.message_detail, error.column_name) == ("PT400", "invalid_field", "a")
