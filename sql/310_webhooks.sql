-- Webhooks: the URL to which the worker posts the messages of a twin's channels, and the secrets that sign them.
-- Promise: a secret is shown once and never leaves the database again (decision 0004). During a rotation, the new
-- secret and up to four old ones sign each delivery. 312_delivery_worker shows what a twin is sent.

create function private.is_webhook_url(p_url text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- No credentials, no fragment, and no character that needs encoding.
    v_parts text[] := regexp_match(
        p_url, '^https?://(\[([0-9a-fA-F:.]+)\]|[a-zA-Z0-9._-]+)(:([0-9]{1,5}))?([/?][!"$-~]*)?$'
    );
    v_host text := v_parts[1];
    c_label constant text := '[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?';
begin
    if v_parts is null or coalesce(v_parts[4], '1')::integer not between 1 and 65535 then
        return false;
    elsif v_parts[2] is not null then
        return family(v_parts[2]::inet) = 6;
    elsif v_host ~ '(^|[.])[0-9]+$' then
        -- A host that ends in a number is an IPv4 address.
        return v_host ~ '^[0-9]{1,3}([.][0-9]{1,3}){3}$' and family(v_host::inet) = 4;
    end if;
    return char_length(v_host) <= 253
        and v_host ~ ('^' || c_label || '([.]' || c_label || ')*$');
exception
    when data_exception then
        return false;
end
$$;
comment on function private.is_webhook_url(text) is
'Whether a text is an http or https URL with a valid host and port. The worker checks the address when it connects.';

create table public.twin_webhooks (
    ai_twin_id uuid primary key references public.ai_twins (id) on delete cascade,
    url text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unsubscribed_at timestamptz,
    constraint twin_webhooks_url_form check (private.is_webhook_url(url)),
    constraint twin_webhooks_url_length check (char_length(url) <= 2000)
);
comment on table public.twin_webhooks is
'The URL to which the worker posts the messages of a twin''s channels. A twin without one listens to Realtime.';
comment on column public.twin_webhooks.unsubscribed_at is
'When the webhook answered 410 Gone. It gets no more until the owner sets it again.';
alter table public.twin_webhooks enable row level security;

create table private.twin_secrets (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    inner_key bytea not null,
    outer_key bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint twin_secrets_keys_are_blocks check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
comment on table private.twin_secrets is
'Secrets that sign deliveries. A hash of a secret cannot sign, so this stores the two blocks that HMAC derives from it
(docs/explanation/decisions/0004).';
comment on column private.twin_secrets.expires_at is
'From this time on, the secret signs no delivery; null means never.';
create index twin_secrets_ai_twin_id_idx on private.twin_secrets (ai_twin_id);
alter table private.twin_secrets enable row level security;

create policy twin_webhooks_select_owner on public.twin_webhooks
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));
create policy twin_webhooks_delete_owner on public.twin_webhooks
for delete to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

create function private.sign_delivery(p_twin_id uuid, p_text text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg(
            'v1=' || encode(sha256(secret.outer_key || sha256(secret.inner_key || convert_to(p_text, 'UTF8'))), 'hex'),
            ',' order by secret.created_at desc, secret.id
        )
        from private.twin_secrets as secret
        where secret.ai_twin_id = p_twin_id and (secret.expires_at is null or secret.expires_at > now())
    );
end
$$;
comment on function private.sign_delivery(uuid, text) is
'Signs a text with each valid secret of a twin: HMAC-SHA256 in hex, newest secret first, separated by commas.';

