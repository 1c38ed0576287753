from services.classifier.reading import HALF_READ, Turn, read


def test_the_question_is_the_users_last_message() -> None:
    reading = read(
        [
            Turn("system", "Be kind."),
            Turn("user", "x" * 200),
            Turn("assistant", "yes"),
            Turn("user", "y" * 200),
        ]
    )

    assert reading.question == "y" * 200
    assert reading.turns == 2
    assert reading.system_chars == len("Be kind.")


def test_a_short_question_is_read_with_the_questions_before() -> None:
    reading = read(
        [
            Turn("user", "Prove Fermat's little theorem."),
            Turn("assistant", "..."),
            Turn("user", "and now in French"),
        ]
    )

    assert reading.question == "Prove Fermat's little theorem.\nand now in French"


def test_only_the_beginning_and_the_end_of_a_long_message_are_read_and_it_counts_as_truncated() -> None:
    reading = read([Turn("user", "a" * 5_000_000 + "b")])

    assert len(reading.question) == 2 * HALF_READ + 1
    assert reading.question.endswith("b")
    assert reading.truncated
    assert reading.long_context
    assert reading.prompt_tokens > 1_000_000


def test_what_the_sender_left_out_counts_towards_length_and_tokens() -> None:
    reading = read([Turn("user", "head tail", omitted_chars=400_000)])

    assert reading.truncated
    assert reading.question_chars == 400_009
    assert reading.long_context


def test_characters_of_other_scripts_cost_more_tokens() -> None:
    english, chinese = read([Turn("user", "abcd" * 100)]), read([Turn("user", "中文字符" * 100)])

    assert 90 <= english.prompt_tokens <= 120
    assert 250 <= chinese.prompt_tokens <= 450


def test_a_conversation_without_a_user_is_judged_by_its_last_turn() -> None:
    assert read([Turn("system", "a"), Turn("assistant", "b")]).question == "b"


def test_what_could_change_the_judgement_changes_the_digest() -> None:
    base = read([Turn("user", "hello")])
    others = [
        read([Turn("user", "hallo")]),
        read([Turn("user", "hello")], 1),
        read([Turn("user", "hello")], structured=True),
        read([Turn("user", "hello", has_image=True)]),
        read([Turn("assistant", "yes"), Turn("user", "hello")]),
    ]

    assert base.digest() == read([Turn("user", "hello")]).digest()
    assert len({base.digest(), *(reading.digest() for reading in others)}) == 6
