"""``pathserve archive``: slides by the thousand through an engine for distributed work, each exactly once.

Floor 7. What a worker does with a slide is that of ``pathserve embed`` (``serving.batch``); what is written
where, and when it counts, is in ``layout`` and ``commit``; ``engine`` is all that knows Apache Beam, and
hands out nothing but names and numbers of blocks: no pixels, no vectors, no tokens.
"""