-- Definer, because no client role may read or write secrets. It checks that the twin is the caller's.
create function private.rotate_twin_secret(p_twin_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := private.generate_secret();
begin
    perform from public.twin_webhooks as webhook
    inner join public.ai_twins as twin on webhook.ai_twin_id = twin.id
    where webhook.ai_twin_id = p_twin_id
        and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    for no key update of webhook;
    if not found then
        perform private.fail(
            404, 'webhook_not_found',
            'This twin is not yours or has no webhook. Check ai_twin_id, or set a webhook first.', 'ai_twin_id'
        );
    end if;
    -- Keeps four earlier secrets, because each delivery is signed with all of them. More would slow the worker, which
    -- serves all owners.
    delete from private.twin_secrets as secret
    where secret.id in (
        select old.id
        from private.twin_secrets as old
        where old.ai_twin_id = p_twin_id
        order by old.created_at desc, old.id
        offset 4
    );
    update private.twin_secrets as secret
    set expires_at = least(secret.expires_at, now() + p_overlap)
    where secret.ai_twin_id = p_twin_id;
    insert into private.twin_secrets (ai_twin_id, inner_key, outer_key)
    values (
        p_twin_id,
        private.hmac_block(convert_to(v_secret, 'UTF8'), 54),
        private.hmac_block(convert_to(v_secret, 'UTF8'), 92)
    );
    return v_secret;
end
$$;
comment on function private.rotate_twin_secret(uuid, interval) is
'Creates a secret for the webhook of the caller''s twin. The four secrets before it also sign deliveries until the
overlap ends. PT404 for other callers.';

-- Definer, because clients may not insert webhooks: the webhook would have no secret. It checks that the twin is the
-- caller's.
create function private.set_twin_webhook(p_twin_id uuid, p_url text) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_new boolean;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(
            404, 'twin_not_found', 'This twin does not exist or is not yours. Check ai_twin_id.', 'ai_twin_id'
        );
    end if;
    insert into public.twin_webhooks (ai_twin_id, url) values (p_twin_id, p_url)
    on conflict on constraint twin_webhooks_pkey do nothing;
    v_is_new := found;
    update public.twin_webhooks as webhook set url = p_url, unsubscribed_at = null
    where webhook.ai_twin_id = p_twin_id and (webhook.url <> p_url or webhook.unsubscribed_at is not null);
    return v_is_new;
end
$$;
comment on function private.set_twin_webhook(uuid, text) is
'Sets the webhook of the caller''s twin, which then gets messages again. Returns true if the twin had none before. PT404
for other callers.';

create function public.set_twin_webhook(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_url text := private.parse_text($1, 'url', 2000);
    v_is_new boolean := private.set_twin_webhook(v_twin_id, v_url);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'url', v_url,
        'secret', case when v_is_new then private.rotate_twin_secret(v_twin_id, interval '0') end
    ));
end
$$;
comment on function public.set_twin_webhook(jsonb) is
'Sets the webhook of a twin of the caller: ai_twin_id, url. The first answer contains the secret that signs deliveries,
which is shown only once. Later calls keep the secret and answer null.';

create function public.rotate_twin_secret(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_hours integer := private.parse_integer($1, 'overlap_hours', 0, 720, 24);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'secret', private.rotate_twin_secret(v_twin_id, make_interval(hours => v_hours)),
        'previous_secrets_expire_at', private.format_time(now() + make_interval(hours => v_hours))
    ));
end
$$;
comment on function public.rotate_twin_secret(jsonb) is
'Creates a secret for the webhook of a twin of the caller, which is shown only once: ai_twin_id, overlap_hours (0 to
720, default 24). Earlier secrets also sign deliveries until the overlap ends.';

create function public.remove_twin_webhook(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
begin
    delete from public.twin_webhooks as webhook where webhook.ai_twin_id = v_twin_id;
    if not found then
        perform private.fail(
            404, 'webhook_not_found',
            'This twin is not yours or has no webhook. Check ai_twin_id, or set a webhook first.', 'ai_twin_id'
        );
    end if;
    return private.succeed(jsonb_build_object('ai_twin_id', v_twin_id));
end
$$;
comment on function public.remove_twin_webhook(jsonb) is
'Removes the webhook of a twin of the caller, its secrets and its deliveries: ai_twin_id.';
