"""Where an archive's output is: a folder or a bucket, behind the few operations that both have.

The one that counts is ``add``: an object appears whole, and only where there is none. So two workers may do
the same block, and a killed one leaves nothing that is half there.
"""
