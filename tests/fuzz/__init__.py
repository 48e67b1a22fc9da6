"""Bad input in bulk: mutated requests, images, frames, metadata and multipart answers."""
