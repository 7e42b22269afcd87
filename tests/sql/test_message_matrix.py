"""Rights on the tables of channels, twins and messages: every caller, every verb, in direct SQL.

A cell is the result of a statement that PostgREST runs for that caller:

    yes  it touches the rows that it names
    -    it runs, but those rows do not exist for the caller
    no   it is rejected: a policy, a privilege, or a rule of ownership
    dup  it is allowed, but the row exists already
    null it is allowed, but a row is missing, such as a message that is not deleted
    gone it fails because the message is deleted
    last it fails because a channel keeps an owner
"""

import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import Db, value
from tests.support.matrix import Group, group, list_blind_writes, read_cells, run
from tests.support.schema import SQL

CALLERS = ["owner", "admin", "member", "former", "mallory", "twin_owner", "anon", "service"]

# "former" has left the channel, where a message and a reaction of theirs remain. "mallory" owns another channel.
# "twin_owner" is in no channel, but owns a twin in this one. "service" holds the service key.
USERS = {name: f"00000000-0000-4000-8000-0000000000{number:02}" for number, name in enumerate(CALLERS[:6], 1)}
NEWCOMER = "00000000-0000-4000-8000-000000000099"
ROWS = {
    "channel": "00000000-0000-4000-8001-000000000001",
    "elsewhere": "00000000-0000-4000-8001-000000000002",
    "empty": "00000000-0000-4000-8001-000000000003",
    **{f"{name}_said": f"00000000-0000-4000-8002-0000000000{number:02}" for number, name in enumerate(USERS, 1)},
    "deleted": "00000000-0000-4000-8002-000000000099",
    "twin_said": "00000000-0000-4000-8002-000000000098",
    **{f"{name}_twin": f"00000000-0000-4000-8003-0000000000{number:02}" for number, name in enumerate(USERS, 1)},
    "owner_id": USERS["owner"],
    "admin_id": USERS["admin"],
    "member_id": USERS["member"],
    "newcomer": NEWCOMER,
    "mallory_id": USERS["mallory"],
    "workspace": "00000000-0000-4000-8001-000000000004",
}

