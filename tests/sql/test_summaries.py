"""sql/270_summaries.sql: answers from the cache, leases to write a summary, and daily limits."""

import json
import re
from typing import Any

import pytest

from tests.support.calls import Reply, call, send
from tests.support.database import (
    Db,
    add_channel,
    become,
    become_anon,
    become_postgres,
    become_service,
    lift_request_limit,
    refused,
    rows,
    value,
)
from tests.support.world import BOB, CHANNEL, MALLORY, MATTY, MESSAGE, TIME, UNKNOWN_ID

SERVICE = {"model": "claude-test", "prompt_version": "1", "lease_seconds": "120", "is_configured": "true"}
ANSWER = {"summary": "They talked.", "messageCount": 4, "citations": [MESSAGE], "model": "m", "truncated": False}
FAILURE = {"status": 502, "code": "summary_refused", "message": "No."}
MIDNIGHT = "select ceil(extract(epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now()))::text"


@pytest.fixture(autouse=True)
def _many_requests(db: Db) -> None:
    lift_request_limit(db)


def begin(db: Db, user_id: str | None = MATTY, service: dict[str, str] | None = None, **fields: Any) -> Reply:
    """Ask for a summary as the service does."""
    parameters = {**SERVICE, **(service or {})}
    return call(db, "begin_summary", user_id, parameters=parameters, **{"channel_id": CHANNEL, **fields})


def finish(db: Db, task: dict[str, Any], **outcome: Any) -> Reply:
    """Report the result of a lease."""
    named = {name: task[name] for name in ("id", "lease", "user_id")}
    return call(db, "finish_summary", None, body=json.dumps(named | outcome).encode())


def poll(db: Db, task: dict[str, Any], *, is_last: bool = False) -> Reply:
    """Poll for the result of another caller's lease."""
    return call(db, "poll_summary", None, id=task["id"], is_last=is_last)


def used(db: Db, user_id: str = MATTY) -> int:
    """Return how many summaries a user has used today."""
    return sum(rows(db, "select used from private.summary_counts where user_id = %s", user_id))


def expire(db: Db) -> None:
    """Age all leases by two minutes."""
    db.execute("update private.summaries set lease_expires_at = now() - interval '1 second'")


def empty(db: Db) -> None:
    """Delete all messages of the channel."""
    db.execute("update public.messages set deleted_at = now() where channel_id = %s", (CHANNEL,))


def test_first_caller_gets_the_transcript_oldest_first(db: Db) -> None:
    send(db, "elsewhere", channel_id=add_channel(db, "other", [MATTY]))
    reply = begin(db)
    messages, scope = reply.data["messages"], reply.data["scope"]
    assert reply.status == 201
    assert [each["author"] for each in messages] == ["Bob Okafor", "Carol Lindqvist", "Matty Squarzoni", "Bob Okafor"]
    assert (messages[2]["id"], messages[3]["parent_id"]) == (MESSAGE, MESSAGE)
    assert messages[2]["content"] == "Can you analyze the Q1 marketing data?"
    times = {"from": messages[0]["at"], "to": messages[3]["at"]}
    assert scope == {"messageCount": 4, "timeRange": times, "truncated": False, "omittedCount": 0}


def test_conversation_id_does_not_change_the_summary(db: Db) -> None:
    named = begin(db, BOB, conversation_id=UNKNOWN_ID)
    assert len(named.data["messages"]) == 4
    assert begin(db).data == {"id": named.data["id"]}


def test_client_cannot_use_up_the_limit_of_the_project(db: Db) -> None:
    task = begin(db).data
    spend = "select private.spend_project_summary(%s, %s)"
    for id_, lease in ((task["id"], task["lease"]), (task["id"], UNKNOWN_ID), (UNKNOWN_ID, task["lease"])):
        become(db, MATTY)
        db.execute(spend, (id_, lease))
    become_postgres(db)
    assert rows(db, "select used from private.summary_totals") == [1]
    db.execute("update private.summaries set is_counted = false")
    for lease, count in ((UNKNOWN_ID, 1), (task["lease"], 2), (task["lease"], 2)):
        db.execute(spend, (task["id"], lease))
        assert rows(db, "select used from private.summary_totals") == [count]


