-- Buckets and objects as rows. The Storage API keeps the bytes.

set local role supabase_storage_admin;

create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');

create table storage.buckets (
    id text not null,
    name text not null,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    public boolean default false,
    avif_autodetection boolean default false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text,
    type storage.buckettype not null default 'STANDARD',
    versioning_status text not null default 'DISABLED',
    constraint buckets_pkey primary key (id),
    constraint buckets_versioning_dark_check check (versioning_status = 'DISABLED')
);
create unique index bname on storage.buckets (name);

create table storage.objects (
    id uuid not null default gen_random_uuid(),
    bucket_id text,
    name text,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_accessed_at timestamptz default now(),
    metadata jsonb,
    path_tokens text[] generated always as (string_to_array(name, '/')) stored,
    version text,
    owner_id text,
    user_metadata jsonb,
    archived_at timestamptz,
    is_delete_marker boolean not null default false,
    is_versioned boolean not null default false,
    constraint objects_pkey primary key (id),
    constraint "objects_bucketId_fkey" foreign key (bucket_id) references storage.buckets (id)
);
create unique index bucketid_objname on storage.objects (bucket_id, name);

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant all on storage.buckets, storage.objects to postgres with grant option;

create function storage.foldername(name text) returns text[]
language plpgsql immutable
as $$
declare
    v_parts text[] := string_to_array(foldername.name, '/');
begin
    return v_parts[1:array_length(v_parts, 1) - 1];
end
$$;

create function storage.filename(name text) returns text
language plpgsql immutable
as $$
declare
    v_parts text[] := string_to_array(filename.name, '/');
begin
    return v_parts[array_length(v_parts, 1)];
end
$$;

-- A name without a dot is its own extension, as on the platform.
create function storage.extension(name text) returns text
language plpgsql immutable
as $$
begin
    return split_part(storage.filename(extension.name), '.', -1);
end
$$;

-- The current operation of the Storage API, for example storage.object.upload.
create function storage.operation() returns text
language plpgsql stable
as $$
begin
    return current_setting('storage.operation', true);
end
$$;

-- The next two functions take names with or without the prefix "storage.".

create function storage.allow_only_operation(expected_operation text) returns boolean
language sql stable
as $$
    select coalesce(
        regexp_replace(storage.operation(), '^storage\.', '')
        = nullif(regexp_replace(expected_operation, '^storage\.', ''), ''),
        false
    );
$$;

create function storage.allow_any_operation(expected_operations text[]) returns boolean
language sql stable
as $$
    select exists (
        select
        from unnest(expected_operations) as expected (operation)
        where storage.allow_only_operation(expected.operation)
    );
$$;

create function storage.enforce_bucket_name_length() returns trigger
language plpgsql
as $$
begin
    if length(new.name) > 100 then
        raise exception 'bucket name "%" is too long (% characters). Max is 100.', new.name, length(new.name);
    end if;
    return new;
end
$$;

create trigger enforce_bucket_name_length_trigger
before insert or update of name on storage.buckets
for each row execute function storage.enforce_bucket_name_length();

create function storage.update_updated_at_column() returns trigger
language plpgsql
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

create trigger update_objects_updated_at
before update on storage.objects
for each row execute function storage.update_updated_at_column();

-- Deleting a row with SQL would leave its bytes behind.
create function storage.protect_delete() returns trigger
language plpgsql
as $$
begin
    if current_setting('storage.allow_delete_query', true) is distinct from 'true' then
        raise insufficient_privilege using
            message = 'Direct deletion from storage tables is not allowed. Use the Storage API instead.',
            hint = 'This prevents accidental data loss from orphaned objects.';
    end if;
    return null;
end
$$;

create trigger protect_buckets_delete
before delete on storage.buckets
for each statement execute function storage.protect_delete();

create trigger protect_objects_delete
before delete on storage.objects
for each statement execute function storage.protect_delete();

reset role;
