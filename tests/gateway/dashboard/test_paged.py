from services.gateway.dashboard.paged import ASKED, PAGE, paged


def test_a_page_names_its_last_row_where_more_follow() -> None:
    assert ([], None) == paged([])
    assert (list(range(PAGE)), None) == paged(list(range(PAGE)))
    assert (list(range(PAGE)), PAGE - 1) == paged(list(range(ASKED)))
    assert ([1, 2], 2) == paged([1, 2, 3], 2)
