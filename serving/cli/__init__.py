"""The commands for people: ``pathserve embed``, ``head`` and ``check``; results go to standard output.

They call the same core as the service. Only ``serving.__main__`` imports them.
"""