def test_twin_with_a_users_id_does_not_get_the_users_name(db: Db) -> None:
    db.execute("insert into public.ai_twins (id, user_id, display_name) values (%s, %s, 'Not Matty')", (MATTY, BOB))
    become(db, BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, MATTY))
    statement = "insert into public.messages (channel_id, user_id, ai_twin_id, content) values (%s, null, %s, 'x')"
    db.execute(statement, (CHANNEL, MATTY))
    authors = [each["author"] for each in begin(db).data["messages"]]
    assert authors == ["Bob Okafor", "Carol Lindqvist", "Matty Squarzoni", "Bob Okafor", "Not Matty"]


def test_count_selects_the_newest_messages(db: Db) -> None:
    task = begin(db, messageCount=2).data
    assert task["messages"][0]["id"] == MESSAGE
    assert task["scope"]["messageCount"] == 2
    assert not task["scope"]["truncated"]


def test_transcript_omits_deleted_messages(db: Db) -> None:
    db.execute("update public.messages set deleted_at = now() where id = %s", (MESSAGE,))
    assert MESSAGE not in [each["id"] for each in begin(db).data["messages"]]


def test_oversized_transcript_drops_the_oldest_messages(db: Db) -> None:
    db.execute("update private.settings set summary_max_bytes = 10000")
    sent = [send(db, letter * 4000) for letter in "abc"]
    task = begin(db).data
    assert [each["id"] for each in task["messages"]] == sent[1:]
    assert task["scope"]["messageCount"] == 2
    assert task["scope"]["truncated"]
    assert task["scope"]["omittedCount"] == 5


def test_default_covers_the_recent_messages(db: Db) -> None:
    db.execute(
        "insert into public.messages (channel_id, user_id, content) select %s, %s, n from generate_series(1, 700) as n",
        (CHANNEL, MATTY),
    )
    assert begin(db).data["scope"]["messageCount"] == 704
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = created_at - interval '31 days' where content <> '700'")
    db.execute("alter table public.messages enable trigger user")
    assert begin(db, service={"model": "other"}).data["scope"]["messageCount"] == 50  # the newest of any age
    db.execute("update private.settings set summary_recent_days = 40")
    assert begin(db, service={"model": "third"}).data["scope"]["messageCount"] == 704


def test_count_reaches_beyond_the_recent_messages(db: Db) -> None:
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = created_at - interval '31 days' where true")
    db.execute("alter table public.messages enable trigger user")
    assert begin(db, messageCount=10_000).data["scope"]["messageCount"] == 4


@pytest.mark.parametrize(
    ("sizes", "age", "bytes_", "shown"),
    [
        ([1] * 51, 2, 100, (50, 0, False)),
        ([1] * 51, 0, 100, (51, 0, False)),
        ([10, 10, 10], 0, 20, (2, 1, True)),
        ([10, 10], 0, 20, (2, 0, False)),
        ([10, 10], 0, 19, (1, 1, True)),
        ([20], 0, 19, (1, 0, True)),
    ],
    ids=["old", "recent", "full", "just fits", "a byte too many", "one too long"],
)
def test_transcript_holds_the_newest_that_fit(
    db: Db, sizes: list[int], age: int, bytes_: int, shown: tuple[int, int, bool]
) -> None:
    query = """
        select private.render_transcript(array(
            select (place, null, 'a', now() - make_interval(days => %s), repeat('x', size))::private.transcript_line
            from unnest(%s::integer[]) with ordinality as line (size, place) order by place
        ), 0, %s, 1)
        """
    found = value(db, query, age, sizes, bytes_)
    assert [each["id"] for each in found["messages"]] == [str(place) for place in range(shown[0], 0, -1)]
    scope = found["scope"]
    assert (scope["messageCount"], scope["omittedCount"], scope["truncated"]) == shown


