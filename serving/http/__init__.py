"""The WSGI application: routes, and what each does with a whole request.

A door is one file. No socket is touched here, and no thread started.
"""
