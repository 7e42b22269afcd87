-- The default since 2026: an API role gets only what a grant names. Legacy mode skips this file.
-- These stay: truncate, references, trigger on tables; update on sequences; execute to public.

alter default privileges for role postgres in schema public
revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke execute on functions from anon, authenticated, service_role;
