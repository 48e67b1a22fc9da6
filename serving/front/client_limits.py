"""How long clients may take for what, and how much of theirs is held. Those of settings are not here."""

from __future__ import annotations

SILENCE_S = 60.0
"""A new connection may be silent for so long, as those that browsers and proxies open in advance are."""

HEAD_S = 15.0
"""From a head's first byte to its last."""

HANDSHAKE_S = 10.0
BODY_PACE = (100_000, 10.0)
"""Bytes that must arrive in so many seconds, unless the body ends before."""

READING_PACE_S = 30.0
"""A client that has taken nothing of its answer for so long is cut; however long the whole takes."""

LINGER_PACE_S = 5.0
LINGER_S = 120.0
"""What a refused client still sends is read and dropped, so that it gets to read the answer."""

SHORT_LINGER_S = 2.0
"""For who was refused for being slow."""

DRAIN_WAIT_S = 1.0
"""A drain closes silent connections, and ends half heads, only after so long: a request may be on its way."""

AHEAD_BYTES = 1 << 16
"""What comes while an earlier request is worked on; beyond, reading pauses."""

ANSWER_BYTES = 256 << 20
"""Bytes of answers that may wait for clients to read them; beyond, who stands still for longest is cut."""
