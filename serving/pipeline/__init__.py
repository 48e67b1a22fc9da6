"""The core: typed instances in, one outcome for each of them out, vectors or a fault.

Opening, fetching, decoding and embedding overlap here, with bounds on what is held. No JSON, no HTTP.
"""