def test_transcript_ends_at_its_event(db: Db) -> None:
    first, _ = send(db, "first"), send(db, "second")
    seq = value(db, "select seq from public.messages where id = %s", first)
    assert rows(db, "select id from unnest(private.list_channel_lines(%s, %s, 1))", CHANNEL, seq) == [first]


def test_newest_message_is_cut_to_the_limit(db: Db) -> None:
    db.execute("update private.settings set summary_max_bytes = 10")
    sent = send(db, "x" * 8 + "\u20ac" * 10_000)
    task = begin(db).data
    assert [(each["id"], each["content"]) for each in task["messages"]] == [(sent, "x" * 8)]
    assert task["scope"]["truncated"]
    cut = "select private.cut_text('a\u00e9\u20ac\U0001f600', n) from generate_series(0, 10) as n order by n"
    texts = "", "a", "a", "a\u00e9", "a\u00e9", "a\u00e9", "a\u00e9\u20ac"
    assert rows(db, cut) == [*texts, *[texts[-1]] * 3, "a\u00e9\u20ac\U0001f600"]


def test_deleted_author_has_no_name(db: Db) -> None:
    db.execute("delete from auth.users where id = %s", (BOB,))
    assert begin(db).data["messages"][0]["author"] == "former member"


def test_second_caller_waits_for_the_first_answer(db: Db) -> None:
    task = begin(db).data
    other = begin(db, BOB)
    assert (other.status, other.data) == (202, {"id": task["id"]})
    assert poll(db, task).status == 202
    # Edits in another channel do not outdate it.
    elsewhere = send(db, channel_id=add_channel(db, "other", [MATTY]))
    for number in range(20):
        call(db, "edit_message", id=elsewhere, content=str(number))
    assert finish(db, task, answer=ANSWER).data == ANSWER
    reply = poll(db, task)
    assert (reply.status, reply.data) == (200, ANSWER)


def test_unchanged_channel_is_answered_from_the_cache(db: Db) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    reply = begin(db, BOB)
    assert (reply.status, reply.data) == (200, ANSWER)
    assert (used(db), used(db, BOB)) == (1, 0)


@pytest.mark.parametrize("change", ["create", "edit", "delete"])
def test_changed_text_needs_a_new_summary(db: Db, change: str) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    match change:
        case "create":
            send(db)
        case "edit":
            call(db, "edit_message", MATTY, id=MESSAGE, content="Never mind.")
        case "delete":
            call(db, "delete_message", MATTY, id=MESSAGE)
    assert begin(db).status == 201


def test_reaction_or_pin_needs_no_new_summary(db: Db) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    call(db, "toggle_reaction", BOB, id=MESSAGE, emoji="fire")
    call(db, "pin_message", BOB, id=MESSAGE)
    assert begin(db).status == 200


@pytest.mark.parametrize(
    ("service", "fields"),
    [({"model": "other"}, {}), ({"prompt_version": "2"}, {}), ({}, {"messageCount": 3})],
    ids=str,
)
def test_other_parameters_need_a_new_summary(db: Db, service: dict[str, str], fields: dict[str, int]) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    assert begin(db, service=service, **fields).status == 201


def test_body_cannot_override_service_parameters(db: Db) -> None:
    begin(db, model="other", prompt_version=9)
    assert rows(db, "select model, prompt_version from private.summaries") == [("claude-test", 1)]


def test_expired_lease_goes_to_the_next_caller(db: Db) -> None:
    first = begin(db).data
    expire(db)
    assert poll(db, first).error == (504, "summary_timeout", None)
    second = begin(db, BOB)
    assert (second.status, second.data["id"]) == (201, first["id"])
    assert second.data["lease"] != first["lease"]


def test_caller_without_lease_cannot_store(db: Db) -> None:
    first = begin(db).data
    expire(db)
    second = begin(db, BOB).data
    assert finish(db, first, answer={**ANSWER, "summary": "Too late."}).data["summary"] == "Too late."
    assert poll(db, second).status == 202
    finish(db, second, answer=ANSWER)
    finish(db, second, answer={**ANSWER, "summary": "Twice."})
    assert begin(db).data == ANSWER


