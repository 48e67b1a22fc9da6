"""The page at ``/store``: what is here, for people; its files, and what DICOMweb does not answer.

The page itself (``static``) asks DICOMweb and the door of shares like any other client, with the token that
its user enters. Nothing here knows more than the caller's token allows.
"""
