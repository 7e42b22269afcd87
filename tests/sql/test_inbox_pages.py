"""sql/143_inbox_pages.sql: the newest conversations of all workspaces of a user."""

import json
from typing import Any

import pytest

from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.world import BOB, JOHN_DOE, MALLORY, MATTY, WORKSPACE

MAKE = """
insert into public.conversations (
    workspace_id, scope_id, user_id, platform, external_conversation_id, participant_identifier
)
select workspace_id::uuid, workspace_id::uuid, %(owner)s, 'wechat', 'page' || n, 'p' || n
from unnest(%(workspaces)s::text[]) with ordinality as given (workspace_id, n)
"""


def fill(db: Db) -> None:
    """Add conversations of two workspaces in turns, some with messages of the same time, or from before 1970."""
    db.execute(MAKE, {"owner": MATTY, "workspaces": [MATTY, WORKSPACE] * 6})
    db.execute(
        """
        update public.conversations as conversation
        set message_count = 1, last_message_at = timestamptz '1969-12-31 23:00:00.000001' + (
            substr(external_conversation_id, 5)::int / 4 * interval '1 hour'
        )
        where external_conversation_id like 'page%' and external_conversation_id <> 'page12'
        """
    )


def page(db: Db, who: str = MATTY, **fields: Any) -> Any:
    become(db, who)
    answer = value(db, "select private.list_conversations(%s)", json.dumps(fields))
    become_postgres(db)
    return answer


def test_pages_hold_each_conversation_once_in_order(db: Db) -> None:
    fill(db)
    expected = rows(
        db,
        "select id::text from public.conversations where last_message_at is not null and workspace_id = any(%s)"
        " order by last_message_at desc, id desc",
        [MATTY, WORKSPACE],
    )
    for limit in (1, 2, 3, 50):
        got, cursor = [], {}
        while True:
            answer = page(db, limit=limit, **cursor)
            got += [each["id"] for each in answer["data"]]
            if answer["meta"]["next_cursor"] is None:
                break
            cursor = {"before": answer["meta"]["next_cursor"]}
        assert got == expected


def test_full_page_without_more_has_no_cursor(db: Db) -> None:
    db.execute(MAKE, {"owner": BOB, "workspaces": [BOB] * 51})
    db.execute("update public.conversations set last_message_at = now() where workspace_id = %s", (BOB,))
    for limit, has_more in ((50, True), (51, False)):
        answer = page(db, BOB, limit=limit)
        assert (len(answer["data"]), answer["meta"]["next_cursor"] is not None) == (limit, has_more)
    become(db, BOB)
    for answer in (value(db, "select public.list_conversations()"), page(db, BOB)):
        assert len(answer["data"]) == 50
    assert page(db, BOB, limit=200)["data"][:50] == answer["data"]


def test_page_asks_the_workspace_with_the_newest_message(db: Db) -> None:
    become(db, MATTY)
    third = value(db, "select public.create_workspace('third')")["id"]
    become_postgres(db)
    add = """
        insert into public.conversations (
            id, workspace_id, scope_id, user_id, platform, external_conversation_id, participant_identifier,
            last_message_at
        )
        values (%s, %s, gen_random_uuid(), %s, 'wechat', 'x', 'x', %s)
    """
    newest, *others = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "0ef")
    db.execute(add, (newest, third, MATTY, "2099-03-01"))
    db.execute(add, (others[0], MATTY, MATTY, "2099-02-01"))
    db.execute(add, (others[1], WORKSPACE, MATTY, "2099-01-01"))
    answer = page(db, limit=1)
    assert [each["id"] for each in answer["data"]] == [newest]
    for other in others:
        answer = page(db, limit=1, before=answer["meta"]["next_cursor"])
        assert [each["id"] for each in answer["data"]] == [other]


def test_page_holds_workspaces_of_the_caller_only(db: Db) -> None:
    fill(db)
    assert {each["workspace_id"] for each in page(db, BOB)["data"]} == {WORKSPACE}
    assert page(db, MALLORY)["data"] == []


def test_data_api_lists_the_same_page(db: Db) -> None:
    fill(db)
    http = page(db, limit=2)
    become(db, MATTY)
    assert value(db, "select public.list_conversations(2)") == http
    refused(db, "select public.list_conversations(2, 'x')", by=Exception)


def test_policy_of_the_application_still_holds(db: Db) -> None:
    fill(db)
    db.execute("create policy own on public.conversations as restrictive using (platform <> 'wechat')")
    assert page(db)["data"] == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_one_moment_go_by_id_in_all_workspaces(db: Db, order: str) -> None:
    become(db, MALLORY)
    for name in ("b", "c", "d"):
        db.execute("select public.create_workspace(%s)", (name,))
    become_postgres(db)
    made = rows(
        db,
        f"""
        insert into public.conversations (
            id, user_id, workspace_id, platform, external_conversation_id, participant_identifier, last_message_at
        )
        select ('00000000-0000-4000-8000-0000000000' || age || place)::uuid,
            user_id, workspace_id, 'signal', workspace_id::text || age, '@x',
            now() - (age - 1) * place * interval '1 hour'
        from (
            select user_id, workspace_id, row_number() over (order by workspace_id {order}) as place
            from public.workspace_members where user_id = %s
        ) as member
        cross join generate_series(1, 2) as age
        returning id::text
        """,
        MALLORY,
    )
    got, cursor = [], {}
    for _ in made:
        answer = page(db, MALLORY, limit=1, **cursor)
        got += [each["id"] for each in answer["data"]]
        cursor = {"before": answer["meta"]["next_cursor"]}
    # Four of this moment, the greatest id first. Then the older ones; their ids rise with their age.
    assert got == [*sorted(made, reverse=True)[4:], *sorted(made)[4:]]


def test_entry_of_the_inbox_is_whole(db: Db) -> None:
    fill(db)
    db.execute("update public.conversations set person_id = null, matched_by = null, participant_name = 'Ann'")
    db.execute(
        "update public.conversations set person_id = %s, matched_by = 'phone' where workspace_id = %s"
        " and external_conversation_id = 'page11'",
        (JOHN_DOE, MATTY),
    )
    listed = page(db)["data"]
    fields = ", ".join(name for name in listed[0] if name not in ("unread_count", "last_message_at"))
    known = f"select to_jsonb(c) from (select {fields}, last_message_at from public.conversations) as c"
    expected = {each["id"]: each for each in rows(db, known)}
    assert [each["person_id"] for each in listed if each["person_id"]] == [JOHN_DOE]
    for each in listed:
        at = value(db, "select private.format_time(%s::timestamptz)", expected[each["id"]]["last_message_at"])
        assert each == {**expected[each["id"]], "last_message_at": at, "unread_count": each["unread_count"]}
