"""Other stores: studies are sent to them and pulled from them, and exported for those that are not reached.

What is sent is what is here, de-identified; what is pulled comes in by ``ingest`` as through any door.
"""
