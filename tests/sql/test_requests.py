"""sql/320_rate_limits.sql and the part of sql/800_gateway.sql about it: limits, idempotency keys, errors as answers."""

import json
from typing import Any

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests.support.calls import call
from tests.support.database import Db, become, lift_request_limit, refused, rows, value
from tests.support.event_log import inconsistencies
from tests.support.world import BOB, CHANNEL, MATTY, MESSAGE, UNKNOWN_ID

CREATE = {"channel_id": CHANNEL, "content": "once"}


def limit(db: Db, requests: int) -> None:
    db.execute("update private.settings set requests_per_minute = %s", (requests,))


def said(db: Db, content: str = "once") -> int:
    """Count the messages with this content."""
    return value(db, "select count(*) from public.messages where content = %s", content)


# The least and the greatest number that a call takes in a field, who calls, and what else the call needs. An unknown id
# spares a list.
NUMBERS: list[tuple[str, str, int, int, str | None, dict[str, str]]] = [
    ("list_inbox_changes", "limit", 1, 100, MATTY, {"workspace_id": UNKNOWN_ID}),
    ("list_conversations", "limit", 1, 200, MATTY, {"workspace_id": UNKNOWN_ID}),
    ("list_user_events", "limit", 1, 1000, MATTY, {}),
    ("list_messages", "limit", 1, 200, MATTY, {"channel_id": UNKNOWN_ID}),
    ("search_messages", "limit", 1, 100, MATTY, {"query": "x", "channel_id": UNKNOWN_ID}),
    ("search_conversations", "limit", 1, 100, MATTY, {"query": "x", "conversation_id": UNKNOWN_ID}),
    ("list_channel_events", "limit", 1, 1000, MATTY, {"channel_id": UNKNOWN_ID}),
    ("list_twin_deliveries", "limit", 1, 200, MATTY, {"ai_twin_id": UNKNOWN_ID}),
    ("rotate_twin_secret", "overlap_hours", 0, 720, MATTY, {"ai_twin_id": UNKNOWN_ID}),
    ("export_channel", "limit", 1, 1000, MATTY, {"channel_id": UNKNOWN_ID}),
    ("export_conversation", "limit", 1, 1000, MATTY, {"conversation_id": UNKNOWN_ID}),
    ("claim_deliveries", "limit", 1, 1000, None, {}),
    ("claim_deliveries", "lease_seconds", 1, 3600, None, {}),
    ("finish_delivery", "status", 100, 999, None, {"id": UNKNOWN_ID, "lease": UNKNOWN_ID}),
    ("index_conversations", "limit", 1, 1000, None, {}),
    ("sweep_attachments", "limit", 1, 1000, None, {}),
    ("clean_up", "limit", 1, 100_000, None, {}),
    *(
        (name, field, least, most, MATTY, {"workspace_id": UNKNOWN_ID})
        for name in ("list_workspaces", "list_workspace_members", "list_invitations", "list_my_channels")
        for field, least, most in (("limit", 1, 1000), ("offset", 0, 999_999_999))
    ),
]


def test_number_is_taken_up_to_its_bounds(db: Db) -> None:
    lift_request_limit(db)
    for name, field, least, most, who, names in NUMBERS:
        replies = {
            number: call(db, name, who, **names, **{field: number}) for number in (least - 1, least, most, most + 1)
        }
        wrong = [number for number, reply in replies.items() if reply.status == 400]
        assert wrong == [least - 1, most + 1], name
        assert {replies[number].error for number in wrong} == {(400, "invalid_field", field)}


def test_parameter_wins_over_a_field_of_the_body(db: Db) -> None:
    assert call(db, "get_message", parameters={"id": MESSAGE}, id=UNKNOWN_ID).data["id"] == MESSAGE


def test_every_answer_reports_the_remaining_requests(db: Db) -> None:
    limit(db, 3)
    replies = [call(db, "get_message", id=id_) for id_ in (MESSAGE, UNKNOWN_ID, "x")]
    assert [reply.status for reply in replies] == [200, 404, 400]
    assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["2", "1", "0"]
    assert {reply.headers["ratelimit-limit"] for reply in replies} == {"3"}
    left = "select ceil(extract(epoch from date_trunc('minute', now()) + interval '1 minute' - now()))::text"
    assert {reply.headers["ratelimit-reset"] for reply in replies} == {value(db, left)}


