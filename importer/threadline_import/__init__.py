"""Reads chat histories of WhatsApp, Telegram, Signal and WeChat and sends them to messaging-ingest."""
