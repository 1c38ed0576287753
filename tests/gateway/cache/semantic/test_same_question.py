"""Which questions say the same: what they may differ in, and that nothing else may be different."""

import pytest

from services.gateway.cache.semantic import same_question
from services.gateway.cache.semantic.same_question import read


def same(first: str, second: str) -> bool:
    return same_question.same(read(first), read(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the capital of Peru?", "Hi! What's the capital of Peru"),
        ("What is the capital of Peru?", "what is the capital of peru?"),
        (
            "What is the capital of Peru?",
            "Hello, could you please tell me what the capital of Peru is? Thanks a lot!",
        ),
        ("Explain the offside rule.", "Can you please explain the offside rule?"),
        ("How do I tie a tie?", "how do i tie a tie"),
        ("Who was the first woman in space?", "Who was the first woman in space??!"),
        ("I can't sleep. What should I try?", "I cannot sleep. What should I try?"),
        ("I'm cold, what should I wear?", "I’m cold, what should I wear?"),
        ("I'm cold, what should I wear?", "I am cold, what should I wear?"),
        ("Was kostet ein Brief nach Wien?", "Guten Tag, was kostet ein Brief nach Wien? Vielen Dank!"),
        ("¿Cuántos habitantes tiene Perú?", "Hola, cuántos habitantes tiene Perú"),
        ("Сколько стоит виза?", "Здравствуйте! Скажите, пожалуйста, сколько стоит виза"),
        ("为什么天是蓝的？", "您好，为什么天是蓝的"),
        ("def f():\n    return 1", "\n def f():\n    return 1\n"),
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
        ("Translate into French: I love it. Thanks!", "Translate into French: I love it."),
        ("Can you please everyone?", "Everyone?"),
        ("Hi, iPhone 15?", "Bonjour, iPhone 15?"),
        ("Bonjour, iPhone 15 case blue?", "Hola, iPhone 15 case blue?"),
        ("Tell me the truth", "What is the truth"),
        # A sign that changes a number, or a formula.
        ("What is 5!", "What is 5?"),
        ("What is .5 mg?", "What is 5 mg?"),
        ("Convert –40 °C to °F", "Convert 40 °C to °F"),
        ("What is (-5) squared?", "What is -5 squared?"),
        ("What is 2 times (3 + 4)", "What is 2 times 3 + 4"),
        ("What is the derivative of n!", "What is the derivative of n"),
        ("How tall is 6'?", 'How tall is 6"?'),
        # Light words.
        ("Who is paid the most?", "Who paid the most?"),
        ("What is the matter?", "What is matter?"),
        ("Give me a few ideas", "Give me few ideas"),
        # Capitals.
        ("How many W is 5 mW?", "how many w is 5 mw?"),
        ("what does git branch -d do", "what does git branch -D do"),
        ("What is 'US'?", "what is 'us'?"),
        ("Who is US?", "who is us?"),
        ("What is Polish?", "what is polish?"),
        ("How is China made?", "How is china made?"),
        ("What is WHO?", "what is who?"),
        ("What is C?", "what is c?"),
        ("Where does Bill live?", "where does bill live?"),
        ("What does The Office do?", "what does the office do?"),
        # Questions of ability, of chance and of form.
        ("Could I have cancer?", "What is cancer?"),
        ("Can you write off a car?", "Write off a car"),
        ("Would you recommend a vegan diet?", "Recommend a vegan diet"),
        ("How do I look?", "How to look?"),
        ("Who's left the EU?", "Who is left the EU?"),
        ("Do I write he won't or he will not?", "Do I write he will not or he won't?"),
        ("Which comes last, hi or bye, thanks", "Which comes last, hi or bye"),
        # Code.
        ("Run this:\n```\nif x:\n    a()\n    b()\n```", "Run this:\n```\nif x:\n    a()\nb()\n```"),
        ("Explain regex [a-z]?", "Explain regex [a-z]"),
        ("What does the regex ab? match", "What does the regex ab match"),
        # Synonyms and other spellings.
        ("How much is 20 pounds?", "How much is 20 lbs?"),
        ("Is a kid a baby goat?", "Is a child a baby goat?"),
        ("What does UK stand for?", "What does United Kingdom stand for?"),
        # Accents and commas.
        ("Wie kann ich etwas drucken?", "Wie kann ich etwas drücken?"),
        ("In welchen Maßen?", "In welchen Massen?"),
        ("казнить нельзя, помиловать", "казнить, нельзя помиловать"),
        ("请假怎么写", "假怎么写"),
        # One word.
        ("What was the capital of Brazil?", "What is the capital of Brazil?"),
        ("If I can't pay, what happens?", "If I can pay, what happens?"),
        ("Convert EUR to USD", "Convert USD to EUR"),
        # Nothing.
        ("Hi!", "Thanks!"),
    ],
)
def test_another_question_is_another(first: str, second: str) -> None:
    assert not same(first, second)
    assert not same(second, first)
