"""The service: HTTP, the request path, errors, settings, and the commands.

Floors, of which each imports only lower ones: ``config``, ``errors``, ``telemetry`` and ``output``, then
``front`` (HTTP/1.1) and ``pipeline`` (the core), then ``api``, then ``http`` (doors) and ``client``, then
``processes``, then ``webhooks``, then ``cli`` and ``__main__``. Only ``config`` reads settings from the
environment, and ``processes`` (for webhooks, ``webhooks.service``) composes objects from them.
"""
