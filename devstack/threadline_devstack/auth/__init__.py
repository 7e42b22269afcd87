"""What stands in for Supabase Auth: users with passwords, their sessions and tokens, and the key that proves them."""
