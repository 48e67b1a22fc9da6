"""The settings: one frozen object, read once from the environment by whoever starts a process.

Nothing below reads the environment for a setting, and nothing here opens anything.
"""
