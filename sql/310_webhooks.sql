-- Webhooks of twins and the secrets that sign what is sent there.

create table public.twin_webhooks (
    ai_twin_id uuid primary key references public.ai_twins (id) on delete cascade,
    url text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- No credentials, no fragment, nothing to encode. Where it leads to is checked when the worker connects.
    constraint twin_webhooks_url_form check (
        url ~ '^https?://([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?([/?][!"$-~]*)?$'
    ),
    constraint twin_webhooks_url_length check (char_length(url) <= 2000)
);
comment on table public.twin_webhooks is
'The URL that gets the messages of a twin''s channels. A twin without one listens to Realtime instead.';
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
'What deliveries are signed with. Unlike a key that only opens, one that signs cannot be kept as a hash; it is kept as
the two blocks that HMAC makes of it, and never leaves the database (docs/explanation/decisions/0004).';
comment on column private.twin_secrets.expires_at is 'Nothing is signed with it from this moment on; null means never.';
create index twin_secrets_ai_twin_id_idx on private.twin_secrets (ai_twin_id);
alter table private.twin_secrets enable row level security;

create policy twin_webhooks_select_owner on public.twin_webhooks
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));
create policy twin_webhooks_delete_owner on public.twin_webhooks
for delete to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

create function private.sign_delivery(p_twin_id uuid, p_text text) returns text
language sql
stable
set search_path = ''
as $$
    select string_agg(
        'v1=' || encode(sha256(secret.outer_key || sha256(secret.inner_key || convert_to(p_text, 'UTF8'))), 'hex'),
        ',' order by secret.created_at desc, secret.id
    )
    from private.twin_secrets as secret
    where secret.ai_twin_id = p_twin_id and (secret.expires_at is null or secret.expires_at > now())
$$;
comment on function private.sign_delivery(uuid, text) is
'HMAC-SHA256 of a text with each secret of a twin that is good now, the newest first.';

-- Definer, because no client role may touch the secrets: it asks itself whose twin it is.
create function private.rotate_twin_secret(p_twin_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = ''
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
        perform private.fail(404, 'webhook_not_found', 'You have no such twin, or it has no webhook.', 'ai_twin_id');
    end if;
    -- Every delivery is signed with all that are left, and each owner's deliveries are made by the same worker.
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
'A new secret for the webhook of the caller''s twin; deliveries carry signatures of the four before it, too, until the
overlap is over. PT404 for anyone else.';

-- Definer, because a webhook that a client inserted by itself would have no secret.
create function private.set_twin_webhook(p_twin_id uuid, p_url text) returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_is_new boolean;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(404, 'twin_not_found', 'You have no such twin.', 'ai_twin_id');
    end if;
    insert into public.twin_webhooks (ai_twin_id, url) values (p_twin_id, p_url)
    on conflict on constraint twin_webhooks_pkey do nothing;
    v_is_new := found;
    update public.twin_webhooks as webhook set url = p_url
    where webhook.ai_twin_id = p_twin_id and webhook.url <> p_url;
    return v_is_new;
end
$$;
comment on function private.set_twin_webhook(uuid, text) is
'Sets the webhook of the caller''s twin. Answers whether it is the first one. PT404 for other callers.';

create function public.set_twin_webhook(jsonb) returns json
language plpgsql
set search_path = ''
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
'Sets the webhook of a twin of the caller: ai_twin_id, url. The first time, the answer holds the secret that deliveries
are signed with, this once; afterwards secret is null and stays what it was.';

create function public.rotate_twin_secret(jsonb) returns json
language plpgsql
set search_path = ''
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
'A new secret for the webhook of a twin of the caller, shown this once: ai_twin_id, and optionally overlap_hours (24,
at most 720), during which deliveries are signed with the earlier ones as well.';

create function public.remove_twin_webhook(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
begin
    delete from public.twin_webhooks as webhook where webhook.ai_twin_id = v_twin_id;
    if not found then
        perform private.fail(404, 'webhook_not_found', 'You have no such twin, or it has no webhook.', 'ai_twin_id');
    end if;
    return private.succeed(jsonb_build_object('ai_twin_id', v_twin_id));
end
$$;
comment on function public.remove_twin_webhook(jsonb) is
'Removes the webhook of a twin of the caller, with its secrets and all that was to be delivered there: ai_twin_id.';
