"""HTTP/1.1 from and to clients: connections, heads, bodies, pace, turns and hang-ups, on one event loop.

Bytes only: it knows no route and no JSON but that of a refusal. All knowledge of gunicorn belongs here.
"""
