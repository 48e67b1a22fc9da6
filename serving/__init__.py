"""The service: HTTP, the request path, errors, settings, and the commands.

Floors, of which each imports only lower ones: ``config``, ``errors``, ``telemetry`` and ``output``, then
``front`` (HTTP/1.1) and ``pipeline`` (the core), then ``api``, then ``http`` (doors), ``client`` and
``webhooks``, then ``processes``, then ``cli`` and ``__main__``. Only ``config`` reads settings from the
environment, and ``processes`` composes objects from them.
"""
