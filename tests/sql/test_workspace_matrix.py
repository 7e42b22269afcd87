"""Rights on the tables of workspaces: every role, every verb, in direct SQL. Cells are as in test_message_matrix.

"guest" is a member of one channel of the workspace and of nothing else there. "former" has left the workspace. "rival"
owns another workspace. "service" holds the service key.
"""

import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import Db
from tests.support.matrix import Group, group, list_blind_writes, read_cells, run
from tests.support.schema import SQL

CALLERS = ["owner", "admin", "member", "guest", "former", "rival", "anon", "service"]
USERS = {name: f"00000000-0000-4000-8100-0000000000{number:02}" for number, name in enumerate(CALLERS[:6], 1)}
ROWS = {
    "team": "00000000-0000-4000-8101-000000000001",
    "rivals": "00000000-0000-4000-8101-000000000002",
    "channel": "00000000-0000-4000-8101-000000000003",
    "connection": "00000000-0000-4000-8101-000000000004",
    "person": "00000000-0000-4000-8101-000000000005",
    "conversation": "00000000-0000-4000-8101-000000000006",
    "invitation": "00000000-0000-4000-8101-000000000007",
    **{f"{name}_id": id_ for name, id_ in USERS.items()},
}

MATRIX = """
                                                    owner  admin  member guest  former rival   anon   service
workspaces
  read it                                           yes    yes    yes    -      -      -       no     yes
    select from workspaces where id = {team}
  read one's personal one                           yes    yes    yes    yes    yes    yes     no     yes
    select from workspaces where id = {me}
  make one by hand                                  no     no     no     no     no     no      no     yes
    insert into workspaces (name) values ('x')
  rename it                                         yes    yes    -      -      -      -       no     yes
    update workspaces set name = 'x' where id = {team}
  set retention                                     yes    no     -      -      -      -       no     yes
    update workspaces set channel_days = 9 where id = {team}
  set retention of conversations                    yes    no     -      -      -      -       no     yes
    update workspaces set conversation_days = 9 where id = {team}
  make it personal                                  no     no     no     no     no     no      no     no
    update workspaces set personal_user_id = {me} where id = {team}
  remove it                                         yes    -      -      -      -      -       no     yes
    delete from workspaces where id = {team}
  remove one's personal one                         -      -      -      -      -      -       no     yes
    delete from workspaces where id = {me}

workspace_members
  read who is in it                                 yes    yes    yes    -      -      -       no     yes
    select from workspace_members where workspace_id = {team}
  join by oneself                                   no     no     no     no     no     no      no     dup
    insert into workspace_members (workspace_id, user_id) values ({team}, {me})
  add a user without consent                        no     no     no     no     no     no      no     yes
    insert into workspace_members (workspace_id, user_id) values ({team}, {rival_id})
  make the member an admin                          yes    yes    -      -      -      -       no     yes
    update workspace_members set role = 'admin' where (workspace_id, user_id) = ({team}, {member_id})
  make the member an owner                          yes    no     -      -      -      -       no     yes
    update workspace_members set role = 'owner' where (workspace_id, user_id) = ({team}, {member_id})
  make oneself an owner                             yes    no     -      -      -      -       no     yes
    update workspace_members set role = 'owner' where (workspace_id, user_id) = ({team}, {me})
  move the member elsewhere                         no     no     no     no     no     no      no     yes
    update workspace_members set workspace_id = {rivals} where (workspace_id, user_id) = ({team}, {member_id})
  expel the member                                  yes    yes    yes    -      -      -       no     yes
    delete from workspace_members where (workspace_id, user_id) = ({team}, {member_id})
  expel the owner                                   last   no     -      -      -      -       no     last
    delete from workspace_members where (workspace_id, user_id) = ({team}, {owner_id})
  leave                                             last   yes    yes    -      -      -       no     last
    delete from workspace_members where (workspace_id, user_id) = ({team}, {me})
  leave one's personal one                          last   last   last   last   last   last    no     last
    delete from workspace_members where (workspace_id, user_id) = ({me}, {me})

workspace_invitations
  read them                                         yes    yes    -      -      -      -       no     no
    select id from workspace_invitations where workspace_id = {team}
  read the hash of a token                          no     no     no     no     no     no      no     no
    select token_hash from workspace_invitations where workspace_id = {team}
  make one by hand                                  no     no     no     no     no     no      no     no
    insert into workspace_invitations (workspace_id, role) values ({team}, 'owner')
  change one                                        no     no     no     no     no     no      no     no
    update workspace_invitations set role = 'owner' where id = {invitation}
  remove one                                        no     no     no     no     no     no      no     no
    delete from workspace_invitations where id = {invitation}

audit_log
  read it                                           yes    -      -      -      -      -       no     yes
    select from audit_log where workspace_id = {team}
  make a line                                       no     no     no     no     no     no      no     no
    insert into audit_log (workspace_id, action) values ({team}, 'key.created')
  change a line                                     no     no     no     no     no     no      no     no
    update audit_log set actor_id = null where workspace_id = {team}
  remove a line                                     no     no     no     no     no     no      no     no
    delete from audit_log where workspace_id = {team}

messaging_connections
  read it                                           yes    yes    yes    -      -      -       no     yes
    select from messaging_connections where id = {connection}
  make one in the workspace                         yes    yes    no     no     no     no      no     null
    insert into messaging_connections (workspace_id, platform, connection_id) values ({team}, 'signal', 'x')
  make one of one's own                             yes    yes    yes    yes    yes    yes     no     null
    insert into messaging_connections (platform, connection_id) values ('signal', 'x')
  stop it                                           yes    yes    -      -      -      -       no     yes
    update messaging_connections set is_active = false where id = {connection}
  move it elsewhere                                 no     no     no     no     no     no      no     yes
    update messaging_connections set workspace_id = {rivals} where id = {connection}
  remove it                                         yes    yes    -      -      -      -       no     yes
    delete from messaging_connections where id = {connection}

people
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from people where workspace_id = {team}
  add one to the workspace                          yes    yes    yes    no     no     no      no     null
    insert into people (workspace_id, full_name) values ({team}, 'x')
  add one of one's own                              yes    yes    yes    yes    yes    yes     no     null
    insert into people (full_name) values ('x')
  rename one                                        yes    yes    yes    -      -      -       no     yes
    update people set full_name = 'x' where id = {person}
  move one elsewhere                                no     no     no     no     no     no      no     yes
    update people set workspace_id = {rivals} where id = {person}
  remove one                                        yes    yes    yes    -      -      -       no     yes
    delete from people where id = {person}

person_identifiers
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from person_identifiers where person_id = {person}
  add one to a person                               yes    yes    yes    no     no     no      no     yes
    insert into person_identifiers (person_id, kind, value) values ({person}, 'email', 'ann@new.example')
  add one elsewhere                                 no     no     no     no     no     no      no     yes
    insert into person_identifiers (workspace_id, person_id, kind, value) \
    values ({team}, {person}, 'email', 'ann@new.example')
  change one                                        no     no     no     no     no     no      no     no
    update person_identifiers set value = 'ann@new.example' where person_id = {person}
  remove one                                        yes    yes    yes    -      -      -       no     yes
    delete from person_identifiers where person_id = {person}

conversations
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from conversations where id = {conversation}
  make one up                                       no     no     no     no     no     no      no     yes
    insert into conversations (workspace_id, user_id, platform, external_conversation_id, participant_identifier) \
    values ({team}, {owner_id}, 'signal', 'new', 'x')
  change one                                        no     no     no     no     no     no      no     no
    update conversations set workspace_id = {rivals} where id = {conversation}
  remove one                                        no     no     no     no     no     no      no     yes
    delete from conversations where id = {conversation}

conversation_identifiers
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from conversation_identifiers where conversation_id = {conversation}
  make one up                                       no     no     no     no     no     no      no     yes
    insert into conversation_identifiers (conversation_id, workspace_id, kind, value) \
    values ({conversation}, {team}, 'other', 'new')
  change one                                        no     no     no     no     no     no      no     no
    update conversation_identifiers set value = 'new' where conversation_id = {conversation}
  remove one                                        no     no     no     no     no     no      no     no
    delete from conversation_identifiers where conversation_id = {conversation}

conversation_messages
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from conversation_messages where conversation_id = {conversation}
  make one up                                       no     no     no     no     no     no      no     yes
    insert into conversation_messages (conversation_id, workspace_id, external_id, sent_at, message) \
    values ({conversation}, {team}, 'new', now(), '{{}}')
  change one                                        no     no     no     no     no     no      no     no
    update conversation_messages set message = '{{}}' where conversation_id = {conversation}
  remove one                                        no     no     no     no     no     no      no     yes
    delete from conversation_messages where conversation_id = {conversation}

conversation_updates
  read them                                         yes    yes    yes    -      -      -       no     yes
    select from conversation_updates where conversation_id = {conversation}
  make one up                                       no     no     no     no     no     no      no     no
    insert into conversation_updates (conversation_id, external_id, sender, type, actor, version, at, sequence, value) \
    values ({conversation}, 'new', '', 'read', '', '', now(), 0, '{{}}')
  change one                                        no     no     no     no     no     no      no     no
    update conversation_updates set at = now() where conversation_id = {conversation}
  remove one                                        no     no     no     no     no     no      no     no
    delete from conversation_updates where conversation_id = {conversation}

conversation_reads
  read the member's                                 -      -      yes    -      -      -       no     yes
    select from conversation_reads where conversation_id = {conversation}
  make one                                          no     no     no     no     no     no      no     no
    insert into conversation_reads (conversation_id, user_id, workspace_id, read_at) \
    values ({conversation}, {owner_id}, {team}, now())
  change the member's                               no     no     no     no     no     no      no     no
    update conversation_reads set read_at = now() where conversation_id = {conversation}
  remove the member's                               no     no     no     no     no     no      no     no
    delete from conversation_reads where conversation_id = {conversation}

ingest_log
  read it                                           yes    yes    -      -      -      -       no     yes
    select from ingest_log where workspace_id = {team}
  make a line                                       no     no     no     no     no     no      no     yes
    insert into ingest_log (workspace_id, user_id, connection_id, status) values ({team}, {owner_id}, 'x', 200)
  change a line                                     no     no     no     no     no     no      no     no
    update ingest_log set status = 200 where workspace_id = {team}
  remove a line                                     no     no     no     no     no     no      no     no
    delete from ingest_log where workspace_id = {team}
"""

