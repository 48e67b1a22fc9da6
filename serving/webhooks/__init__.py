"""Webhook services: what a viewer or a laboratory's system asks for, and how it is computed and sent back.

``analyses`` and ``heads`` are pure: arrays and shapes in, records out. They know no service, no job and no
socket. What they need beyond the plain service is the extra ``pathserve[webhooks]``.
"""
