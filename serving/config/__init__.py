"""The settings: one frozen object of groups, read once from the environment when the command starts.

What is not a setting (a credential that a library reads, TF_…) is not here, and nothing here opens anything.
Nothing else reads the environment for a setting: the launcher's children are handed theirs.
"""
