"""How an instance comes in, by whatever door: received, checked, cleaned, placed, indexed, audited.

Nothing here knows HTTP or DIMSE: doors write an ``Arrival``, and tell their peer the ``Outcome``.
"""
