"""What a KME keeps: link key and supply keys under seal, the ledger of every bit, in SQLite or PostgreSQL."""
