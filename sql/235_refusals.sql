-- Refusals of statements that clients may not run, each with the function to call instead.
-- Clients have the privilege and no policy, because without the privilege Postgres would say only "permission denied".

-- Invoker, because row_security_active is then true for a client, and false for our functions and service_role.
create function private.refuse_statement_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active(tg_relid) then
        raise insufficient_privilege using
            message = format('Clients do not %s rows of %s.', lower(tg_op), tg_table_name),
            hint = format('Call the function %s.', tg_argv[0]);
    end if;
    return null;
end
$$;
comment on function private.refuse_statement_trigger() is
'Trigger: refuses a statement of a client, and names the function to call in the hint. Argument: that function.';

-- Invoker, as above.
create function private.protect_message_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active(tg_relid) then
        raise insufficient_privilege using
            message = 'Only the content of a message can change.',
            hint = 'Call the function edit_message.';
    end if;
    return new;
end
$$;
comment on function private.protect_message_trigger() is
'Trigger: refuses a client''s change of any column of a message but content. An upsert with equal values passes.';
