"""Webhook services: analyses of slides that another system asks for, as jobs over the embedder.

Floors, of which each imports only lower ones: ``jobs`` (the engine), ``transport`` (HTTP to another system)
and what is pure functions over arrays, then a folder for each service (its contract, its client, its door and
the handlers of its jobs), then ``service`` (the process group, where the services are mounted). Needs the
extra ``pathserve[webhooks]``; nothing of the plain service imports this folder.
"""
