"""Techcyte's external algorithms: its contract with a webhook, and the part of its API that they use.

::

    door.py, documents.py  the routes
    trigger.py             what Techcyte posts: a task, its scans and their presigned links
    links.py, download.py  a scan's files: from where, how many bytes, whole or not at all
    file_kinds.py          what a file is, by its first bytes; unpacking.py: ZIPs, within bounds
    scratch.py             a folder for each task on this machine's disk
    slide_patches.py       the patches of a slide that show tissue, and their embeddings
    analysis.py            one analysis of one scan; reference.py: what ``similar`` looks for
    findings.py, qc.py     what each analysis gives; shown.py: as tables, areas and contours
    reports/               what Techcyte takes, typed and checked; stands alone
    task.py, job.py        from a trigger to a posting; the handlers of the jobs
    server.py, client.py   its API; tokens.py: who may speak to it
    posting.py             results are posted once, or parked for a person
    webhook.py             all of it as the process group mounts it

``reports`` may be used with other people's models. Coordinates are pixels of a scan's largest level, x to the
right and y down. Names of files, cases and companies are neither kept nor logged; links open slides and are
treated as the secrets that they are.
"""