def test_failure_is_reported_to_waiters_and_retried_next(db: Db) -> None:
    task = begin(db).data
    finish(db, task, failure=FAILURE)
    assert poll(db, task).error == (502, "summary_refused", None)
    assert begin(db, BOB).status == 201
    assert poll(db, task).status == 202
    call(db, "edit_message", id=MESSAGE, content="edited")
    task = begin(db).data
    call(db, "edit_message", id=MESSAGE, content="edited again")
    finish(db, task, failure=FAILURE)  # an answer would be outdated
    assert poll(db, task).error == (502, "summary_refused", None)


def test_last_poll_returns_a_timeout(db: Db) -> None:
    assert poll(db, begin(db).data, is_last=True).error == (504, "summary_timeout", None)


def test_user_has_a_daily_summary_limit(db: Db) -> None:
    db.execute("update private.settings set summaries_per_user_per_day = 2")
    for count in (1, 2):
        assert begin(db, messageCount=count).status == 201
    reply = begin(db, messageCount=3)
    assert reply.error == (429, "summary_budget_exhausted", None)
    assert reply.headers["retry-after"] == value(db, MIDNIGHT)
    assert rows(db, "select requested_count from private.summaries order by 1") == [1, 2]
    assert begin(db, BOB, messageCount=3).status == 201
    db.execute("update private.summary_counts set day = day - 1")
    for count in (1, 2):
        assert begin(db, messageCount=3 + count).status == 201
        assert used(db) == count


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-12"])  # today, one of them has another date
def test_day_of_a_summary_is_that_of_utc(db: Db, zone: str) -> None:
    db.execute("select set_config('timezone', %s, true)", (zone,))
    db.execute("update private.settings set summaries_per_user_per_day = 1")
    begin(db)
    assert begin(db, messageCount=1).headers["retry-after"] == value(db, MIDNIGHT)
    for table in ("summary_counts", "summary_totals"):
        assert rows(db, f"select day = (now() at time zone 'UTC')::date from private.{table}") == [True]


def test_daily_limit_does_not_apply_to_the_service(db: Db) -> None:
    db.execute("update private.settings set summaries_per_user_per_day = 0")
    assert begin(db, None).status == 201


@pytest.mark.parametrize(
    ("status", "outcome", "left"),
    [
        (502, {"is_paid": False}, 1),
        (503, {"is_paid": False}, 0),
        (503, {"is_paid": True}, 1),
        (503, {}, 1),
        (504, {"is_paid": False}, 1),
    ],
)
def test_only_an_unpaid_failure_is_refunded(db: Db, status: int, outcome: dict[str, bool], left: int) -> None:
    task = begin(db).data
    db.execute("insert into private.summary_totals select day - 1, 5 from private.summary_totals")
    finish(db, task, failure={**FAILURE, "status": status}, **outcome)
    assert (used(db), rows(db, "select used from private.summary_totals order by day")) == (left, [5, left])


def test_project_has_a_daily_summary_limit(db: Db) -> None:
    db.execute("update private.settings set summaries_per_project_per_day = 2")
    assert begin(db, messageCount=1).status == 201
    assert begin(db, None, messageCount=2).status == 201
    for user_id in (MATTY, BOB, None):
        refused_reply = begin(db, user_id, messageCount=3)
        assert refused_reply.error == (429, "project_summary_budget_exhausted", None)
        assert refused_reply.headers["retry-after"] == value(db, MIDNIGHT)
    assert used(db) == 1
    assert rows(db, "select requested_count from private.summaries order by 1") == [1, 2]
    db.execute("update private.summary_totals set day = day - 1")
    assert begin(db, messageCount=3).status == 201
    assert rows(db, "select used from private.summary_totals") == [1]


def test_erased_user_gives_the_project_nothing_back(db: Db) -> None:
    begin(db)
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert rows(db, "select used from private.summary_totals") == [1]


