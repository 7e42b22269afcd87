"""A public function and the private function that does its act have the same name.

Public functions run with the rights of their callers, so the act is in a function with the owner's rights.
"""

from typing import Any

import psycopg

Db = psycopg.Connection[Any]

UNPAIRED = """
with calls as (
    select act.proname as act, caller.proname as caller
    from pg_proc as act
    inner join pg_proc as caller on caller.prosrc ~ ('\\mprivate\\.' || act.proname || '\\s*\\(')
    where act.pronamespace = 'private'::regnamespace and act.prosecdef
        and caller.pronamespace = 'public'::regnamespace
)
select act from calls group by act having not bool_or(act = caller)
"""
# Functions that are no act of their own, with the reason.
HELPERS = {
    "authenticate_connection": "a step of messaging_ingest, before it reads the body",
    "count_replies": "the total of list_messages in a thread",
    "find_cursor": "a step of calls that return pages",
    "find_channel_state": "fields of list_messages",
    "render_inbox_cursor": "a step of list_inbox_changes without a cursor",
    "index_languages": "a step of index_conversations, for messages of channels",
    "is_valid_key": "a step of messaging_ingest, for a connection that it does not know",
    "list_group_participants": "public.participants is a computed field, named as clients read it",
    "list_messaging_keys": "public.keys is a computed field, named as clients read it",
    "list_stemmers": "a step of search_messages, before it reads the query",
    "lock_my_channel": "a step of calls that write to a channel",
    "parse_inbox_cursor": "a step of list_inbox_changes with a cursor",
    "offer_uploads": "a step of messaging_ingest",
    "record_export": "a step of export_conversation and export_channel",
}


def unpaired(db: Db) -> set[str]:
    """Return private functions with the owner's rights that only public functions of other names call."""
    return {name for (name,) in db.execute(UNPAIRED)}


def test_private_function_has_the_name_of_its_public_one(db: Db) -> None:
    assert unpaired(db) == set(HELPERS)


def test_pair_with_two_names_is_reported(db: Db) -> None:
    db.execute(
        """
        create function private.do_planted() returns integer language sql security definer as 'select 1';
        create function public.planted() returns integer language sql as 'select private.do_planted()'
        """
    )
    assert unpaired(db) - set(HELPERS) == {"do_planted"}
