"""Jobs that survive their processes: one table in SQLite or PostgreSQL, leases, and a runner.

No HTTP, no slides, no service's contract: a job is a kind, bytes and perhaps a secret.
"""
