"""The process group ``pathserve webhooks``: launcher, HTTP workers, runner, and what they are made of.

The one place that knows all webhook services (``registry.py``); here settings become their objects.
"""