# The columns are CALLERS; {me} is the caller (of anon and service: the owner), {mine} their message, {my_twin} theirs.
MATRIX = """
                                                    owner  admin  member former mallory twin_o anon   service
user_profiles
  read one's own                                    yes    yes    yes    yes    yes     yes    no     yes
    select from user_profiles where user_id = {me}
  read a member's                                   yes    yes    yes    -      -       -      no     yes
    select from user_profiles where user_id = {member_id}
  make one                                          no     no     no     no     no      no     no     dup
    insert into user_profiles (user_id, display_name) values ({newcomer}, 'x')
  rename oneself                                    yes    yes    yes    yes    yes     yes    no     yes
    update user_profiles set display_name = 'x' where user_id = {me}
  rename the admin                                  -      yes    -      -      -       -      no     yes
    update user_profiles set display_name = 'x' where user_id = {admin_id}
  become another user                               no     no     no     no     no      no     no     dup
    update user_profiles set user_id = {newcomer} where user_id = {me}
  remove one's own                                  no     no     no     no     no      no     no     no
    delete from user_profiles where user_id = {me}

channels
  read it                                           yes    yes    yes    -      -       -      no     yes
    select from channels where id = {channel}
  make one                                          yes    yes    yes    yes    yes     yes    no     null
    insert into channels (name) values ('x')
  make one and read it back                         yes    yes    yes    yes    yes     yes    no     null
    insert into channels (name) values ('x') returning *
  make one in the workspace                         yes    yes    yes    no     no      no     no     yes
    insert into channels (workspace_id, name) values ({workspace}, 'x')
  move it elsewhere                                 no     no     no     no     no      no     no     yes
    update channels set workspace_id = {mallory_id} where id = {channel}
  make one in another's name                        no     no     no     no     no      no     no     yes
    insert into channels (name, created_by) values ('x', {newcomer})
  rename it                                         yes    yes    -      -      -       -      no     yes
    update channels set name = 'x' where id = {channel}
  change what it is                                 no     no     no     no     no      no     no     yes
    update channels set kind = 'dm' where id = {channel}
  remove it                                         yes    -      -      -      -       -      no     yes
    delete from channels where id = {channel}
  rename by making it again                         no     no     no     no     no      no     no     null
    insert into channels (id, name) values ({channel}, 'x') on conflict (id) do update set name = excluded.name

channel_members
  read who is in it                                 yes    yes    yes    -      -       -      no     yes
    select from channel_members where channel_id = {channel}
  add a member                                      yes    yes    no     no     no      no     no     yes
    insert into channel_members (channel_id, user_id) values ({channel}, {newcomer})
  add an outsider                                  no     no     no     no     no      no     no     yes
    insert into channel_members (channel_id, user_id) values ({channel}, {mallory_id})
  add an owner                                      yes    no     no     no     no      no     no     yes
    insert into channel_members (channel_id, user_id, role) values ({channel}, {newcomer}, 'owner')
  join by oneself                                   dup    dup    no     no     no      no     no     dup
    insert into channel_members (channel_id, user_id) values ({channel}, {me})
  make the member an admin                          yes    yes    -      -      -       -      no     yes
    update channel_members set role = 'admin' where (channel_id, user_id) = ({channel}, {member_id})
  make the member an owner                          yes    no     -      -      -       -      no     yes
    update channel_members set role = 'owner' where (channel_id, user_id) = ({channel}, {member_id})
  make oneself an owner                             yes    no     -      -      -       -      no     yes
    update channel_members set role = 'owner' where (channel_id, user_id) = ({channel}, {me})
  move to another channel                           no     no     no     no     no      no     no     yes
    update channel_members set channel_id = {elsewhere} where (channel_id, user_id) = ({channel}, {member_id})
  put the member out                                yes    yes    yes    -      -       -      no     yes
    delete from channel_members where (channel_id, user_id) = ({channel}, {member_id})
  put the admin out                                 yes    yes    -      -      -       -      no     yes
    delete from channel_members where (channel_id, user_id) = ({channel}, {admin_id})
  put the owner out                                 last   no     -      -      -       -      no     last
    delete from channel_members where (channel_id, user_id) = ({channel}, {owner_id})
  make the owner a member                           last   no     -      -      -       -      no     last
    update channel_members set role = 'member' where (channel_id, user_id) = ({channel}, {owner_id})
  leave                                             last   yes    yes    -      -       -      no     last
    delete from channel_members where (channel_id, user_id) = ({channel}, {me})
  join again as an owner                            yes    no     no     no     no      no     no     yes
    insert into channel_members values ({channel}, {me}, 'owner') \
    on conflict (channel_id, user_id) do update set role = 'owner'

ai_twins
  read one's own                                    yes    yes    yes    yes    yes     yes    no     yes
    select from ai_twins where id = {my_twin}
  read one that takes part                          yes    yes    yes    -      -       yes    no     yes
    select from ai_twins where id = {twin_owner_twin}
  read one that does not                            -      -      yes    -      -       -      no     yes
    select from ai_twins where id = {member_twin}
  make one                                          yes    yes    yes    yes    yes     yes    no     null
    insert into ai_twins (display_name) values ('x')
  make one for another user                         no     no     no     no     no      no     no     yes
    insert into ai_twins (user_id, display_name) values ({newcomer}, 'x')
  rename one's own                                  yes    yes    yes    yes    yes     yes    no     yes
    update ai_twins set display_name = 'x' where id = {my_twin}
  rename another's                                  -      -      -      -      -       yes    no     yes
    update ai_twins set display_name = 'x' where id = {twin_owner_twin}
  give it away                                      no     no     no     no     no      no     no     yes
    update ai_twins set user_id = {newcomer} where id = {my_twin}
  remove one's own                                  yes    yes    yes    yes    yes     yes    no     yes
    delete from ai_twins where id = {my_twin}
  remove another's                                  -      -      -      -      -       yes    no     yes
    delete from ai_twins where id = {twin_owner_twin}
  make another's again                              no     no     no     no     no      no     no     null
    insert into ai_twins (id, display_name) values ({twin_owner_twin}, 'x') \
    on conflict (id) do update set display_name = excluded.display_name

channel_twins
  read who takes part                               yes    yes    yes    -      -       yes    no     yes
    select from channel_twins where (channel_id, ai_twin_id) = ({channel}, {twin_owner_twin})
  bring one's own                                   dup    yes    yes    no     no      no     no     dup
    insert into channel_twins (channel_id, ai_twin_id) values ({channel}, {my_twin})
  bring another's                                   no     no     yes    no     no      no     no     yes
    insert into channel_twins (channel_id, ai_twin_id) values ({channel}, {member_twin})
  move one to another channel                       no     no     no     no     no      no     no     yes
    update channel_twins set channel_id = {elsewhere} where ai_twin_id = {twin_owner_twin}
  take one's own out                                yes    -      -      -      -       yes    no     yes
    delete from channel_twins where (channel_id, ai_twin_id) = ({channel}, {my_twin})
  take another's out                                yes    yes    -      -      -       yes    no     yes
    delete from channel_twins where (channel_id, ai_twin_id) = ({channel}, {twin_owner_twin})

messages
  read what the member said                         yes    yes    yes    -      -       -      no     yes
    select from messages where id = {member_said}
  read what oneself said                            yes    yes    yes    -      yes     -      no     yes
    select from messages where id = {mine}
  read what was deleted                             -      -      -      -      -       -      no     yes
    select from messages where id = {deleted}
  say something                                     yes    yes    yes    no     no      no     no     yes
    insert into messages (channel_id, user_id, content) values ({channel}, {me}, 'x')
  say and read it back                              yes    yes    yes    no     no      no     no     yes
    insert into messages (channel_id, user_id, content) values ({channel}, {me}, 'x') returning *
  say something as the admin                        no     yes    no     no     no      no     no     yes
    insert into messages (channel_id, user_id, content) values ({channel}, {admin_id}, 'x')
  write without an author                           no     no     no     no     no      no     no     yes
    insert into messages (channel_id, user_id, content) values ({channel}, null, 'x')
  let one's own twin speak                          yes    no     no     no     no      no     no     yes
    insert into messages (channel_id, user_id, ai_twin_id, content) values ({channel}, null, {my_twin}, 'x')
  let another's twin speak                          no     no     no     no     no      no     no     yes
    insert into messages (channel_id, user_id, ai_twin_id, content) values ({channel}, null, {twin_owner_twin}, 'x')
  reply to the member                               yes    yes    yes    no     no      no     no     yes
    insert into messages (channel_id, user_id, parent_message_id, content) values ({channel}, {me}, {member_said}, 'x')
  choose its number                                 no     no     no     no     no      no     no     no
    insert into messages (channel_id, user_id, seq, content) values ({channel}, {me}, 1, 'x')
  choose its time                                   no     no     no     no     no      no     no     no
    insert into messages (channel_id, user_id, created_at, content) values ({channel}, {me}, now(), 'x')
  say something deleted                             no     no     no     no     no      no     no     no
    insert into messages (channel_id, user_id, deleted_at, content) values ({channel}, {me}, now(), 'x')
  edit one's own                                    yes    yes    yes    -      yes     -      no     yes
    update messages set content = 'x' where id = {mine}
  edit what the member said                         -      -      yes    -      -       -      no     yes
    update messages set content = 'x' where id = {member_said}
  edit what the twin said                           yes    -      -      -      -       -      no     yes
    update messages set content = 'x' where id = {twin_said}
  edit what was deleted                             -      -      -      -      -       -      no     gone
    update messages set content = 'x' where id = {deleted}
  change an author                                  no     no     no     -      no      -      no     no
    update messages set user_id = {newcomer} where id = {mine}
  change a channel                                  no     no     no     -      yes     -      no     no
    update messages set channel_id = {elsewhere} where id = {mine} -- where Mallory's is already
  change a number                                   no     no     no     no     no      no     no     no
    update messages set seq = 9 where id = {mine}
  change a time                                     no     no     no     no     no      no     no     no
    update messages set created_at = now() where id = {mine}
  change metadata                                   no     no     no     -      no      -      no     no
    update messages set metadata = '{{"a": 1}}' where id = {mine}
  delete softly by hand                             no     no     no     no     no      no     no     yes
    update messages set deleted_at = now() where id = {mine}
  restore what was deleted                          no     no     no     no     no      no     no     gone
    update messages set deleted_at = null where id = {deleted}
  delete for good                                   no     no     no     no     no      no     no     yes
    delete from messages where id = {mine}
  repeat a member's message                         -      -      -      no     no      no     no     -
    insert into messages (id, channel_id, user_id, content) values ({member_said}, {channel}, {me}, 'x') \
    on conflict do nothing
  edit by repeating                                 no     no     yes    no     no      no     no     yes
    insert into messages (id, channel_id, user_id, content) values ({member_said}, {channel}, {me}, 'x') \
    on conflict (id) do update set content = excluded.content
  upsert one's own                                  yes    yes    yes    no     no      no     no     no
    insert into messages (id, channel_id, user_id, content) values ({mine}, {channel}, {me}, 'x') \
    on conflict (id) do update set id = excluded.id, channel_id = excluded.channel_id, \
    user_id = excluded.user_id, content = excluded.content

message_edits
  read what was there before                        yes    yes    yes    -      -       -      no     yes
    select from message_edits where message_id = {member_said}
  read one of a deleted message                     -      -      -      -      -       -      no     -
    select from message_edits where message_id = {deleted}
  make one up                                       no     no     no     no     no      no     no     no
    insert into message_edits (message_id, version, content, written_at) values ({mine}, 9, 'x', now())
  change one                                        no     no     no     no     no      no     no     no
    update message_edits set content = 'x' where message_id = {member_said}
  remove one                                        no     no     no     no     no      no     no     no
    delete from message_edits where message_id = {member_said}

message_reactions
  read them                                         yes    yes    yes    -      -       -      no     yes
    select from message_reactions where message_id = {member_said}
  react                                             yes    yes    yes    no     no      no     no     yes
    insert into message_reactions (message_id, user_id, emoji) values ({member_said}, {me}, 'new')
  react and read it back                            yes    yes    yes    no     no      no     no     yes
    insert into message_reactions (message_id, user_id, emoji) values ({member_said}, {me}, 'new') returning *
  react as the admin                                no     yes    no     no     no      no     no     yes
    insert into message_reactions (message_id, user_id, emoji) values ({member_said}, {admin_id}, 'new')
  react to what was deleted                         no     no     no     no     no      no     no     null
    insert into message_reactions (message_id, user_id, emoji) values ({deleted}, {me}, 'new')
  name another channel                              no     no     no     no     no      no     no     no
    insert into message_reactions (message_id, user_id, channel_id, emoji) \
    values ({member_said}, {me}, {elsewhere}, 'new')
  change one                                        no     no     no     no     no      no     no     no
    update message_reactions set emoji = 'x' where message_id = {member_said}
  take back one's own                               yes    yes    yes    -      -       -      no     yes
    delete from message_reactions where message_id = {member_said} and user_id = {me}
  take back the admin's                             -      yes    -      -      -       -      no     yes
    delete from message_reactions where message_id = {member_said} and user_id = {admin_id}
  change by reacting again                          no     no     no     no     no      no     no     no
    insert into message_reactions (message_id, user_id, emoji) values ({member_said}, {me}, 'old') \
    on conflict (message_id, user_id, emoji) do update set emoji = 'x'

message_pins
  read them                                         yes    yes    yes    -      -       -      no     yes
    select from message_pins where message_id = {admin_said}
  pin                                               yes    yes    yes    no     no      no     no     yes
    insert into message_pins (message_id, pinned_by) values ({member_said}, {me})
  pin and read it back                              yes    yes    yes    no     no      no     no     yes
    insert into message_pins (message_id, pinned_by) values ({member_said}, {me}) returning *
  pin as the admin                                  no     yes    no     no     no      no     no     yes
    insert into message_pins (message_id, pinned_by) values ({member_said}, {admin_id})
  pin what was deleted                              no     no     no     no     no      no     no     null
    insert into message_pins (message_id, pinned_by) values ({deleted}, {me})
  change who pinned                                 no     no     no     no     no      no     no     no
    update message_pins set pinned_by = {me} where message_id = {admin_said}
  unpin                                             yes    yes    yes    -      -       -      no     yes
    delete from message_pins where message_id = {admin_said}
  pin what another has pinned                       no     no     no     no     no      no     no     no
    insert into message_pins (message_id, pinned_by) values ({admin_said}, {me}) \
    on conflict (message_id) do update set pinned_by = excluded.pinned_by

message_events
  read them                                         yes    yes    yes    -      -       -      no     yes
    select from message_events where channel_id = {channel}
  make one up                                       no     no     no     no     no      no     no     no
    insert into message_events (channel_id, seq, kind, created_at) values ({channel}, 999, 'member.left', now())
  change one                                        no     no     no     no     no      no     no     no
    update message_events set kind = 'member.left' where channel_id = {channel}
  remove one                                        no     no     no     no     no      no     no     no
    delete from message_events where channel_id = {channel}

private.channel_counters
  read it                                           no     no     no     no     no      no     no     no
    select from private.channel_counters where channel_id = {channel}
  make one                                          no     no     no     no     no      no     no     no
    insert into private.channel_counters (channel_id) values ({empty})
  change it                                         no     no     no     no     no      no     no     no
    update private.channel_counters set last_seq = 0 where channel_id = {channel}
  remove it                                         no     no     no     no     no      no     no     no
    delete from private.channel_counters where channel_id = {channel}

private.user_counters
  read it                                           no     no     no     no     no      no     no     no
    select from private.user_counters where user_id = {member_id}
  make one                                          no     no     no     no     no      no     no     no
    insert into private.user_counters (user_id) values ({newcomer})
  change it                                         no     no     no     no     no      no     no     no
    update private.user_counters set last_seq = 0 where user_id = {member_id}
  remove it                                         no     no     no     no     no      no     no     no
    delete from private.user_counters where user_id = {member_id}

user_events
  read the member's                                 -      -      yes    -      -       -      no     yes
    select from user_events where user_id = {member_id}
  make one up                                       no     no     no     no     no      no     no     no
    insert into user_events (user_id, seq, kind) values ({member_id}, 999, 'channel.left')
  change one                                        no     no     no     no     no      no     no     no
    update user_events set kind = 'channel.left' where user_id = {member_id}
  remove one                                        no     no     no     no     no      no     no     no
    delete from user_events where user_id = {member_id}

member_states
  read the member's                                 -      -      yes    -      -       -      no     yes
    select from member_states where user_id = {member_id}
  make one                                          no     no     no     no     no      no     no     no
    insert into member_states (channel_id, user_id) values ({channel}, {newcomer})
  mute for the member                               -      -      yes    -      -       -      no     no
    update member_states set is_muted = true where user_id = {member_id}
  remove the member's                               no     no     no     no     no      no     no     no
    delete from member_states where user_id = {member_id}
"""

