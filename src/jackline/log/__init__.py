"""The durable log of each run: memory, SQLite, Redis or Valkey."""
