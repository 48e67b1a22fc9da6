"""The WSGI application: doors, and how errors become answers.

A door is one file with one blueprint, and one line in ``app.py``. No socket is touched here, and no
thread started: what a door needs, it is given. Waiting for clients belongs in ``serving.front``.
"""
