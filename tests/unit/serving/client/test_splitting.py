from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from serving.client import Image
from serving.client.splitting import Limits, split

images = st.lists(
    st.builds(
        Image.of_bytes, st.binary(max_size=3000), st.lists(st.tuples(st.integers(-9999, 9999), st.just(5)))
    ),
    max_size=6,
)


@given(images, st.integers(1000, 9000), st.integers(1, 9))
def test_requests_keep_within_their_limits_and_hold_all_patches_in_their_order(
    wanted: list[Image], request_bytes: int, patches: int
) -> None:
    found: list[list[object]] = [[] for _ in wanted]
    for group in split(wanted, Limits(request_bytes, patches)):
        body = json.dumps({"instances": [part.instance for part in group]})
        assert sum(part.patches for part in group) <= patches
        assert len(group) == 1 or len(body) <= request_bytes + len('{"instances": []}') + 2 * len(group)
        for part in group:
            coordinates = part.instance["patch_coordinates"]
            assert isinstance(coordinates, list)
            assert len(coordinates) == part.patches > 0
            found[part.image] += [(each["x_origin"], each["y_origin"]) for each in coordinates]
    assert found == [list(image.origins) for image in wanted]
