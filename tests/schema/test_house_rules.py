"""Rules that every object of `public` and `private` keeps, as queries that return the ones that do not.

Beside each rule stands a violation: a rule that would not see it is no rule.
"""

from typing import Any, NamedTuple

import psycopg
import pytest

Db = psycopg.Connection[Any]

# Definer functions run with the rights of the tables' owner. Each has to say why it must, and asks itself who calls.
DEFINERS = {
    "private.issue_messaging_key": "no client role may touch the keys",
    "private.describe_messaging_keys": "no client role may read the keys",
    "private.authenticate_connection": "the hashes are for no other eyes",
    "private.is_live_key": "the hashes are for no other eyes",
    "private.summarize_conversations": "runs when Supabase Auth deletes a user, too",
    "private.delete_messages": "runs when Supabase Auth deletes a user, too",
    "private.delete_words": "runs when Supabase Auth deletes a user, too",
    "private.hold_matching": "owners of contacts may not call its helper",
    "private.match_conversations_again": "owners of contacts may not write conversations",
    "private.add_creator": "the creator is no member yet and may not add one",
    "private.admit_twin": "counts twins whether or not the caller may see them, and locks the channel",
    "private.admit_message": "asks of a parent and of an id whether or not the caller may see it",
    "private.broadcast_conversation": "only the database sends to inboxes",
    "private.broadcast_events": "only the database sends to channels and twins",
    "private.broadcast_new_messages": "only the database sends to inboxes",
    "private.begin_once": "answers are for nobody but who asked",
    "private.claim_due": "no role may touch the queues",
    "private.claim_summary": "no client writes claims",
    "private.count_channel": "no client reads the counters",
    "private.count_hops": "counts messages whether or not the caller may see them",
    "private.count_request": "nobody may set a count but by using it up",
    "private.is_used_up": "nobody may read a count",
    "private.count_summary": "nobody may set a count but by using it up",
    "private.create_user_profile": "Supabase Auth makes users under a role that may not write here",
    "private.drop_unsent_attachments": "locks what it removes, and no client may see which files are in use",
    "private.link_attachments": "no client may say that a file is in use but by using it",
    "private.diagnose": "the service may read neither the list of migrations nor the buckets",
    "private.clean_up": "no role may delete what is kept",
    "private.delete_ingest_log": "runs when Supabase Auth deletes a user, too",
    "private.dismiss_twins": "who leaves may not change what belongs to the channel",
    "private.erase_account": "no role may write all that belongs to a user",
    "private.erase_contact": "owners may not delete what ingest writes",
    "private.find_summary": "no client reads the cache",
    "private.finish_claim": "no role may touch the queues",
    "private.finish_once": "answers are for nobody but who asked",
    "private.forward_message": "no client writes deliveries",
    "private.issue_twin_secret": "no role may read the secrets",
    "private.locate_message": "asks of a message whether or not the caller may see it",
    "private.lock_channel": "no client may touch the counters",
    "private.keep_an_owner": "must see all members to know the last owner",
    "private.index_message": "no client writes the index",
    "private.match_messages": "row-level security keeps the index from being used; it asks itself for the channels",
    "private.name_authors": "authors who left are still named",
    "private.remove_message": "a client may not write deleted_at, and who administers the application is no member",
    "private.protect_ownership": "must see all members to know an owner",
    "private.read_cursor": "a cursor stays good when its message is deleted",
    "private.read_events": "policies would be asked for each event again; it asks itself for the channels",
    "private.refuse_retired_id": "no client reads which ids there were",
    "private.remember_owner": "no client writes it, and it runs when Supabase Auth deletes a user, too",
    "private.retire_ids": "runs when Supabase Auth deletes a user, too",
    "private.recall_message": "no client writes deliveries",
    "private.record_event": "no client writes events or counters",
    "private.revive_deliveries": "no client writes deliveries",
    "private.store_twin_webhook": "no client writes queues",
    "private.track_mark": "no client writes events",
    "private.track_member": "no client writes events",
    "private.track_message": "no client writes edits and events",
    "private.unpin_deleted": "an author may delete what another has pinned",
}


