"""Who may do what: tokens, roles, scopes and shares; and the audit trail of what they did.

No HTTP and no DICOM: an Authorization header's text goes in, a ``Caller`` or a ``ServiceError`` comes out.
"""
