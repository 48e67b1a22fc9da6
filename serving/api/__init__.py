"""The Path Foundation predict API: JSON to typed instances, outcomes to JSON, and its published schemas.

No socket, no image and no model is opened here. Names of fields and what to do about a wrong one belong here.
"""