class Rule(NamedTuple):
    """What offends, as a query, and something that does."""

    offenders: str
    violation: str
    offender: str


RULES = {
    "every table has row-level security": Rule(
        "select oid::regclass::text from our_relations where relkind in ('r', 'p') and not relrowsecurity",
        "create table private.planted (id integer primary key)",
        "private.planted",
    ),
    "every table has a primary key": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind in ('r', 'p')
            and not exists (select from pg_constraint where conrelid = our_relations.oid and contype = 'p')
        """,
        "create table public.planted (id integer)",
        "public.planted",
    ),
    "every table, view and type has a comment": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind in ('r', 'p', 'v', 'm') and obj_description(oid, 'pg_class') is null
            or relkind = 'c' and obj_description(reltype, 'pg_type') is null
        """,
        "create type private.planted as (a integer)",
        "private.planted",
    ),
    "every function has a comment": Rule(
        "select oid::regprocedure::text from our_functions where obj_description(oid, 'pg_proc') is null",
        "create function public.planted() returns integer language sql as 'select 1'",
        "public.planted()",
    ),
    "every function has an empty search_path": Rule(
        """
        select oid::regprocedure::text from our_functions
        where not coalesce(proconfig, '{}') @> array['search_path=""']
        """,
        "create function public.planted() returns integer language sql set search_path = public as 'select 1'",
        "public.planted()",
    ),
    "no function is for everybody, nor for those who have not signed in": Rule(
        """
        select oid::regprocedure::text from our_functions
        where exists (
            select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee in (0, 'anon'::regrole)
        )
        """,
        "create function private.planted() returns integer language sql as 'select 1'",
        "private.planted()",
    ),
    "no function of the API runs with its owner's rights": Rule(
        "select oid::regprocedure::text from our_functions where prosecdef and pronamespace = 'public'::regnamespace",
        "create function public.planted() returns integer language sql security definer as 'select 1'",
        "public.planted()",
    ),
    "a view runs with the rights of who reads it, or is private and lets no function look first": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind = 'm' or relkind = 'v' and not coalesce(reloptions, '{}') @> array[
            case relnamespace when 'private'::regnamespace then 'security_barrier=true' else 'security_invoker=true' end
        ]
        """,
        "create view public.planted as select full_name from public.people",
        "public.planted",
    ),
    "every foreign key has an index": Rule(
        """
        select conrelid::regclass || '.' || conname from pg_constraint
        where contype = 'f' and conrelid in (select oid from our_relations)
            and not exists (
                select from pg_index
                where indrelid = conrelid
                    -- Nobody looks for a key that is null.
                    and (
                        indpred is null
                        or pg_get_expr(indpred, indrelid) = format('(%I IS NOT NULL)', (
                            select attname from pg_attribute where (attrelid, attnum) = (conrelid, conkey[1])
                        ))
                    )
                    and (indkey::int2[])[0:cardinality(conkey) - 1] operator(pg_catalog.@>) conkey
            )
        """,
        "alter table public.people add column planted uuid constraint planted references auth.users",
        "public.people.planted",
    ),
    "a policy asks once per query who the caller is": Rule(
        """
        select polrelid::regclass || '.' || polname from our_policies
        where regexp_replace(condition, '\\( SELECT auth\\.\\w+\\(\\)', '', 'g') ~ 'auth\\.|current_setting'
        """,
        "create policy planted on public.people for select to authenticated using (user_id = auth.uid())",
        "public.people.planted",
    ),
    "a policy names its roles": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where 0::oid = any(polroles)",
        "create policy planted on public.people for select using (false)",
        "public.people.planted",
    ),
    "a policy is for one command": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where polcmd = '*'",
        "create policy planted on public.people to authenticated using (false)",
        "public.people.planted",
    ),
    "a policy for changes says what may be left behind": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where polcmd = 'w' and polwithcheck is null",
        "create policy planted on public.people for update to authenticated using (false)",
        "public.people.planted",
    ),
    "a table has one policy for a role and a command": Rule(
        """
        select polrelid::regclass || ' for ' || role::regrole from our_policies cross join unnest(polroles) as role
        where polpermissive group by polrelid, polcmd, role having count(*) > 1
        """,
        "create policy planted on public.people for select to authenticated using (false)",
        "public.people for authenticated",
    ),
    "what belongs to a table begins with its name": Rule(
        """
        select relation.oid::regclass || '.' || part.name
        from our_relations as relation
        inner join (
            select conrelid, conname from pg_constraint
            union all select indrelid, indexrelid::regclass::text from pg_index
            union all select polrelid, polname from pg_policy
            union all select tgrelid, tgname from pg_trigger where not tgisinternal
        ) as part (table_id, name) on part.table_id = relation.oid
        where regexp_replace(part.name, '^(public|private)\\.', '') not like relation.relname || '\\_%'
        """,
        "create index planted on public.people (full_name)",
        "public.people.public.planted",
    ),
    "a trigger says when it runs": Rule(
        """
        select tgrelid::regclass || '.' || tgname from pg_trigger
        where not tgisinternal and tgrelid in (select oid from our_relations)
            and tgname !~ '_(before|after)_(insert|update|delete)_'
        """,
        """
        create trigger people_planted before update on public.people
        for each row execute function private.set_updated_at()
        """,
        "public.people.people_planted",
    ),
    "everything belongs to the role that migrations run as": Rule(
        """
        select oid::regclass::text from our_relations where relowner <> 'postgres'::regrole
        union all select oid::regprocedure::text from our_functions where proowner <> 'postgres'::regrole
        """,
        """
        create table public.planted ();
        grant create on schema public to service_role;
        alter table public.planted owner to service_role
        """,
        "public.planted",
    ),
}

OURS = """
set local search_path = '';
create temporary view our_relations as
select * from pg_catalog.pg_class where relnamespace in ('public'::regnamespace, 'private'::regnamespace);
create temporary view our_functions as
select * from pg_catalog.pg_proc where pronamespace in ('public'::regnamespace, 'private'::regnamespace);
create temporary view our_policies as
select policy.*, concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) as condition
from pg_catalog.pg_policy as policy where polrelid in (select oid from pg_temp.our_relations);
set local search_path = pg_temp, pg_catalog;
"""


@pytest.fixture
def catalog(db: Db) -> Db:
    """The database, with views of what is ours; names are printed with their schema."""
    db.execute(OURS)
    return db


def offenders(db: Db, rule: Rule) -> list[str]:
    return [name for (name,) in db.execute(rule.offenders)]


@pytest.mark.parametrize("rule", RULES)
def test_the_schema_keeps_the_rule(catalog: Db, rule: str) -> None:
    assert offenders(catalog, RULES[rule]) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_violation_of_the_rule_is_seen(catalog: Db, rule: str) -> None:
    catalog.execute(RULES[rule].violation)
    assert offenders(catalog, RULES[rule]) == [RULES[rule].offender]


def test_every_function_that_runs_with_its_owners_rights_is_known(catalog: Db) -> None:
    found = catalog.execute("select oid::regproc::text from our_functions where prosecdef").fetchall()
    assert {name for (name,) in found} == set(DEFINERS)


# Who may do what, but for the owner. What nobody else may touch is listed too: each object is a decision.
RIGHTS = """
authenticated
    private.begin_once(text,text,jsonb): execute
    private.begin_summary(jsonb): execute
    private.call_messages(text,jsonb,jsonb,bytea): execute
    private.call_once(text,jsonb,jsonb): execute
    private.change_reaction(jsonb,text): execute
    private.claim_summary(uuid,bigint,integer,text,integer,integer): execute
    private.count_channel(uuid): execute
    private.count_request(): execute
    private.decode_text(bytea): execute
    private.describe_failure(text,text,text,text,text): execute
    private.describe_messaging_keys(uuid): execute
    private.erase_contact(uuid,uuid[]): execute
    private.fail(integer,text,text,text): execute
    private.find_authors(text): execute
    private.find_channels(text): execute
    private.find_conversation_type(jsonb): execute
    private.find_message(uuid): execute
    private.find_page(uuid,uuid,bigint,bigint,integer,integer): execute
    private.find_summary(uuid,bigint,integer,text,integer): execute
    private.finish_once(text,text,integer,text): execute
    private.fold_text(text): execute
    private.format_time(timestamp with time zone): execute
    private.has_huge_number(jsonb): execute
    private.is_app_admin(): execute
    private.is_author(public.messages,uuid): execute
    private.is_used_up(): execute
    private.issue_messaging_key(uuid,interval): execute
    private.issue_twin_secret(uuid,interval): execute
    private.lock_channel(uuid): execute
    private.match_messages(private.message_search): execute
    private.measure_messages(uuid,bigint,integer): execute
    private.my_channels: select
    private.my_fellow_twins: select
    private.my_fellows: select
    private.my_governed_channels: select
    private.my_live_topics(): execute
    private.my_owned_channels: select
    private.my_topics(): execute
    private.my_twins: select
    private.name_authors(uuid[],uuid[]): execute
    private.parse_json(bytea): execute
    private.parse_timestamp(text): execute
    private.phone_digits(text): execute
    private.read_cursor(jsonb,text,uuid): execute
    private.read_events(uuid,bigint,integer): execute
    private.read_files(jsonb): execute
    private.read_integer(jsonb,text,integer,integer,integer): execute
    private.read_moment(text): execute
    private.read_object(bytea): execute
    private.read_operator(private.message_search,text,text,boolean): execute
    private.read_phrase(text): execute
    private.read_search(text): execute
    private.read_text(jsonb,text,integer,text): execute
    private.read_transcript(uuid,bigint,integer,integer): execute
    private.read_user(jsonb): execute
    private.read_uuid(jsonb,text,boolean): execute
    private.read_uuids(jsonb,text,integer): execute
    private.remove_message(uuid,uuid,boolean): execute
    private.render_attachment(public.attachments): execute
    private.render_export(uuid[]): execute
    private.render_message(public.messages): execute
    private.render_message(public.messages,jsonb): execute
    private.render_page(uuid[]): execute
    private.render_pin(uuid,timestamp with time zone): execute
    private.render_reaction(uuid,uuid,uuid,text,timestamp with time zone): execute
    private.render_reactions(uuid[]): execute
    private.require_channel(uuid): execute
    private.require_twin(uuid,uuid): execute
    private.retry_after(integer,text,jsonb): execute
    private.revive_deliveries(uuid,uuid): execute
    private.split_words(text): execute
    private.store_twin_webhook(uuid,text): execute
    private.succeed(jsonb,jsonb,integer): execute
    public.add_reaction(jsonb): execute
    public.ai_twins: delete, insert (id, display_name, avatar_url), select, update (display_name, avatar_url)
    public.attachments: delete, insert (id, channel_id, file_name), select
    public.begin_upload(jsonb): execute
    public.channel_members: delete, insert (channel_id, user_id, role), select, update (role)
    public.channel_twins: delete, insert (channel_id, ai_twin_id), select
    public.channels: delete, insert (id, workspace_id, kind, name), select, update (workspace_id, name)
    public.conversation_messages: select
    public.conversation_messages(public.conversations): execute
    public.conversations: select
    public.create_message(jsonb): execute
    public.create_messaging_connection(text,text): execute
    public.delete_message(jsonb): execute
    public.edit_message(jsonb): execute
    public.erase_person(jsonb): execute
    public.erasures: select
    public.export_channel(jsonb): execute
    public.export_conversation(jsonb): execute
    public.finish_upload(jsonb): execute
    public.get_attachment(jsonb): execute
    public.get_message(jsonb): execute
    public.ingest_log: select
    public.keys(public.messaging_connections): execute
    public.list_channel_events(jsonb): execute
    public.list_message_edits(jsonb): execute
    public.list_messages(jsonb): execute
    public.list_twin_deliveries(jsonb): execute
    public.message_edits: select
    public.message_events: select
    public.message_pins: delete, insert (message_id, pinned_by), select
    public.message_reactions: delete, insert (id, message_id, user_id, emoji), select
    public.messages: insert (id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id, content, content_type, metadata, attachments), select, update (content)
    public.messages(public.conversations): execute
    public.messaging_connections: delete, insert (platform, connection_id), select, update (is_active)
    public.people: delete, insert (id, full_name, phone), select, update (full_name, phone)
    public.pin_message(jsonb): execute
    public.remove_reaction(jsonb): execute
    public.remove_twin_webhook(jsonb): execute
    public.replay_twin_deliveries(jsonb): execute
    public.reply_to_message(jsonb): execute
    public.rotate_messaging_key(text,interval): execute
    public.rotate_twin_secret(jsonb): execute
    public.search_messages(jsonb): execute
    public.set_twin_webhook(jsonb): execute
    public.toggle_reaction(jsonb): execute
    public.twin_deliveries: select
    public.twin_webhooks: delete, select
    public.unpin_message(jsonb): execute
    public.user_profiles: select, update (display_name, avatar_url)
    schema private: usage
