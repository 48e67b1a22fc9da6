"""What the service says about itself: log lines and metrics.

Never a token, a URL of a store's object, or anything of a patient.
"""
