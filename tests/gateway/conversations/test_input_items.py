"""The items of a response, page by page."""

import pytest

from services.chassis.errors import Invalid
from services.gateway.conversations.input_items import Page, identified

ITEMS = identified("resp_1", [{"role": "user", "content": str(place)} for place in range(5)])


def test_items_have_ids_that_stay_and_their_own_where_they_have_one() -> None:
    again = identified("resp_1", [{"role": "user", "content": str(place)} for place in range(5)])

    assert ITEMS == again
    assert 5 == len({item["id"] for item in ITEMS})
    assert "mine" == identified("resp_1", [{"id": "mine", "type": "reasoning"}])[0]["id"]


def test_pages_follow_each_other_from_the_newest_item_to_the_oldest() -> None:
    seen, after = [], ""
    while True:
        page = Page.of(f"limit=2&after={after}").cut_from(ITEMS)
        seen += [item["content"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break

    assert ["4", "3", "2", "1", "0"] == seen
    assert ["0", "1"] == [one["content"] for one in Page.of("order=asc&limit=2").cut_from(ITEMS)["data"]]
    assert (None, False) == (Page.of("").cut_from([])["first_id"], Page.of("").cut_from([])["has_more"])


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
    ],
)
def test_a_mistake_names_its_parameter(query: str, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        Page.of(query).cut_from(ITEMS)

    assert param == refused.value.param