def test_empty_channel_gets_an_empty_summary_for_free(db: Db) -> None:
    send(db, "elsewhere", channel_id=add_channel(db, "other", [MATTY]))
    empty(db)
    reply = begin(db, service={"is_configured": "false"})
    assert (reply.status, used(db)) == (200, 0)
    assert reply.data == {
        "summary": "",
        "messageCount": 0,
        "timeRange": {"from": None, "to": None},
        "statements": [],
        "citations": [],
        "model": None,
        "truncated": False,
        "omittedCount": 0,
    }


def test_service_without_model_key_answers_only_from_cache(db: Db) -> None:
    reply = begin(db, service={"is_configured": "false"})
    assert reply.error == (503, "summaries_not_configured", None)
    assert reply.headers["retry-after"] == "5"
    assert "ANTHROPIC_API_KEY" in reply.body["error"]["message"]
    finish(db, begin(db).data, answer=ANSWER)
    assert begin(db, service={"is_configured": "false"}).data == ANSWER


@pytest.mark.parametrize("user_id", [MALLORY, UNKNOWN_ID])
def test_non_members_get_404(db: Db, user_id: str) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    assert begin(db, user_id).error == (404, "channel_not_found", "channel_id")


def test_former_member_gets_no_cached_summary(db: Db) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    db.execute("delete from public.channel_members where user_id = %s", (BOB,))
    assert begin(db, BOB).error == (404, "channel_not_found", "channel_id")


@pytest.mark.parametrize("count", [0, -1, 10_001, 1.5, "many", True, [], {}], ids=str)
def test_count_must_be_a_whole_number_from_1_to_10000(db: Db, count: object) -> None:
    assert begin(db, messageCount=count).error == (400, "invalid_field", "messageCount")


def test_summary_is_found_by_members_and_leased_once(db: Db) -> None:
    task = begin(db).data
    finish(db, task, answer=ANSWER)
    expire(db)
    seq = value(db, "select last_seq from private.summaries where id = %s", task["id"])
    asked = (CHANNEL, None, seq, 0, SERVICE["model"], 1)
    find = "select answer is not null from private.find_summary(%s, %s, %s, %s, %s, %s)"
    for user_id, may in ((BOB, True), (MALLORY, False)):
        become(db, user_id)
        assert value(db, find, *asked) == may
        become_postgres(db)
    assert value(db, "select lease from private.lease_summary(%s, %s, %s, %s, %s, %s, 60)", *asked) is None


def test_missing_channel_is_rejected(db: Db) -> None:
    assert begin(db, channel_id=None).error == (400, "missing_field", "channel_id")
    assert begin(db, channel_id="general").error == (400, "invalid_field", "channel_id")


def test_user_cannot_ask_for_another_user(db: Db) -> None:
    assert begin(db, service={"user_id": BOB}).error == (403, "user_id_mismatch", "user_id")


@pytest.mark.parametrize("change", ["edit_message", "delete_message"])
def test_change_before_the_request_does_not_outdate_it(db: Db, change: str) -> None:
    call(db, change, id=MESSAGE, content="edited")
    task = begin(db).data
    finish(db, task, answer=ANSWER)
    assert poll(db, task).status == 200


@pytest.mark.parametrize("change", ["edit_message", "delete_message"])
def test_changed_text_outdates_a_summary_under_way(db: Db, change: str) -> None:
    task = begin(db).data
    call(db, change, id=MESSAGE, content="Never mind.")
    finish(db, task, answer=ANSWER)
    assert poll(db, task).error == (409, "summary_outdated", None)


def test_outdated_summary_is_removed_after_waiters_read_it(db: Db) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    send(db)
    begin(db)
    assert value(db, "select count(*) from private.summaries") == 2
    db.execute("update private.summaries set finished_at = now() - interval '6 minutes' where answer is not null")
    send(db)
    begin(db)
    assert value(db, "select count(*) from private.summaries where answer is not null") == 0
    db.execute("update private.summaries set lease_expires_at = now() - interval '6 minutes'")
    send(db)
    begin(db)
    assert value(db, "select count(*) from private.summaries") == 1


