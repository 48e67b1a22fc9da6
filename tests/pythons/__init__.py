"""Every Python that the project says it runs on."""