def test_request_over_the_limit_is_rejected_unexecuted(db: Db) -> None:
    limit(db, 2)
    numbers = "select nextval(pg_get_serial_sequence('private.message_words', 'number'))"
    before = value(db, numbers)
    replies = [call(db, "create_message", **CREATE) for _ in range(4)]
    assert [reply.status for reply in replies] == [201, 201, 429, 429]
    assert replies[2].error == (429, "rate_limited", None)
    assert replies[2].headers["ratelimit-remaining"] == "0"
    assert replies[2].headers["retry-after"] == replies[2].headers["ratelimit-reset"]
    assert "retry-after" not in replies[1].headers
    assert said(db) == 2
    # A rollback does not give numbers back, so a call that was made and undone would show.
    assert value(db, numbers) == before + 3


def test_each_user_is_counted_and_the_service_is_not(db: Db) -> None:
    limit(db, 1)
    assert [call(db, "get_message", user, id=MESSAGE).status for user in (MATTY, BOB, MATTY)] == [200, 200, 429]
    assert [call(db, "get_message", None, id=MESSAGE).status for _ in range(3)] == [200] * 3


def test_only_pages_of_exports_are_not_counted(db: Db) -> None:
    page = {"channel_id": CHANNEL, "after": "seq_1"}
    counted = [
        "ratelimit-limit" in call(db, name, parameters=page).headers for name in ("list_messages", "export_channel")
    ]
    assert counted == [True, False]


def test_second_half_of_an_upload_is_not_counted(db: Db) -> None:
    assert "ratelimit-limit" in call(db, "begin_upload").headers
    assert "ratelimit-limit" not in call(db, "finish_upload").headers


def test_counter_restarts_each_minute(db: Db) -> None:
    limit(db, 1)
    assert [call(db, "get_message", id=MESSAGE).status for _ in range(2)] == [200, 429]
    db.execute("update private.request_counts set minute = minute - interval '1 minute'")
    assert call(db, "get_message", id=MESSAGE).status == 200


@pytest.mark.parametrize(("ahead", "status"), [("1 minute", 429), ("2 minutes", 200), ("1 hour", 200)])
def test_count_of_a_later_minute_is_respected(db: Db, ahead: str, status: int) -> None:
    limit(db, 1)
    call(db, "get_message", id=MESSAGE)
    db.execute("update private.request_counts set minute = minute + %s::interval", (ahead,))
    become(db, MATTY)
    assert value(db, "select private.is_used_up()") == (status == 429)
    assert call(db, "get_message", id=MESSAGE).status == status


def test_count_of_the_next_minute_goes_on(db: Db) -> None:
    limit(db, 3)
    call(db, "get_message", id=MESSAGE)
    db.execute("update private.request_counts set minute = minute + interval '1 minute'")
    assert call(db, "get_message", id=MESSAGE).headers["ratelimit-remaining"] == "1"
    assert rows(db, "select minute > now() from private.request_counts") == [True]


def test_request_over_the_limit_at_the_end_is_rolled_back(db: Db) -> None:
    limit(db, 1)
    # Simulate a request that is counted after this one began.
    db.execute(f"""
        create function public.spend() returns trigger language plpgsql security definer as $$
        begin
            insert into private.request_counts values ('{MATTY}', date_trunc('minute', now()), 1);
            return new;
        end
        $$;
        create trigger spend before insert on public.messages for each row execute function public.spend()
    """)
    reply = call(db, "create_message", key="k", **CREATE)
    assert reply.error == (429, "rate_limited", None)
    assert said(db) == 0
    assert rows(db, "select from private.idempotency_keys") == []


