"""Threadline in the user's own Supabase project: what `threadline add`, `remove` and `sql` do."""
