-- The schemas. `public` holds what clients reach: tables under row-level security and the functions of the Data API.
-- `private` holds the rest; the Data API must never list it among its exposed schemas.

-- `public` holds what clients may reach: tables under row-level security and the functions that are the API.
-- `private` holds the rest. It must never be listed among the exposed schemas of the Data API.
create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. Not reachable through the Data API.';