def test_repeated_request_with_its_key_gets_the_same_answer(db: Db) -> None:
    first, again = (call(db, "create_message", key="k", **CREATE) for _ in range(2))
    assert (again.status, again.body) == (first.status, first.body) == (201, first.body)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert said(db) == 1
    assert inconsistencies(db) == []


def test_service_may_use_idempotency_keys(db: Db) -> None:
    first, again = (call(db, "create_message", None, key="k", user_id=MATTY, **CREATE) for _ in range(2))
    assert (again.body, again.headers) == (first.body, {"idempotent-replayed": "true"})


def test_field_order_does_not_change_a_request(db: Db) -> None:
    bodies = (json.dumps(CREATE).encode(), json.dumps(dict(reversed(CREATE.items())), indent=1).encode())
    first, again = (call(db, "create_message", key="k", body=body) for body in bodies)
    assert again.body == first.body


def test_other_request_with_the_same_key_is_rejected(db: Db) -> None:
    call(db, "create_message", key="k", **CREATE)
    for changed in ({"content": "other"}, {"metadata": {"other": 1}}):
        reply = call(db, "create_message", key="k", **CREATE | changed)
        assert reply.error == (422, "idempotency_key_reused", None)
    assert said(db, "other") == 0
    assert said(db) == 1


@pytest.mark.parametrize("id_", [MESSAGE, "11c0f3a2-5d1e-4a7b-8c3d-000000000001"])
def test_reply_to_another_message_is_another_request(db: Db, id_: str) -> None:
    call(db, "reply_to_message", key="k", parameters={"id": MESSAGE}, content="once")
    again = call(db, "reply_to_message", key="k", parameters={"id": id_}, content="once")
    assert again.status == (201 if id_ == MESSAGE else 422)


def test_keys_of_other_users_and_routes_are_independent(db: Db) -> None:
    replies = [
        call(db, "create_message", MATTY, key="k", **CREATE),
        call(db, "create_message", BOB, key="k", **CREATE),
        call(db, "reply_to_message", MATTY, key="k", id=MESSAGE, content="once"),
    ]
    assert [reply.status for reply in replies] == [201] * 3
    assert len({reply.data["id"] for reply in replies}) == 3
    for who, reply in zip((MATTY, BOB), replies, strict=False):
        assert call(db, "create_message", who, key="k", **CREATE).data == reply.data
    assert call(db, "reply_to_message", MATTY, key="k", id=MESSAGE, content="once").data == replies[2].data


def test_failed_request_may_be_retried_with_its_key(db: Db) -> None:
    assert call(db, "create_message", key="k", channel_id=UNKNOWN_ID, content="once").status == 404
    assert call(db, "create_message", key="k", **CREATE).status == 201


@pytest.mark.parametrize("backlog", [0, 30])
def test_key_expires_after_a_day(db: Db, backlog: int) -> None:
    first = call(db, "create_message", key="k", **CREATE)
    db.execute(
        """
        insert into private.idempotency_keys (principal, route, key, request_hash, status, body, created_at)
        select 'x', 'x', n::text, '', 200, '', now() - interval '9 days' from generate_series(1, %s) as n
        """,
        (backlog,),
    )
    db.execute("update private.idempotency_keys set created_at = now() - interval '23 h 59 min' where key = 'k'")
    assert call(db, "create_message", key="k", **CREATE).body == first.body
    db.execute("update private.idempotency_keys set created_at = now() - interval '24 h 1 min' where key = 'k'")
    # Those of another user, another call and another key wait for their own requests.
    db.execute(
        """
        insert into private.idempotency_keys (principal, route, key, request_hash, created_at)
        select parts[1], parts[2], parts[3], '', created_at
        from private.idempotency_keys as known
        cross join lateral (
            values (array['y', route, key]), (array[principal, 'y', key]), (array[principal, route, 'y'])
        ) as other (parts)
        where key = 'k'
        """
    )
    second = call(db, "create_message", key="k", **CREATE | {"content": "other"})
    assert (second.status, second.headers.get("idempotent-replayed")) == (201, None)
    assert value(db, "select count(*) from private.idempotency_keys where 'y' in (principal, route, key)") == 3


