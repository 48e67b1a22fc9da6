"""The page at ``/view``: slides, their tiles, and what a browser needs to show what embeddings see.

A door beside the service's others, loaded only where ``PATHSERVE_VIEW`` is set. It embeds nothing itself: the
page sends patches to the predict route. What is computed over embeddings, the page computes (``static/js``).
"""
