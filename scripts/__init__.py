"""Tools of the repository: what `make` runs beside the product."""