@pytest.mark.parametrize(("key", "status"), [("", 400), ("x", 201), ("x" * 255, 201), ("x" * 256, 400)])
def test_key_must_have_1_to_255_characters(db: Db, key: str, status: int) -> None:
    reply = call(db, "create_message", key=key, **CREATE)
    assert reply.status == status
    assert status == 201 or reply.error[1] == "invalid_idempotency_key"


def test_key_counts_for_what_writes_only(db: Db) -> None:
    replies = [call(db, "get_message", key="k", id=MESSAGE) for _ in range(2)]
    assert ["idempotent-replayed" in reply.headers for reply in replies] == [False, False]
    assert rows(db, "select from private.idempotency_keys") == []


def test_failure_over_the_limit_is_429(db: Db) -> None:
    # Stands for requests that are counted while this one is under way.
    db.execute("alter table private.settings drop constraint settings_requests_per_minute_positive")
    limit(db, 0)
    assert call(db, "get_message", id=UNKNOWN_ID).error == (429, "rate_limited", None)


def test_repeated_toggle_with_a_key_toggles_once(db: Db) -> None:
    replies = [call(db, "toggle_reaction", key="k", id=MESSAGE, emoji="fire") for _ in range(2)]
    assert [reply.meta["action"] for reply in replies] == ["added", "added"]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"5", b'"x"', b"null", b"{", b"\xff", b'{"a": 1e999999}', b"[" * 100_000, b'{"id": ' * 50_000, b"\0"],
    ids=lambda body: repr(body[:10]),
)
def test_body_must_be_an_object(db: Db, body: bytes) -> None:
    reply = call(db, "create_message", body=body)
    assert reply.error == (400, "invalid_json", None)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "\udfff\ud800", "\\u0000", "' or 1=1 --"], ids=ascii)
@pytest.mark.parametrize("name", ["id", "emoji", "anything"])
def test_hostile_parameters_cause_no_error(db: Db, name: str, text: str) -> None:
    parameters = {"id": MESSAGE, "emoji": "fire", name: text}
    assert call(db, "add_reaction", parameters=parameters).status in {200, 400}


@pytest.mark.parametrize("fields", [{}, {"content": "'; drop table public.messages; --"}], ids=["plain", "hostile"])
def test_postgres_errors_reveal_no_details(db: Db, fields: dict[str, Any]) -> None:
    db.execute("alter table public.message_pins add foreign key (pinned_by) references private.retired_ids (id)")
    reply = call(db, "pin_message", id=MESSAGE, **fields)
    expected = "Conflicts with existing data. Read the current state, then try again."
    assert (reply.status, reply.body["error"]["message"]) == (409, expected)


def test_forbidden_call_names_no_function(db: Db) -> None:
    reply = call(db, "erase_user", user_id=BOB)
    assert (reply.status, reply.body["error"]["message"]) == (403, "You do not have permission for this.")


@pytest.mark.parametrize("table", ["request_counts", "idempotency_keys"])
@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "authenticator"])
def test_clients_cannot_access_stored_keys(db: Db, role: str, table: str) -> None:
    verbs = "select, insert, update, delete, truncate"
    assert not value(db, "select has_table_privilege(%s, %s, %s)", role, f"private.{table}", verbs)


def test_anonymous_callers_are_rejected(db: Db) -> None:
    db.execute("set local role anon")
    for function in ("create_message", "list_messages", "delete_message"):
        refused(db, f"select public.{function}(jsonb '{{}}')", by=InsufficientPrivilege)


def test_read_writes_only_the_request_count(db: Db) -> None:
    lift_request_limit(db)
    call(db, "get_message", id=MESSAGE)
    query = "select used from private.request_counts where user_id = %s"
    assert rows(db, query, MATTY) == [1]


def test_negative_limit_is_rejected(db: Db) -> None:
    columns = """
        select column_name::text from information_schema.columns
        where (table_schema, table_name, data_type) = ('private', 'settings', 'integer')
    """
    names = rows(db, columns)
    assert len(names) >= 8
    for name in names:
        refused(db, f"update private.settings set {name} = -1", by=CheckViolation)
