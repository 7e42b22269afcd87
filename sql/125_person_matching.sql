-- Which person a conversation is with: exact number first, then the last ten digits; a tie matches no person.

create function private.match_person(p_user_id uuid, p_digits text) returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
    -- The last ten digits bridge country codes ('Contact Matching' of the ingest document). Two people who
    -- fit equally well match nobody: to show the wrong person's data is worse than to show none.
    return (
        select case count(*) filter (where person.phone_digits = p_digits)
            when 1 then (array_agg(person.id) filter (where person.phone_digits = p_digits))[1]
            when 0 then case when count(*) = 1 and length(p_digits) >= 10 then (array_agg(person.id))[1] end
        end
        from public.people as person
        where person.user_id = p_user_id and right(person.phone_digits, 10) = right(p_digits, 10)
    );
end
$$;
comment on function private.match_person(uuid, text) is
'The one contact of a user whose number has these digits, or else the same last ten; null when none or several do.';

create function private.matching_lock(p_user_id uuid) returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return hashtextextended('threadline.matching.' || p_user_id, 0);
end
$$;
comment on function private.matching_lock(uuid) is
'The advisory lock of a user''s matching. A new thread and a new contact that belong together may be written at the
same moment, neither seeing the other: so whoever matches threads holds it shared, whoever changes contacts holds it
alone, and both take it before they lock any row.';

create function private.match_participant_trigger() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock_shared(private.matching_lock(new.user_id));
    new.person_id := private.match_person(new.user_id, private.phone_digits(new.participant_identifier));
    if new.person_id is not null then
        -- A contact that is being deleted at this moment counts as gone.
        perform from public.people as person where person.id = new.person_id for key share;
        if not found then
            new.person_id := null;
        end if;
    end if;
    return new;
end
$$;
comment on function private.match_participant_trigger() is 'Trigger: finds the contact that a conversation is with.';

-- Definer, because the lock is no business of those who change people.
create function private.lock_matching_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Before any row is locked, and so before it is known whose rows these are: a signed-in user has only their own.
    if (select auth.uid()) is not null then
        perform pg_advisory_xact_lock(private.matching_lock((select auth.uid())));
    end if;
    return null;
end
$$;
comment on function private.lock_matching_trigger() is
'Trigger: a user''s contacts change while none of their threads is being matched, so that neither waits for the other.';

-- Definer, because people are changed by their owners, who may not write conversations.
create function private.rematch_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'DELETE' then
        perform pg_advisory_xact_lock(private.matching_lock(owner.user_id))
        from (select distinct changed.user_id from changed order by changed.user_id) as owner;
    end if;

    perform from public.conversations as conversation
    where (conversation.user_id, right(conversation.participant_digits, 10)) in (
        select changed.user_id, right(changed.phone_digits, 10) from changed
    )
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set person_id = private.match_person(conversation.user_id, conversation.participant_digits)
    where (conversation.user_id, right(conversation.participant_digits, 10)) in (
        select changed.user_id, right(changed.phone_digits, 10) from changed
    )
    and conversation.person_id
    is distinct from private.match_person(conversation.user_id, conversation.participant_digits);
    return null;
end
$$;
comment on function private.rematch_conversations_trigger() is
'Trigger: after a contact came, went or changed number, the threads with that number are matched anew.';
