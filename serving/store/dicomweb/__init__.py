"""DICOMweb over the index and the files: searching (QIDO-RS), retrieving (WADO-RS), storing and deleting.

PS3.18, section 10. Nothing is read whole: answers are generators that read pieces of files as they are sent.
"""
