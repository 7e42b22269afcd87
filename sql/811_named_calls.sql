-- Like 810_named_messages, for files, twins, exports, people and operators.

create function public.begin_upload(
    conversation_id uuid, files jsonb, conversation_type text default null, workspace_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.begin_upload(jsonb_build_object(
        'conversation_id', begin_upload.conversation_id, 'files', begin_upload.files,
        'conversation_type', begin_upload.conversation_type, 'workspace_id', begin_upload.workspace_id
    ));
end
$$;
comment on function public.begin_upload(uuid, jsonb, text, uuid) is
'First half of an upload to the channel conversation_id: files is an array of objects with name. Returns the id and path
that each file is to have in the bucket attachments.';

create function public.finish_upload(
    conversation_id uuid, files jsonb, conversation_type text default null, workspace_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.finish_upload(jsonb_build_object(
        'conversation_id', finish_upload.conversation_id, 'files', finish_upload.files,
        'conversation_type', finish_upload.conversation_type, 'workspace_id', finish_upload.workspace_id
    ));
end
$$;
comment on function public.finish_upload(uuid, jsonb, text, uuid) is
'Second half of an upload, once Storage has the files: files is an array of objects with id and name. Safe to repeat.';

create function public.get_attachment(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.get_attachment(jsonb_build_object('id', get_attachment.id));
end
$$;
comment on function public.get_attachment(uuid) is
'Returns the facts of an uploaded file, with its path in the bucket attachments.';

create function public.set_twin_webhook(ai_twin_id uuid, url text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.set_twin_webhook(jsonb_build_object(
        'ai_twin_id', set_twin_webhook.ai_twin_id, 'url', set_twin_webhook.url
    ));
end
$$;
comment on function public.set_twin_webhook(uuid, text) is
'Sets the webhook of a twin of the caller. The first answer has the secret that signs deliveries, shown only once.';

create function public.rotate_twin_secret(ai_twin_id uuid, overlap_hours integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.rotate_twin_secret(jsonb_build_object(
        'ai_twin_id', rotate_twin_secret.ai_twin_id, 'overlap_hours', rotate_twin_secret.overlap_hours
    ));
end
$$;
comment on function public.rotate_twin_secret(uuid, integer) is
'Makes a new secret for the webhook of a twin of the caller. Earlier ones also sign until the overlap ends: 0 to 720
hours, default 24.';

create function public.remove_twin_webhook(ai_twin_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.remove_twin_webhook(jsonb_build_object('ai_twin_id', remove_twin_webhook.ai_twin_id));
end
$$;
comment on function public.remove_twin_webhook(uuid) is
'Removes the webhook of a twin of the caller, its secrets and its deliveries.';

create function public.list_twin_deliveries(
    ai_twin_id uuid, state text default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_twin_deliveries(jsonb_build_object(
        'ai_twin_id', list_twin_deliveries.ai_twin_id, 'state', list_twin_deliveries.state,
        'limit', list_twin_deliveries."limit"
    ));
end
$$;
comment on function public.list_twin_deliveries(uuid, text, integer) is
'Lists the deliveries to a twin of the caller, newest first. state is pending, delivered or dead; without it, the list
has all states. limit is 1 to 200, default 50.';

create function public.replay_twin_deliveries(ai_twin_id uuid, id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.replay_twin_deliveries(jsonb_build_object(
        'ai_twin_id', replay_twin_deliveries.ai_twin_id, 'id', replay_twin_deliveries.id
    ));
end
$$;
comment on function public.replay_twin_deliveries(uuid, uuid) is
'Sends the dead deliveries to a twin of the caller again, or only the one with this id.';

create function public.export_conversation(
    conversation_id uuid, "limit" integer default null, after text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.export_conversation(jsonb_build_object(
        'conversation_id', export_conversation.conversation_id, 'limit', export_conversation."limit",
        'after', export_conversation.after
    ));
end
$$;
comment on function public.export_conversation(uuid, integer, text) is
'Returns messages of a conversation of the caller in their order. limit is at most 1000, default 500; after is
meta.next_cursor of the page before.';

create function public.export_channel(
    channel_id uuid, "limit" integer default null, after text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.export_channel(jsonb_build_object(
        'channel_id', export_channel.channel_id, 'limit', export_channel."limit", 'after', export_channel.after
    ));
end
$$;
comment on function public.export_channel(uuid, integer, text) is
'Returns messages of a channel of the caller, oldest first, with reactions and edits. limit is at most 1000, default
500; after is meta.next_cursor of the page before.';

create function public.merge_people(person_id uuid, merged_person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.merge_people(jsonb_build_object(
        'person_id', merge_people.person_id, 'merged_person_id', merge_people.merged_person_id
    ));
end
$$;
comment on function public.merge_people(uuid, uuid) is
'Makes merged_person_id the same person as person_id: conversations of both match person_id. unmerge_people undoes it.';

create function public.unmerge_people(person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.unmerge_people(jsonb_build_object('person_id', unmerge_people.person_id));
end
$$;
comment on function public.unmerge_people(uuid) is
'Undoes the merge of person_id into another person.';

create function public.change_number(person_id uuid, phone text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.change_number(jsonb_build_object(
        'person_id', change_number.person_id, 'phone', change_number.phone
    ));
end
$$;
comment on function public.change_number(uuid, text) is
'Gives person_id the number phone and keeps the former one, so that conversations of both match.';

create function public.undo_number_change(person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.undo_number_change(jsonb_build_object('person_id', undo_number_change.person_id));
end
$$;
comment on function public.undo_number_change(uuid) is
'Undoes the last change_number of person_id.';

create function public.erase_person(person_id uuid, conversation_ids uuid[] default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.erase_person(jsonb_build_object(
        'person_id', erase_person.person_id, 'conversation_ids', erase_person.conversation_ids
    ));
end
$$;
comment on function public.erase_person(uuid, uuid[]) is
'Erases a person of the caller, the matched conversations, and those of conversation_ids, with their messages. Returns
the receipt.';

create function public.erase_user(user_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.erase_user(jsonb_build_object('user_id', erase_user.user_id));
end
$$;
comment on function public.erase_user(uuid) is
'For operators: erases a user with all rows, messages and files. Returns the receipt.';

create function public.claim_deliveries("limit" integer default null, lease_seconds integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.claim_deliveries(jsonb_build_object(
        'limit', claim_deliveries."limit", 'lease_seconds', claim_deliveries.lease_seconds
    ));
end
$$;
comment on function public.claim_deliveries(integer, integer) is
'For workers: leases deliveries to webhooks and returns id, lease, url, headers and body of each. limit is 1 to 1000,
default 10; lease_seconds is 1 to 3600, default 60.';

create function public.finish_delivery(
    id uuid, lease uuid, status integer default null, error text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.finish_delivery(jsonb_build_object(
        'id', finish_delivery.id, 'lease', finish_delivery.lease, 'status', finish_delivery.status,
        'error', finish_delivery.error
    ));
end
$$;
comment on function public.finish_delivery(uuid, uuid, integer, text) is
'For workers: stores the result of a delivery. status is the answer of the webhook; error is null if it succeeded.
Returns its state.';

create function public.clean_up("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.clean_up(jsonb_build_object('limit', clean_up."limit"));
end
$$;
comment on function public.clean_up(integer) is
'For the service: runs one round of clean-up of at most limit rows of each kind, default 10000. Returns the number of
removed rows by kind.';

create function public.sweep_attachments("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.sweep_attachments(jsonb_build_object('limit', sweep_attachments."limit"));
end
$$;
comment on function public.sweep_attachments(integer) is
'For sweepers: deletes rows of old files that no message names, and returns paths in the bucket attachments without a
row.';

create function public.read_metrics() returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.read_metrics('{}'::jsonb);
end
$$;
comment on function public.read_metrics() is
'For the service: returns an array of gauges, each with name, help, labels and value.';
