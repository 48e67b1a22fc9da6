"""Slide Score's external analyses: its contract with a webhook, and the part of its API that they use.

::

    body.py, answers.py    what Slide Score posts, and the regions in its answers
    transport.py           HTTP to one server: bounded, nowhere else, six requests at a time
    client.py              the API: metadata, tile server, upload, giving the token up
    scale.py, tiles.py     which level and which tiles; each is fetched and decoded once
    region_image.py        a region of a slide as a source of patches, for the same encoder as all others
    plan.py                which patches an analysis is made of
    results.py, anno2.py   what Slide Score shows, checked before it leaves

Coordinates are pixels of the slide's largest level ("level 0"), x to the right and y down, unless a name
says otherwise. Names of images, cases and users are patient data: they are neither kept nor logged.
"""
