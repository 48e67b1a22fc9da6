"""Heads at work: what they find on a slide, and their training. The heads themselves are ``serving.heads``.

Imports ``analyses``, which does not know it. Only ``vectors`` and the labels touch the disk.
"""
