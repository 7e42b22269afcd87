-- Ingest, fifth part: what became of each conversation of a request, and the answer that says it.
-- Promise: one result for each conversation, in the order of the request.

create function private.list_results(
    p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb, p_counts private.ingest_count[]
) returns private.ingest_result[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select result::private.ingest_result
        from (
            select
                p_ids[given.position] as conversation_id,
                given.external_id,
                case
                    when given.error is not null then 'error: ' || given.error
                    when p_created ? given.external_id and row_number() over (
                        partition by given.external_id, given.error is null order by given.position
                    ) = 1 then 'created'
                    when counted.added > 0 or counted.updates_added > 0 then 'updated'
                    else 'no_new_messages'
                end as status,
                coalesce(counted.added, 0) as messages_added,
                counted.conflicts,
                counted.updates_added,
                counted.updates_waiting,
                null::jsonb as uploads,
                null::integer as uploads_refused
            from unnest(p_conversations) as given
            left join unnest(p_counts) as counted on given.position = counted.parent
            order by given.position
        ) as result
    );
end
$$;
comment on function private.list_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_count[]) is
'What became of each conversation of a request, in its order.';

create function private.render_results(p_results private.ingest_result[]) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select json_build_object(
            'success', true,
            'processed', count(*) filter (where result.conversation_id is not null),
            'results', coalesce(json_agg(case
                when result.conversation_id is null then json_build_object(
                    'conversation_id', null, 'external_conversation_id', result.external_id,
                    'messages_added', 0, 'status', result.status
                )
                when num_nonnulls(result.updates_added, result.uploads) > 0 then json_strip_nulls(json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status, 'conflicting_message_ids', result.conflicts,
                    'updates_added', result.updates_added, 'updates_waiting', result.updates_waiting,
                    'uploads', private.render_uploads(result.uploads), 'uploads_refused', result.uploads_refused
                ))
                when result.conflicts is not null then json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status, 'conflicting_message_ids', result.conflicts
                )
                else json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status
                )
            end), '[]')
        )
        from unnest(p_results) as result
    );
end
$$;
comment on function private.render_results(private.ingest_result[]) is
'The answer to a request: one result for each conversation, in the order of the request.';
