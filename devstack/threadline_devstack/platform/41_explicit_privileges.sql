-- The default since 2026: an API role gets no data it was not granted by name. Left out for the legacy mode.
-- What is not revoked stays: truncate, references, trigger on tables; update on sequences; execute to public.

alter default privileges for role postgres in schema public
revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke execute on functions from anon, authenticated, service_role;
