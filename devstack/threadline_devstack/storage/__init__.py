"""A stand-in for Supabase Storage: rows in `storage.objects` under the caller's policies, bytes in the home."""
