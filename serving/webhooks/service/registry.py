"""All webhook services: a new one is a folder, and a line here."""

from __future__ import annotations

from serving.webhooks.slidescore.webhook import SLIDESCORE
from serving.webhooks.techcyte.webhook import TECHCYTE
from serving.webhooks.webhook import Webhook

WEBHOOKS: tuple[Webhook, ...] = (SLIDESCORE, TECHCYTE)
