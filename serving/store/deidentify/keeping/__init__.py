"""What may stay of a data set, and why: attributes, vocabularies, codes. Pure functions over values.

A value stays because it is a number, a word of a vocabulary or a known code, or else something stands for it.
Text is never kept for looking harmless.
"""
