"""Images: the sources that patches are read from, their geometry, and their colours."""
