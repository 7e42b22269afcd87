-- POST /functions/v1/messaging-ingest: checks the key and the limits, stores the request and writes the log.
-- Promise: the answer says what was stored, and every failed check has the error of the ingest document.

create function private.refuse_ingest(p_status integer, p_error text) returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('response.status', p_status::text, true);
    return json_build_object('error', p_error);
end
$$;
comment on function private.refuse_ingest(integer, text) is
'An error in the shape of the ingest document. The status reaches HTTP as PostgREST and the gateway define it.';

create function private.parse_ingest_head(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_body json := private.decode_text(p_body)::json;
begin
    return (
        select jsonb_object_agg(
            field.name,
            case
                when json_typeof(v_body -> field.name) = 'array' then '[]'::jsonb
                when json_typeof(v_body -> field.name) = 'object' then '{}'::jsonb
                else (v_body -> field.name)::jsonb
            end
        )
        from unnest('{platform,connection_id,conversations}'::text[]) as field (name)
    );
end
$$;
comment on function private.parse_ingest_head(bytea) is
'The fields of a request that its first checks read, with empty arrays and objects. Does not turn the body into jsonb,
because that sorts the keys of each object, in a time that can grow with the square of their number.';

create function public.messaging_ingest(bytea) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-api-key';
    v_is_known boolean;
    v_request jsonb;
    v_conversations jsonb;
    v_platform text;
    v_connection_id text;
    v_source private.ingest_source;
    v_limit integer := (select settings.ingest_max_messages from private.settings);
    v_size bigint;
    v_results private.ingest_result[];
begin
    if coalesce(v_secret, '') = '' then
        return private.refuse_ingest(401, 'Missing x-api-key header');
    end if;
    begin
        -- Requests without a valid key fail anyway, so that their bodies must cost little.
        v_is_known := private.is_valid_key(v_secret);
        v_request := case when v_is_known then private.parse_json($1) else private.parse_ingest_head($1) end;
    exception
        when data_exception or statement_too_complex or program_limit_exceeded then
            return private.refuse_ingest(400, 'Request body is not valid JSON');
    end;
    v_platform := private.scalar_text(v_request, 'platform');
    v_connection_id := private.scalar_text(v_request, 'connection_id');
    -- Once, because each `->` copies them.
    v_conversations := v_request -> 'conversations';
    if coalesce(v_platform, '') = ''
        or coalesce(v_connection_id, '') = ''
        or coalesce(jsonb_typeof(v_conversations), 'null') = 'null'
    then
        return private.refuse_ingest(400, 'Missing required fields: platform, connection_id, conversations');
    end if;
    if jsonb_typeof(v_conversations) <> 'array' then
        return private.refuse_ingest(400, 'conversations must be an array');
    end if;

    v_source := private.authenticate_connection(v_platform, v_connection_id, v_secret);
    if v_source.id is null then
        return private.refuse_ingest(401, 'Invalid connection_id or platform');
    elsif v_source.key_id is null or not v_is_known then
        perform private.record_refusal(v_source, 401);
        return private.refuse_ingest(401, 'Invalid API key');
    elsif not v_source.is_active then
        perform private.record_refusal(v_source, 403);
        return private.refuse_ingest(403, 'Connection is inactive');
    end if;

    v_size := private.count_messages(v_conversations);
    if v_size > v_limit then
        perform private.record_refusal(v_source, 413);
        return private.refuse_ingest(413, format('Too many messages: at most %s in one request', v_limit));
    end if;
    v_results := private.store_conversations(v_source, v_conversations);
    if v_source.stores_media or v_request -> 'media_uploads' = 'true' then
        v_results := private.offer_uploads(v_source, v_conversations, v_results);
    end if;
    perform private.record_ingest(v_source, v_size, v_results);
    return private.render_results(v_results);
end
$$;
comment on function public.messaging_ingest(bytea) is
'The ingest endpoint: the raw body as its one argument, x-api-key among request.headers; answers as the document says,
errors included, with response.status set. Only the two doors, the service and the Edge Function, may call it.';
