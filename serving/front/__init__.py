"""HTTP/1.1 from and to clients: connections, heads, bodies, pace, turns and hang-ups, on one event loop.

Bytes only: no route, no JSON, no Flask; whatever answers is an ``HttpApplication``. gunicorn is
imported in this folder and nowhere else.
"""