authenticator
    private.call(text,text,text,text,text,bytea): execute
    schema private: usage
nobody
    private.add_creator()
    private.admit_message()
    private.admit_twin()
    private.broadcast_conversation()
    private.broadcast_events()
    private.broadcast_new_messages()
    private.channel_heads
    private.check_attachments()
    private.count_belongings(uuid)
    private.count_hops()
    private.count_summary()
    private.create_user_profile()
    private.delete_ingest_log()
    private.delete_messages()
    private.delete_words()
    private.describe_attachment()
    private.diagnose_login()
    private.diagnose_migrations(text[])
    private.diagnose_platform()
    private.diagnose_tables()
    private.dismiss_twins()
    private.former_twin_messages
    private.forward_message()
    private.generate_secret()
    private.hand_over_channels(uuid)
    private.hash_secret(text)
    private.hmac_block(bytea,integer)
    private.hold_matching()
    private.idempotency_keys
    private.index_message()
    private.index_template()
    private.index_words(text,jsonb)
    private.is_stranger(uuid)
    private.issue_receipt(text,uuid,jsonb)
    private.keep_an_owner()
    private.link_attachments()
    private.locate_message()
    private.lose_broadcast(text,text,text)
    private.mark_told(text)
    private.match_conversations_again()
    private.match_participant()
    private.match_span(private.message_search,bigint,bigint,integer,boolean)
    private.message_files
    private.message_words
    private.message_words_number_seq
    private.messages_of(uuid)
    private.messaging_keys
    private.my_acting_id()
    private.name_messages(private.message_search)
    private.point_to(jsonb)
    private.protect_ownership()
    private.recall_message()
    private.record_event(uuid,text,uuid,uuid,text,integer,uuid,timestamp with time zone)
    private.refuse_retired_id()
    private.remember_owner()
    private.remove_history(integer)
    private.remove_used_up(integer)
    private.render_claim(public.twin_deliveries,uuid)
    private.render_conversation(public.conversations,bigint,jsonb)
    private.render_event(public.message_events,public.messages)
    private.request_counts
    private.retire_ids()
    private.retired_ids
    private.retry_delay(integer)
    private.send_events(uuid,bigint)
    private.set_updated_at()
    private.sign(uuid,text)
    private.summarize_conversations()
    private.track_mark()
    private.track_member()
    private.track_message()
    private.twin_queues
    private.twin_secrets
    private.unpin_deleted()
    private.verify_creations(uuid,bigint)
    public.ingest_log_id_seq
