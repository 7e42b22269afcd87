"""Threadline: a messaging backend that lives inside your own Supabase project."""

__version__ = "0.1.0"
