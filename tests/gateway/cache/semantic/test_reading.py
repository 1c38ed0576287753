"""Which questions say the same: what they may differ in, and that nothing else may be different."""

import pytest

from services.gateway.cache.semantic.reading import same


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the capital of Peru?", "hi, whats the capital of PERU"),
        (
            "What is the capital of Peru?",
            "Could you please tell me what the capital of Peru is? Thanks a lot!",
        ),
        ("List the noble gases.", "What are the noble gases?"),
        ("How does a heat pump work?", "Explain how a heat pump works."),
        ("How do I tie a tie?", "Please show me how to tie a tie"),
        ("In Excel, how can I freeze the top row?", "How do I freeze the top row in Excel?"),
        ("I can't sleep. What should I try?", "I cannot sleep - what should I try"),
        ("I'm cold, what can't I wear?", "I am cold, what can I not wear?"),
        ("Convert 5 miles to kilometres.", "Hello, would you mind converting 5 miles to km for me?"),
        ("What is the population of the United Kingdom?", "what's the population of the UK?"),
        ("Was kostet ein Brief nach Wien?", "Guten Tag, was kostet ein Brief nach Wien? Vielen Dank!"),
        ("¿Cuántos habitantes tiene Perú?", "cuantos habitantes tiene peru"),
        ("Сколько стоит виза?", "Здравствуйте! Скажите, пожалуйста, сколько стоит виза"),
        ("味噌汁の作り方を教えて。", "すみません、味噌汁の作り方を教えてください"),
        ("推荐一本围棋书。", "您好,麻烦您推荐一本围棋书。谢谢。"),
        ("x = [1]; print(x[0])", "x = [1];  print(x[0])"),
    ],
)
def test_wordings_of_one_question_are_the_same(first: str, second: str) -> None:
    assert same(first, second)
    assert same(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # What is left out elsewhere is what is asked for here.
        ("Good morning in Italian?", "Good evening in Italian?"),
        ("How do I say thank you?", "How do I say thanks?"),
        ("Wie sagt man auf Polnisch bitte?", "Wie sagt man auf Polnisch danke?"),
        ("你好用法语怎么说", "您好用法语怎么说"),
        ("Translate 'you are here' into French", "Translate 'you were here' into French"),
        ("Translate into French: please wait", "Translate into French: wait"),
        ("Name days in Poland", "Days in Poland"),
        ("Hi, iPhone 15?", "Bonjour, iPhone 15?"),
        ("iPhone 15, please", "iPhone 15, bitte"),
        # One sign.
        ("What is 5!", "What is 5?"),
        ("What is 5²?", "what is 52?"),
        ("What is 8 / (2 + 2)?", "What is 8 / 2 + 2?"),
        ("What is -5 °C in °F?", "What is 5 °C in °F?"),
        ("Is 50 MB/s fast?", "Is 50 Mb/s fast?"),
        ("is 50 MB/s fast?", "is 50 Mb/s fast?"),
        ("What does rm -r do?", "What does rm -f do?"),
        ("Is x > 3 or y true?", "Is x < 3 or y true?"),
        # One word.
        ("What can I eat before surgery?", "Can I eat before surgery?"),
        ("How do I work?", "How do you work?"),
        ("take vitamin a, which foods have it?", "take vitamin, which foods have it?"),
        ("At 6 am in London, what time is it in Tokyo?", "At 6 in London, what time is it in Tokyo?"),
        ("What was the capital of Brazil?", "What is the capital of Brazil?"),
        ("Give me an example of irony.", "Give me examples of irony."),
        ("If I can't pay, what happens?", "If I can pay, what happens?"),
        ("Is it legal to record a call?", "Is it illegal to record a call?"),
        # An order.
        ("Convert EUR to USD", "Convert USD to EUR"),
        ("From Rome, how do I get to Milan?", "From Milan, how do I get to Rome?"),
        ("Juan presta dinero a Pedro", "A Juan presta dinero Pedro"),
        # Nothing.
        ("Hi!", "Thanks!"),
    ],
)
def test_another_question_is_another(first: str, second: str) -> None:
    assert not same(first, second)
    assert not same(second, first)
