"""``pathserve store``: the commands of the slide store, each a file."""
