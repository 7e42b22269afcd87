"""postgres_changes: filters choose rows; what cannot be subscribed to is refused in the words of Realtime."""

from typing import Any

import psycopg
import pytest
from threadline_devstack.realtime.changes import Refused, Subscriptions
from threadline_devstack.realtime.changes_requests import Filter, read

from tests.devstack.realtime.hearing import asking, claims, hearing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n=eq.2", {2}),
        ("n=neq.2", {1, 3}),
        ("n=lt.2", {1}),
        ("n=lte.2", {1, 2}),
        ("n=gt.2", {3}),
        ("n=gte.2", {2, 3}),
        ("n=in.(1,3)", {1, 3}),
        ("name=like.a%", {1, 2}),
        ("name=ilike.A%", {1, 2}),
        ("name=match.^a", {1, 2}),
        ("name=imatch.^A", {1, 2}),
        ("name=isdistinct.ab", {2, 3, 4}),
        ("name=not.isdistinct.ab", {1}),
        ("name=is.null", {4}),
        ("name=not.is.null", {1, 2, 3}),
        ("flag=is.true", {1}),
        ("n=not.eq.2", {1, 3}),
        ("n=not.in.(1,3)", {2}),
        ("name=not.like.a%", {3}),
        ("n=gte.1,n=lt.3,name=like.a%", {1, 2}),
        ('name=in.("a,c",x)', {2}),
        ('name=eq."a,c"', {2}),
        ("  ", {1, 2, 3, 4}),
        ("code=eq.abcdefgh", set()),
    ],
)
async def test_filters_select_rows(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection, condition: str, expected: set[int]
) -> None:
    await subscriptions.add("ann", claims(role="service_role"), [asking("notes", filter=condition)])
    async with hearing(published, subscriptions) as heard:
        writer.execute(
            """
            insert into notes (id, name, n, flag, code) values
            (1, 'ab', 1, true, 'abcde'), (2, 'a,c', 2, false, null), (3, 'x''y', 3, null, ''), (4, null, null, null, '')
            """
        )
        told = await heard.data("ann")
    assert {each["record"]["id"] for each in told} == expected


UNABLE = "Unable to subscribe to changes with given parameters. "
CHECK = UNABLE + "An exception happened so please check your connect parameters: "


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (asking("nope"), "Please check Realtime is enabled for the given connect parameters: [event: *, schema: public,"
                         " table: nope, filters: [], select: nil]"),
        (asking("unpublished"), "Please check Realtime is enabled"),
        (asking("notes", filter="zz=eq.5"), 'filters: [{"zz", "eq", "5", false}], select: nil]. Exception: ERROR P0001'
                                            " (raise_exception) invalid column for filter zz"),
        (asking("notes", filter="secret=eq.5"), "invalid column for filter secret"),
        (asking("notes", filter="n=eq.five"), 'ERROR 22P02 (invalid_text_representation) invalid input syntax for type'
                                              ' integer: "five"'),
        (asking("notes", filter="n=is.true"), "is true filter requires a boolean column, got integer"),
        (asking("notes", filter="flag=is.maybe"), "invalid value for is filter: must be null, true, false, or unknown"),
        (asking("notes", filter="n=like.5"), "operator like requires a text-compatible column type, got integer"),
        (asking("notes", filter="n=imatch.5"), "operator imatch requires a text-compatible column type, got integer"),
        (asking("notes", filter="name=match.("), "invalid regular expression for match filter: "),
        (asking("notes", filter=f"n=in.({','.join(map(str, range(101)))})"), "too many values for `in` filter."),
        (asking("notes", select=["secret"]), "invalid column for select secret"),
        (asking("notes", filter="n~5"), 'Error parsing `filter` params: ["n~5"]'),
        (asking("notes", filter="n=foo.5"), 'Error parsing `filter` params: ["foo", "5"]'),
        (asking("notes", filter="n=5"), 'Error parsing `filter` params: ["5"]'),
        (asking("notes", filter="n=in.5"), "Error parsing `filter` params: `in` filter value must be wrapped by"),
        (asking("notes", filter="n=eq.5,"), "filter must not contain empty segments (check for extra commas)"),
        (asking("notes", select="id"), "Error parsing `select` params: expected a list of column name strings"),
        (asking("*", select=["id"]), "Column selection is not supported for wildcard subscriptions."),
        (asking("notes", filter="name=eq.\0"), "PostgreSQL text fields cannot contain NUL"),
        (asking("no\0tes"), "PostgreSQL text fields cannot contain NUL"),
        ({"event": "*"}, 'to subscribe to: %{"event" => "*"}'),
        (asking("notes", filter=5), "No subscription params provided."),
    ],
)  # fmt: skip
async def test_wrong_subscription_is_refused_in_realtimes_words(
    published: str, subscriptions: Subscriptions, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as caught:
        await subscriptions.add("ann", claims(), [asking("open_notes"), request_])
    assert message in str(caught.value)
    with pytest.raises(Refused, match='role "nobody" does not exist'):
        await subscriptions.add("ann", claims(role="nobody"), [asking("open_notes")])


def test_commas_and_quotes_are_parsed_as_in_realtime() -> None:
    def filters(text: str) -> list[Filter]:
        return list(read(asking("notes", filter=text)).filters)

    assert filters('a=eq."x,y\\"z",b=in.("1,2",(3,4)),c=eq.O"Neil,d=not.eq.(a') == [
        Filter("a", "eq", 'x,y"z', False),
        Filter("b", "in", '{"1,2",(3,4)}', False),
        Filter("c", "eq", 'O"Neil', False),
        Filter("d", "eq", "(a", True),
    ]
