"""The plain service beside a store of its own: a ``series_path`` of that is read from files, without HTTP.

A service that asked its own machine for frames by HTTP would wait for itself once all its threads do that.
``http`` is what the launcher starts instead of ``serving.processes.http`` where the settings name such a
store; without them, nothing of this is imported.
"""
