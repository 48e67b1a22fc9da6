"""The service: HTTP, the request path, errors, settings, and the command that starts it all."""
