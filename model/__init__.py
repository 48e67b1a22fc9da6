"""The encoder: loading a model, running it in batches, and the way patches get to it and back."""