service_role
    private.authenticate_connection(text,text,text): execute
    private.begin_once(text,text,jsonb): execute
    private.begin_summary(jsonb): execute
    private.call_messages(text,jsonb,jsonb,bytea): execute
    private.call_once(text,jsonb,jsonb): execute
    private.change_reaction(jsonb,text): execute
    private.claim_due(integer,interval): execute
    private.claim_summary(uuid,bigint,integer,text,integer,integer): execute
    private.clean_up(integer): execute
    private.clean_ups: select
    private.complete_ids(uuid,text,private.ingest_conversation[],private.ingest_participant[],uuid[]): execute
    private.count_channel(uuid): execute
    private.count_messages(jsonb): execute
    private.create_conversations(uuid,text,private.ingest_participant[]): execute
    private.decode_text(bytea): execute
    private.describe_failure(text,text,text,text,text): execute
    private.describe_results(private.ingest_conversation[],uuid[],jsonb,private.ingest_message[]): execute
    private.diagnose(text[],timestamp with time zone): execute
    private.drop_unsent_attachments(integer,interval): execute
    private.erase_account(uuid): execute
    private.erase_contact(uuid,uuid[]): execute
    private.fail(integer,text,text,text): execute
    private.find_authors(text): execute
    private.find_channels(text): execute
    private.find_conversation_type(jsonb): execute
    private.find_conversations(uuid,text,private.ingest_conversation[]): execute
    private.find_message(uuid): execute
    private.find_page(uuid,uuid,bigint,bigint,integer,integer): execute
    private.find_summary(uuid,bigint,integer,text,integer): execute
    private.finish_claim(uuid,uuid,integer,text): execute
    private.finish_once(text,text,integer,text): execute
    private.finish_summary(jsonb): execute
    private.fold_text(text): execute
    private.format_time(timestamp with time zone): execute
    private.generate_id(): execute
    private.has_huge_number(jsonb): execute
    private.is_app_admin(): execute
    private.is_author(public.messages,uuid): execute
    private.is_live_key(text): execute
    private.issue_twin_secret(uuid,interval): execute
    private.judge_conversations(private.ingest_conversation[],private.ingest_message[]): execute
    private.judge_messages(private.ingest_message[]): execute
    private.judge_new_messages(private.ingest_message[],boolean): execute
    private.keep_messages(private.ingest_message[],private.ingest_conversation[]): execute
    private.lock_channel(uuid): execute
    private.lock_conversations(uuid[],private.ingest_participant[],uuid[]): execute
    private.log_ingest(uuid,text,uuid,bigint,json): execute
    private.log_refusal(uuid,text,integer): execute
    private.look_up_messages(private.ingest_message[],uuid[]): execute
    private.mark_twins(private.ingest_message[],private.ingest_conversation[]): execute
    private.match_messages(private.message_search): execute
    private.match_person(uuid,text): execute
    private.matching_lock(uuid): execute
    private.measure_database(): execute
    private.measure_deliveries(): execute
    private.measure_messages(uuid,bigint,integer): execute
    private.message_preview(jsonb): execute
    private.name_authors(uuid[],uuid[]): execute
    private.newest_participants(private.ingest_conversation[]): execute
    private.parse_json(bytea): execute
    private.parse_timestamp(text): execute
    private.phone_digits(text): execute
    private.poll_summary(jsonb): execute
    private.read_conversations(jsonb): execute
    private.read_cursor(jsonb,text,uuid): execute
    private.read_events(uuid,bigint,integer): execute
    private.read_files(jsonb): execute
    private.read_integer(jsonb,text,integer,integer,integer): execute
    private.read_messages(jsonb,uuid[]): execute
    private.read_moment(text): execute
    private.read_object(bytea): execute
    private.read_operator(private.message_search,text,text,boolean): execute
    private.read_phrase(text): execute
    private.read_search(text): execute
    private.read_text(jsonb,text,integer,text): execute
    private.read_transcript(uuid,bigint,integer,integer): execute
    private.read_user(jsonb): execute
    private.read_uuid(jsonb,text,boolean): execute
    private.read_uuids(jsonb,text,integer): execute
    private.refuse(integer,text): execute
    private.relax_commit(): execute
    private.remove_message(uuid,uuid,boolean): execute
    private.render_attachment(public.attachments): execute
    private.render_export(uuid[]): execute
    private.render_message(public.messages): execute
    private.render_message(public.messages,jsonb): execute
    private.render_page(uuid[]): execute
    private.render_pin(uuid,timestamp with time zone): execute
    private.render_reaction(uuid,uuid,uuid,text,timestamp with time zone): execute
    private.render_reactions(uuid[]): execute
    private.request_id(): execute
    private.require_channel(uuid): execute
    private.require_twin(uuid,uuid): execute
    private.retry_after(integer,text,jsonb): execute
    private.revive_deliveries(uuid,uuid): execute
    private.settings: select
    private.split_words(text): execute
    private.store_conversations(uuid,text,jsonb): execute
    private.store_twin_webhook(uuid,text): execute
    private.succeed(jsonb,jsonb,integer): execute
    private.summaries: select, update
    private.summary_counts: select, update
    private.update_participants(uuid[],private.ingest_participant[]): execute
    public.add_reaction(jsonb): execute
    public.ai_twins: delete, insert, select, update
    public.attachments: delete, insert (id, channel_id, file_name), select
    public.begin_upload(jsonb): execute
    public.channel_members: delete, insert, select, update
    public.channel_twins: delete, insert, select, update
    public.channels: delete, insert, select, update
    public.claim_deliveries(jsonb): execute
    public.clean_up(jsonb): execute
    public.conversation_messages: delete, insert, select
    public.conversation_messages(public.conversations): execute
    public.conversations: delete, insert, select, update (participant_identifier, participant_name, participant_identified_at, participant_named_at)
    public.create_message(jsonb): execute
    public.delete_message(jsonb): execute
    public.edit_message(jsonb): execute
    public.erase_person(jsonb): execute
    public.erase_user(jsonb): execute
    public.erasures: select
    public.export_channel(jsonb): execute
    public.export_conversation(jsonb): execute
    public.finish_delivery(jsonb): execute
    public.finish_upload(jsonb): execute
    public.get_attachment(jsonb): execute
    public.get_message(jsonb): execute
    public.ingest_log: insert, select, update (requests)
    public.list_channel_events(jsonb): execute
    public.list_message_edits(jsonb): execute
    public.list_messages(jsonb): execute
    public.list_twin_deliveries(jsonb): execute
    public.message_edits: select
    public.message_events: select
    public.message_pins: delete, insert (message_id, pinned_by), select
    public.message_reactions: delete, insert (id, message_id, user_id, emoji), select
    public.messages: delete, insert (id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id, content, content_type, metadata, attachments), select, update (content, deleted_at)
    public.messages(public.conversations): execute
    public.messaging_connections: delete, insert, select, update
    public.messaging_ingest(bytea): execute
    public.people: delete, insert, select, update
    public.pin_message(jsonb): execute
    public.read_metrics(jsonb): execute
    public.remove_reaction(jsonb): execute
    public.remove_twin_webhook(jsonb): execute
    public.replay_twin_deliveries(jsonb): execute
    public.reply_to_message(jsonb): execute
    public.rotate_twin_secret(jsonb): execute
    public.search_messages(jsonb): execute
    public.set_twin_webhook(jsonb): execute
    public.sweep_attachments(jsonb): execute
    public.toggle_reaction(jsonb): execute
    public.twin_deliveries: select
    public.twin_webhooks: delete, select
    public.unpin_message(jsonb): execute
    public.user_profiles: delete, insert, select, update
    schema private: usage
