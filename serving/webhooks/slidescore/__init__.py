"""Slide Score's external analyses: its contract with a webhook, and the part of its API that they use.

::

    door.py, documents.py  the routes
    body.py, answers.py    what Slide Score posts, and the regions in its answers
    servers.py             the servers that a token may go to
    api.py, client.py      its API: metadata, tile server, giving the token up; upload.py: results
    scale.py, tiles.py     which level and which tiles; each is fetched and decoded once
    region_image.py        squares of a slide as a source of patches, for the same encoder as all others
    plan.py, slide.py      which patches an analysis is made of, and their embeddings
    analysis.py, job.py    from there to what is shown; the handlers of the jobs
    results.py, anno2.py   what Slide Score shows, checked before it leaves
    webhook.py             all of it as the process group mounts it

Coordinates are pixels of the slide's largest level ("level 0"), x to the right and y down, unless a name
says otherwise. Names of images, cases and users are patient data: they are neither kept nor logged.
"""
