"""``make bench``: the service beside the bare encoder, in one run, as ratios."""