WORLD = """
insert into auth.users (id, email, aud, role)
select id::uuid, name || '@matrix.example', 'authenticated', 'authenticated'
from unnest(%(user_ids)s::text[], %(names)s::text[]) as people (id, name);
-- Created in the past, because a creator may see a new channel without being a member.
insert into workspaces (id, name) values (%(workspace)s, 'team');
insert into workspace_members (workspace_id, user_id)
select %(workspace)s, member.id from unnest(%(team)s::uuid[]) as member (id);
insert into channels (id, workspace_id, name, created_by, created_at) values
(%(channel)s, %(workspace)s, 'the channel', %(owner_id)s, now() - interval '1 day'),
(%(elsewhere)s, %(mallory_id)s, 'another one', %(mallory_id)s, now() - interval '1 day'),
(%(empty)s, %(workspace)s, 'one without members', null, now() - interval '1 day');
delete from private.channel_counters where channel_id = %(empty)s;
insert into channel_members (channel_id, user_id, role) values
(%(channel)s, %(admin_id)s, 'admin'), (%(channel)s, %(member_id)s, 'member'), (%(channel)s, %(former_id)s, 'member');
insert into ai_twins (id, user_id, display_name)
select id::uuid, user_id::uuid, 'twin'
from unnest(%(twin_ids)s::text[], %(twin_owners)s::text[]) as twins (id, user_id);
insert into channel_twins (channel_id, ai_twin_id) values
(%(channel)s, %(owner_twin)s), (%(channel)s, %(twin_owner_twin)s);
insert into messages (id, channel_id, user_id, content) values
(%(owner_said)s, %(channel)s, %(owner_id)s, 'owner'), (%(admin_said)s, %(channel)s, %(admin_id)s, 'admin'),
(%(member_said)s, %(channel)s, %(member_id)s, 'member'), (%(former_said)s, %(channel)s, %(former_id)s, 'former'),
(%(deleted)s, %(channel)s, %(member_id)s, 'deleted'), (%(mallory_said)s, %(elsewhere)s, %(mallory_id)s, 'mallory');
insert into messages (id, channel_id, user_id, ai_twin_id, content) values
(%(twin_said)s, %(channel)s, null, %(owner_twin)s, 'twin');
insert into message_reactions (message_id, user_id, emoji) values
(%(member_said)s, %(owner_id)s, 'old'), (%(member_said)s, %(admin_id)s, 'old'),
(%(member_said)s, %(member_id)s, 'old'), (%(member_said)s, %(former_id)s, 'old');
insert into message_pins (message_id, pinned_by) values (%(admin_said)s, %(admin_id)s);
update messages set content = content || ' again' where id in (%(member_said)s, %(deleted)s);
update messages set deleted_at = now() where id = %(deleted)s;
delete from channel_members where user_id = %(former_id)s;
"""


