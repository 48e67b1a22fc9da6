"""Golden tiles: fixed patches, the vectors that a model gave for them once, and whether it still does.

The patches and the file, the comparison with its tolerances, and the checks while an encoder runs. No runtime
is known here: whatever embeds patches can be held to a golden file.
"""
