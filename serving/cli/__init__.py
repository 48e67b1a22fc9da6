"""The commands that embed, check and print; the only room that writes to a terminal.

They call the same core as the service. Nothing imports this room but ``serving.__main__``.
"""
