"""What can be measured of a patch's pixels beside its vector: names here, definitions one file each.

Floor 9: over slides, whose rule for tissue is the one here. ``measures`` imports no decoder: clients have it.
"""
