-- All identifiers that were ever seen of the participant of a conversation.
-- Promise: nothing is removed from here while the conversation lives.

create table public.conversation_identifiers (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    kind text not null,
    value text not null,
    app text not null default '',
    key text collate "C",
    created_at timestamptz not null default now(),
    primary key (conversation_id, kind, app, value)
);
comment on table public.conversation_identifiers is
'Identifiers of the participant of a conversation besides participant_identifier: earlier ones, and those that ingest
requests name in identifiers.';
comment on column public.conversation_identifiers.workspace_id is
'The conversation''s workspace, repeated so that row-level security needs no second table.';
comment on column public.conversation_identifiers.kind is
'As in person_identifiers; other for a text that identifies no person, such as a username on WhatsApp.';
comment on column public.conversation_identifiers.key is 'What equal identifiers have in common; null for other.';
create index conversation_identifiers_workspace_id_key_idx on public.conversation_identifiers (workspace_id, key);
alter table public.conversation_identifiers enable row level security;

create policy conversation_identifiers_select_member on public.conversation_identifiers
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
