"""The local stack behind `threadline up`: Postgres, what stands in for Supabase, and the HTTP API."""