CELLS = list(read_cells(MATRIX, CALLERS))


@pytest.fixture(scope="module")
def world(postgres_url: str) -> Iterator[Db]:
    """Create all callers and rows of the matrix in a transaction that never commits."""
    everything = {
        **ROWS,
        **{f"{name}_id": user_id for name, user_id in USERS.items()},
        "user_ids": [*USERS.values(), NEWCOMER],
        "names": [*USERS, "newcomer"],
        "team": [USERS["owner"], USERS["admin"], USERS["member"], NEWCOMER],
        "twin_ids": [ROWS[f"{name}_twin"] for name in USERS],
        "twin_owners": [*USERS.values()],
    }
    with psycopg.connect(postgres_url, cursor_factory=psycopg.ClientCursor) as db:
        db.execute(WORLD, everything)
        yield db
        db.rollback()


@pytest.mark.parametrize("cells", group(CELLS), ids=str)
def test_each_role_may_do_exactly_this(world: Db, cells: Group) -> None:
    me = cells.caller if cells.caller in USERS else "owner"
    names = {**ROWS, "me": USERS[me], "mine": ROWS[f"{me}_said"], "my_twin": ROWS[f"{me}_twin"]}
    assert run(world, cells.cells, names, USERS.get(cells.caller)) == cells.outcomes


def test_mallory_writes_no_row_that_is_hidden(world: Db) -> None:
    assert list_blind_writes(world, USERS["mallory"]) == []


def test_matrix_has_every_table_and_verb() -> None:
    text = "".join(file.read_text() for file in SQL if "200" <= file.name[:3] <= "240" and file.name[:3] != "225")
    tables = {name.removeprefix("public.") for name in re.findall(r"^create table (\S+)", text, re.MULTILINE)}
    expected = {(table, verb) for table in tables for verb in ("select", "insert", "update", "delete")}
    assert {(cell.table, cell.statement.split()[0]) for cell in CELLS} == expected
    assert all(re.search(rf"\b{cell.table}\b", cell.statement) for cell in CELLS)


def test_client_roles_cannot_bypass_row_security(world: Db) -> None:
    query = """
        select count(*) from pg_class as relation
        where relation.relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relation.relkind = 'r'
            and (not relation.relrowsecurity or relation.relowner in (
                select oid from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
            ))
    """
    assert value(world, query) == 0
