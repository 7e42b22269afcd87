-- The schemas. `public` holds what clients reach: tables under row-level security and the functions of the Data API.
-- `private` holds the rest; the Data API must never list it among its exposed schemas.

create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. The Data API does not expose it.';