"""  # noqa: E501

GRANTED = """
with object (name, acl, owner) as (
    select 'schema ' || nspname, nspacl, nspowner from pg_namespace where nspname = 'private'
    union all
    select oid::regclass::text, relacl, relowner from our_relations where relkind not in ('i', 'I', 'c')
    union all
    select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner from our_functions
), granted as (
    select object.name, grantee, lower(privilege_type) as privilege
    from object cross join aclexplode(acl) where grantee <> owner
    union all
    select
        oid::regclass::text, grantee,
        format('%s (%s)', lower(privilege_type), string_agg(attname, ', ' order by attnum))
    from our_relations inner join pg_attribute on attrelid = oid cross join aclexplode(attacl)
    group by oid, grantee, privilege_type
)
select
    coalesce(pg_get_userbyid(nullif(grantee, 0)), case when grantee = 0 then 'public' else 'nobody' end) as role,
    name || coalesce(': ' || string_agg(privilege, ', ' order by privilege), '')
from object left join granted using (name)
group by role, name
order by role, name
"""


def test_rights_are_those_decided(catalog: Db) -> None:
    by_role: dict[str, str] = {}
    for role, right in catalog.execute(GRANTED):
        by_role[role] = by_role.get(role, "") + f"    {right}\n"
    assert "".join(f"{role}\n{rights}" for role, rights in by_role.items()) == RIGHTS.lstrip()
