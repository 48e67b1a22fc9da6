"""How an instance comes in, whatever door it came through: received, checked, cleaned, placed, indexed, audited.

Nothing here knows HTTP or DIMSE: doors write what arrives to an ``Arrival`` and tell their peer the ``Outcome``.
"""
