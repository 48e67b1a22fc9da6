"""The processes of the service: the launcher, its HTTP workers, the encoder; and their composition.

Mains, signals, supervision and environments of children. The one place where settings become objects.
"""
