"""The container images, built and run for real where the machine can."""
