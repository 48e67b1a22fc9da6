"""Jobs that survive their processes: tables in SQLite or PostgreSQL, leases, a runner, and a ledger.

No HTTP, no slides, no service's contract: a job is a kind, bytes and perhaps a secret.
"""
