"""The index: which instances there are, what they are searched by, and where their frames are in their files.

``record_of`` reads a file once, when it comes in; the rest is asked of tables, in SQLite or PostgreSQL. No
HTTP; a file is looked into again only for bulk data.
"""
