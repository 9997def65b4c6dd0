"""Jackline runs AI agents on long tasks and lets people watch, approve and stop them from anywhere."""
