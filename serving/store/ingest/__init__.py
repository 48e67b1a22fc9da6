"""How an instance comes in, by whatever door: received, checked, cleaned, placed, indexed, audited.

Nothing here knows HTTP or DIMSE: doors write what comes to an ``Arrival`` and tell their peer the ``Outcome``.
"""