WORLD = """
insert into auth.users (id, email, aud, role)
select id::uuid, name || '@workspace.example', 'authenticated', 'authenticated'
from unnest(%(user_ids)s::text[], %(names)s::text[]) as people (id, name);
insert into workspaces (id, name) values (%(team)s, 'team'), (%(rivals)s, 'rivals');
insert into workspace_members (workspace_id, user_id, role) values
(%(team)s, %(owner_id)s, 'owner'), (%(team)s, %(admin_id)s, 'admin'), (%(team)s, %(member_id)s, 'member'),
(%(team)s, %(former_id)s, 'member'), (%(rivals)s, %(rival_id)s, 'owner');
insert into channels (id, workspace_id, name, created_by) values (%(channel)s, %(team)s, 'c', %(owner_id)s);
insert into channel_members (channel_id, user_id) values (%(channel)s, %(guest_id)s);
insert into messaging_connections (id, workspace_id, user_id, platform, connection_id)
values (%(connection)s, %(team)s, %(owner_id)s, 'signal', 'matrix');
insert into people (id, workspace_id, user_id, full_name) values (%(person)s, %(team)s, %(owner_id)s, 'Ann');
insert into conversations (id, workspace_id, user_id, platform, external_conversation_id, participant_identifier)
values (%(conversation)s, %(team)s, %(owner_id)s, 'signal', 'old', '@ann');
insert into person_identifiers (person_id, kind, value) values (%(person)s, 'email', 'ann@old.example');
insert into conversation_identifiers (conversation_id, workspace_id, kind, value)
values (%(conversation)s, %(team)s, 'other', 'old');
insert into conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
values (%(conversation)s, %(team)s, 'old', now(), '{}');
insert into conversation_updates (conversation_id, external_id, sender, type, actor, version, at, sequence, value)
values (%(conversation)s, 'old', '', 'read', '', '', now(), 0, '{}');
insert into conversation_reads (conversation_id, user_id, workspace_id, read_at)
values (%(conversation)s, %(member_id)s, %(team)s, now());
insert into ingest_log (workspace_id, user_id, connection_id, status)
values (%(team)s, %(owner_id)s, 'matrix', 200);
insert into workspace_invitations (id, workspace_id, role, token_hash, expires_at)
values (%(invitation)s, %(team)s, 'member', sha256('x'), now() + interval '1 day');
delete from workspace_members where user_id = %(former_id)s and workspace_id = %(team)s;
"""
CELLS = list(read_cells(MATRIX, CALLERS))


