"""Short requests, as people type them, and their languages."""

import pytest

from services.classifier.embedding import Embedder
from services.classifier.features import observe
from services.classifier.reading import Turn, read

EMBEDDER = Embedder()
SHORT = {
    "en": (
        "Do I need a visa?",
        "I have chest pain and feel dizzy",
        "No, I do not agree",
        "Fix my code",
        "tell me a joke",
    ),
    "de": (
        "Hallo, guten Morgen!",
        "Kannst du mir kurz helfen?",
        "Warum ist der Himmel blau?",
        "Schreib mir ein Gedicht",
    ),
    "fr": ("Combien de temps faut-il pour cuire un œuf ?", "Où est la gare ?", "Donne-moi une recette"),
    "es": ("Necesito ayuda de matemáticas", "¿Dónde está el baño?", "Dame tres ideas para cenar"),
    "pt": ("Preciso de ajuda de um advogado", "Como faço um bolo?", "Qual é a capital do Brasil?"),
    "it": ("Come si fa la carbonara?", "Scrivi una mail al mio capo", "Dove si trova il Colosseo?"),
    "nl": ("Hoe laat is het?", "Kun je mij helpen?"),
    "pl": ("Napisz wiersz o zimie", "Ile to jest 2 plus 2?"),
    "tr": ("Bana bir hikaye yaz", "Türkiye'nin başkenti neresidir?"),
    "sv": ("Hur mår du?", "Vad är klockan?"),
    "cs": ("Jak se máš?", "Napiš mi krátkou báseň"),
    "hu": ("Hogy vagy?",),
    "ro": ("Ce mai faci?",),
    "fi": ("Mitä kuuluu?",),
    "vi": ("Bạn có khỏe không?",),
    "id": ("Tolong buatkan puisi tentang laut",),
    "ru": ("Привет, как дела?", "Объясни, пожалуйста, что такое рекурсия"),
    "uk": ("Як справи?",),
    "bg": ("Как се казваш?",),
    "el": ("Τι κάνεις;",),
    "zh": ("你好", "日本的首都是哪里？"),
    "ja": ("日本の首都は?", "東京タワーの高さは？"),
    "ko": ("안녕하세요",),
    "ar": ("ما هي عاصمة فرنسا؟",),
    "fa": ("پایتخت ایران کجاست؟",),
    "he": ("מה שלומך?",),
    "hi": ("आप कैसे हैं?",),
    "th": ("สวัสดีครับ",),
}


def language_of(text: str) -> str:
    return observe(read([Turn("user", text)]), EMBEDDER).language


@pytest.mark.parametrize(
    ("language", "text"), [(one, text) for one, texts in SHORT.items() for text in texts]
)
def test_the_language_of_a_short_request_is_found(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("text", ["", "12345 67890", "asdf qwer", "😀😀", "x^2 + y^2 = π"])
def test_a_text_without_a_sign_of_its_language_has_none(text: str) -> None:
    assert language_of(text) == ""


def test_a_greek_letter_or_a_quotation_does_not_make_the_language() -> None:
    assert language_of("What is the value of π and of Σ in this formula?") == "en"
    assert language_of("How do you say 你好 in English when you meet the parents of a friend?") == "en"
