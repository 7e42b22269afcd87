"""What stands in for Supabase Realtime: broadcast, presence and changes of the database over one WebSocket."""
