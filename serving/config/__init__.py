"""The settings: one frozen object of groups, read once from the environment by whoever starts the command.

What is not a setting (a credential that a library reads, TF_…) is not here, and nothing here opens anything.
Nothing below and beside reads the environment for a setting: children of the launcher are handed theirs.
"""