def test_present_summary_and_those_of_others_stay(db: Db) -> None:
    other = add_channel(db, "other", [MATTY, BOB])
    send(db, channel_id=other)
    for channel_id in (CHANNEL, other):
        finish(db, begin(db, channel_id=channel_id).data, answer=ANSWER)
    db.execute("update private.summaries set finished_at = now() - interval '6 minutes'")
    assert begin(db, messageCount=2).status == 201  # removes what is outdated
    busy = add_channel(db, "busy", [MATTY, BOB])
    db.execute("update private.channel_counters set last_seq = 1000 where channel_id = %s", (busy,))
    send(db, channel_id=busy)
    for channel_id in (CHANNEL, other):
        assert begin(db, BOB, channel_id=channel_id).data == ANSWER


def test_refund_of_yesterday_leaves_the_count_of_today(db: Db) -> None:
    task = begin(db).data
    db.execute("update private.summaries set leased_at = now() - interval '1 day'")
    finish(db, task, failure={**FAILURE, "status": 503}, is_paid=False)
    assert (used(db), rows(db, "select used from private.summary_totals")) == (1, [1])


def test_refund_goes_to_the_user_who_asked(db: Db) -> None:
    task = begin(db).data
    begin(db, BOB, messageCount=1)
    finish(db, task, failure={**FAILURE, "status": 503}, is_paid=False)
    assert (used(db), used(db, BOB)) == (0, 1)
    finish(db, task, failure={**FAILURE, "status": 503}, is_paid=False)
    assert rows(db, "select used from private.summary_totals") == [1]


def test_summaries_are_removed_after_a_day(db: Db) -> None:
    finish(db, begin(db).data, answer=ANSWER)
    db.execute("update private.summaries set finished_at = now() - interval '25 hours'")
    begin(db, messageCount=1)
    assert rows(db, "select requested_count from private.summaries") == [1]


def test_summaries_are_deleted_with_their_channel(db: Db) -> None:
    task = begin(db).data
    db.execute("delete from public.channels where id = %s", (CHANNEL,))
    assert value(db, "select count(*) from private.summaries") == 0
    assert poll(db, task).error == (409, "summary_outdated", None)
    assert begin(db).error == (404, "channel_not_found", "channel_id")


@pytest.mark.parametrize("change", ["edit_message", "delete_message"])
def test_poll_after_a_change_says_summary_is_outdated(db: Db, change: str) -> None:
    task = begin(db).data
    finish(db, task, answer=ANSWER)
    call(db, change, id=MESSAGE, content="Never mind.")
    assert poll(db, task).error == (409, "summary_outdated", None)


def test_transcript_is_not_stored(db: Db) -> None:
    send(db, "canary")
    finish(db, begin(db).data, answer=ANSWER)
    assert "canary" not in value(db, "select string_agg(known::text, '') from private.summaries as known")


@pytest.mark.parametrize("function", ["finish_summary", "poll_summary"])
def test_users_cannot_store_or_poll_summaries(db: Db, function: str) -> None:
    task = begin(db).data
    assert call(db, function, MATTY, id=task["id"], lease=task["lease"], answer=ANSWER).error[:2] == (403, "forbidden")


def test_summary_needs_no_events(db: Db) -> None:
    db.execute("delete from public.message_events where message_id is not null")
    assert begin(db).status == 201


@pytest.mark.parametrize("function", ["begin_summary", "finish_summary", "poll_summary"])
def test_data_api_does_not_expose_summaries(db: Db, function: str) -> None:
    assert rows(db, "select pronamespace::regnamespace::text from pg_proc where proname = %s", function) == ["private"]


@pytest.mark.parametrize("table", ["private.summaries", "private.summary_counts"])
def test_clients_cannot_access_summary_tables(db: Db, table: str) -> None:
    for act in (lambda: become(db, MATTY), lambda: become_anon(db)):
        act()
        refused(db, f"select from {table}")
        refused(db, f"delete from {table}")
    become_service(db)
    refused(db, f"delete from {table}")


def test_times_have_the_documented_format(db: Db) -> None:
    scope = begin(db).data["scope"]
    assert all(re.fullmatch(TIME, at) for at in scope["timeRange"].values())