@pytest.fixture(scope="module")
def world(postgres_url: str) -> Iterator[Db]:
    """Create all callers and rows of the matrix in a transaction that never commits."""
    with psycopg.connect(postgres_url, cursor_factory=psycopg.ClientCursor) as db:
        db.execute(WORLD, {**ROWS, "user_ids": [*USERS.values()], "names": [*USERS]})
        yield db
        db.rollback()


@pytest.mark.parametrize("cells", group(CELLS), ids=str)
def test_each_workspace_role_may_do_exactly_this(world: Db, cells: Group) -> None:
    me = USERS[cells.caller if cells.caller in USERS else "owner"]
    assert run(world, cells.cells, {**ROWS, "me": me}, USERS.get(cells.caller)) == cells.outcomes


def test_rival_writes_no_row_that_is_hidden(world: Db) -> None:
    assert list_blind_writes(world, USERS["rival"]) == []


def test_workspace_matrix_has_every_table_and_verb() -> None:
    text = "".join(file.read_text() for file in SQL if "050" <= file.name[:3] <= "140" or file.name[:3] == "225")
    tables = set(re.findall(r"^create table public\.(\S+)", text, re.MULTILINE))
    expected = {(table, verb) for table in tables for verb in ("select", "insert", "update", "delete")}
    assert {(cell.table, cell.statement.split()[0]) for cell in CELLS} == expected
