"""A slide of a batch job: named, opened, planned in chunks of patches, and embedded by the service's core.

Floor 6: ``pathserve embed`` and ``pathserve archive`` are two ways to run through slides with
what is here. It writes nothing, prints nothing, and knows no engine.
"""
