-- Calls about people that a member can undo: two entries are one person, or a person got another number.
-- Promise: an undo restores the people and the matches as they would be without the call.

create table private.number_changes (
    id uuid primary key default gen_random_uuid(),
    person_id uuid not null references public.people (id) on delete cascade,
    old_phone text,
    new_phone text not null,
    identifier_id uuid,
    created_at timestamptz not null default clock_timestamp()
);
comment on table private.number_changes is 'Changes of numbers that can be undone.';
comment on column private.number_changes.identifier_id is
'The row of person_identifiers that the change added to keep the old number; null if it was there.';
create index number_changes_person_id_idx on private.number_changes (person_id, created_at);
alter table private.number_changes enable row level security;

-- Definer, because users may not merge people by themselves. The function checks that the caller is a member of the
-- workspace. It takes the
-- matching lock first.
create function private.lock_person(p_person_id uuid, p_field text) returns public.people
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people;
begin
    select * into v_person
    from public.people as person
    where person.id = p_person_id
        and (
            (select private.is_service())
            or exists (select from private.my_workspaces as mine where mine.id = person.workspace_id)
        );
    if v_person.id is not null then
        perform pg_advisory_xact_lock(private.matching_lock(v_person.workspace_id));
        select * into v_person from public.people as person where person.id = p_person_id for no key update;
    end if;
    if v_person.id is null then
        perform private.fail(
            404, 'person_not_found',
            format('This person does not exist or is not yours. Check %s.', p_field), p_field
        );
    end if;
    return v_person;
end
$$;
comment on function private.lock_person(uuid, text) is
'Locks a person of the caller and the matching of its workspace. PT404 if the person is not the caller''s.';

-- Definer, for the same reason.
create function private.merge_people(p_person_id uuid, p_merged_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_merged public.people := private.lock_person(p_merged_person_id, 'merged_person_id');
begin
    if v_merged.workspace_id <> v_person.workspace_id then
        perform private.fail(
            404, 'person_not_found',
            'The two people belong to different workspaces. Check merged_person_id.', 'merged_person_id'
        );
    elsif private.find_merged_person(p_person_id) = private.find_merged_person(p_merged_person_id)
        or v_merged.merged_into_id is not null
    then
        perform private.fail(
            409, 'person_merged',
            'This person is merged already, or both are the same. Unmerge it first.', 'merged_person_id'
        );
    end if;
    update public.people as person
    set merged_into_id = p_person_id
    where person.id = p_merged_person_id;
    return jsonb_build_object('person_id', p_person_id, 'merged_person_id', p_merged_person_id);
end
$$;
comment on function private.merge_people(uuid, uuid) is
'Makes two people of the caller one for matching. PT404 if one is not the caller''s, PT409 if the second is merged
already.';

-- Definer, for the same reason.
create function private.unmerge_people(p_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
begin
    if v_person.merged_into_id is null then
        perform private.fail(409, 'person_not_merged', 'This person is not merged. Check person_id.', 'person_id');
    end if;
    update public.people as person set merged_into_id = null where person.id = p_person_id;
    return jsonb_build_object('person_id', v_person.merged_into_id, 'merged_person_id', p_person_id);
end
$$;
comment on function private.unmerge_people(uuid) is
'Undoes merge_people for the person that was merged into another. PT409 if it was not.';

-- Definer, for the same reason.
create function private.change_number(p_person_id uuid, p_phone text) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_identifier_id uuid;
begin
    if private.phone_text(p_phone) is null then
        perform private.fail(400, 'invalid_field', 'phone must be a phone number.', 'phone');
    end if;
    if private.phone_text(v_person.phone) is not null then
        insert into public.person_identifiers (workspace_id, person_id, kind, value)
        values (v_person.workspace_id, p_person_id, 'phone', v_person.phone)
        on conflict do nothing
        returning id into v_identifier_id;
    end if;
    update public.people as person set phone = p_phone where person.id = p_person_id;
    insert into private.number_changes (person_id, old_phone, new_phone, identifier_id)
    values (p_person_id, v_person.phone, p_phone, v_identifier_id);
    return jsonb_build_object('person_id', p_person_id, 'phone', p_phone, 'former_phone', v_person.phone);
end
$$;
comment on function private.change_number(uuid, text) is
'Gives a person of the caller another number. The old one stays as an identifier, so that both match.';

-- Definer, for the same reason.
create function private.undo_number_change(p_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_change private.number_changes;
begin
    select * into v_change
    from private.number_changes as known
    where known.person_id = p_person_id
    order by known.created_at desc, known.id desc
    limit 1;
    if v_change.id is null or v_change.new_phone is distinct from v_person.phone then
        perform private.fail(
            409, 'number_not_changed',
            'There is no change of this number to undo, or the number was edited since. Check person_id.', 'person_id'
        );
    end if;
    delete from private.number_changes as known where known.id = v_change.id;
    delete from public.person_identifiers as own where own.id = v_change.identifier_id;
    update public.people as person set phone = v_change.old_phone where person.id = p_person_id;
    return jsonb_build_object('person_id', p_person_id, 'phone', v_change.old_phone);
end
$$;
comment on function private.undo_number_change(uuid) is
'Undoes the last change_number of a person. PT409 without such a change, or if the number was edited
since.';

create function public.merge_people(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.merge_people(
        private.parse_uuid($1, 'person_id'), private.parse_uuid($1, 'merged_person_id')
    ));
end
$$;
comment on function public.merge_people(jsonb) is
'Makes merged_person_id the same person as person_id: conversations of both match person_id. unmerge_people undoes it.';

create function public.unmerge_people(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.unmerge_people(private.parse_uuid($1, 'person_id')));
end
$$;
comment on function public.unmerge_people(jsonb) is
'Makes person_id, which was merged into another person, a person of its own again.';

create function public.change_number(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.change_number(
        private.parse_uuid($1, 'person_id'), private.parse_text($1, 'phone', 100)
    ));
end
$$;
comment on function public.change_number(jsonb) is
'Gives person_id the number phone and keeps the former one, so that conversations of both match. undo_number_change
undoes it.';

create function public.undo_number_change(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.undo_number_change(private.parse_uuid($1, 'person_id')));
end
$$;
comment on function public.undo_number_change(jsonb) is
'Undoes the last change_number of person_id.';
