"""The language of a short text: its script, or the commonest words and letters of each language.

A question is often five words long. A word counts for every language that uses it, and the less the more of them do;
where two languages are nearly level the answer is "not known", because a wrong language costs more than none. Libraries
are hardly better and take ten times the time and 60 MiB or more (docs/architecture.md).
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from types import MappingProxyType

# Words looked at, and characters looked at for the script.
WORDS_READ = 60
CHARS_READ = 400
# A script says its language when so many of the letters are written in it.
SCRIPT_SHARE = 0.3
# The votes that are enough, and how far ahead of the next language they must be.
LEAST_VOTES = 0.5
LEAD = 1.2

# Language (BCP 47) -> its commonest words, and those that requests are made of.
_WORDS: dict[str, str] = {
    "en": "the is are of and what with that this you how does for which from write please can be was were have it to an a "
    "in on i my me your do did am not no so we he she they our us who why when where will would could should if or as at by "
    "about than then there their has had tell give make fix explain show find help need want let's know like get only one "
    "into code word words story some any more most good new time day hello thanks joke say use between summarize translate its "
    "i'm it's don't can't what's i've you're today tonight now just feeling down up out him her very really think",
    "de": "der die das und ist nicht ein eine einen einem einer ich mit für auf wie was den dem des von zu sie bitte schreibe "
    "schreib kann kannst wir im wird in an am es hat haben sind war du mir mich mein meine dein deine wer wo warum wann oder "
    "aber auch noch nur nach bei aus um zum zur vom als wenn dass kein keine man über unter gibt mach erkläre erklären guten "
    "morgen tag hallo danke ja nein sich mal welche welcher uns dir heute geht's ihr ihm ihn hier jetzt sehr mehr alle ohne gegen werden einfach",
    "fr": "le la les l des de du et est une un pour dans que qui avec sur pas vous je tu il elle nous on comment quel quelle "
    "sont au aux ce cette ces ne se sa son mes mon ma ton ta en à où y par plus quand pourquoi faut combien être avoir fait "
    "peux peut écris moi toi bonjour salut merci oui non mais ou si tout très entre temps j'ai c'est d'un d'une qu'est s'il "
    "comme sans quoi donne explique aujourd'hui ça suis sommes leur notre votre peu bien ici",
    "es": "el la los las lo un una unos es y o en de del al para por que con sin se su sus mi mis tu tus me te le nos no si sí "
    "cómo qué cuál cuáles quién dónde cuándo cuánto está están son soy eres ser hay como más muy pero puedo puedes quiero "
    "necesito hola gracias este esta esto ese esa entre sobre ayuda hace hacer dame dime escribe explica buenos días todo "
    "porque ya desde hasta hoy ahora aquí nuestro tengo tiene",
    "it": "il lo la i gli le un uno una è e ed o di del della dei delle dello da dal in nel nella su per con che chi non più mi "
    "ti si ci ho ha hai sono sei come cosa dove quando perché quale quali quanto questo questa mio mia puoi posso vorrei "
    "ciao grazie buongiorno scrivi spiega fra tra anche ma al alla se dammi dimmi molto essere fare",
    "pt": "o a os as um uma é e ou de do da dos das em no na nos nas ao à para por com sem que qual quais quem como onde "
    "quando quanto não sim mais mas muito meu minha meus seu sua você eu me te se isso isto este esta esse essa posso pode "
    "preciso quero ajuda está são ser tem ter fazer olá obrigado obrigada bom dia escreva explique entre sobre porque já",
    "nl": "het een de en van is niet met voor op hoe wat zijn ik je jij te dat die dit aan deze kan kun wij we naar mijn jouw "
    "graag schrijf in er om ook maar als bij uit over waar wanneer waarom wie welke of nog wel geen goed mij me heb heeft "
    "ben bent moet wil hallo dank bedankt leg geef maak tussen door",
    "pl": "się nie jest na do że jak co czy dla z w i o a po od za proszę jaki jaka jakie który która napisz mnie mi to są ma "
    "mam być był było ile gdzie kiedy dlaczego kto ten ta te tego ale lub oraz tak dzień dobry cześć dziękuję wyjaśnij podaj "
    "między przez przy bez moja mój",
    "tr": "bir ve bu için ile ne nasıl mi mı mu mü da de çok olarak var yok bana ben sen lütfen nedir neden kim nerede hangi "
    "kaç gibi daha en ama veya evet hayır merhaba teşekkürler yaz açıkla olan şu o her",
    "sv": "och är det att en ett som inte för på med hur vad jag kan av den de till du vi har om i mig min mitt din ditt var "
    "när varför vem vilken skriv hej tack ja nej eller men så från mellan mycket måste vill förklara",
    "da": "og er det at en et som ikke for på med hvordan hvad jeg kan af den de til du vi har om i mig min mit din var "
    "hvornår hvorfor hvem skriv hej tak ja nej eller men så fra mellem meget må vil forklar hvilken",
    "no": "og er det at en et som ikke for på med hvordan hva jeg kan av den de til du vi har om i meg min mitt din var når "
    "hvorfor hvem skriv hei takk ja nei eller men så fra mellom mye må vil forklar hvilken",
    "fi": "ja on ei se että en mitä miten mikä kuka missä milloin miksi minä sinä olen ovat oli tämä kuin voi voinko kirjoita "
    "kiitos hei minun sen mutta tai myös kun jos selitä",
    "cs": "a je se na to že v z s o do pro jak co kde kdy proč kdo který která prosím jsem jsou být bylo ale nebo mi mě můj "
    "moje napiš ahoj děkuji ano ne jaký jaká jaké vysvětli mezi by",
    "ro": "și este un o în de la cu pe pentru că nu ce cum unde când cine care sunt mai din sau dar eu tu îmi mea meu scrie "
    "bună mulțumesc da te rog între ai am ale al lui",
    "hu": "a az és nem hogy egy van mi mit hol mikor miért ki melyik hogyan kell kérlek ez ezt de is meg vagy én te írj "
    "köszönöm szia igen magyarázd volt",
    "id": "yang dan di ke dari ini itu untuk dengan apa bagaimana siapa kapan di mana mengapa saya kamu anda adalah tidak bisa "
    "tolong buat buatkan tulis jelaskan terima kasih halo atau juga ada akan pada satu",
    "vi": "là và của có không cho tôi bạn một những được trong với như thế nào gì ở đâu khi tại sao hãy viết giải thích cảm ơn "
    "xin chào này đó các người làm",
    "ru": "и в не на что как это я с по для мне из к у он она мы вы ты а но или если когда где кто почему какой какая "
    "сколько напиши опиши между объясни привет спасибо пожалуйста есть",
    "uk": "і в не на що як це я з для мені та від є ти ми ви але або якщо коли де хто чому який яка скільки напиши поясни "
    "привіт дякую будь",
    "bg": "и в не на какво как това аз с за от ми е са да се ти ние вие но или ако кога къде кой защо между напиши опиши обясни здравей "
    "благодаря моля има",
}  # fmt: skip
# Letters that only some of the languages above have.
_LETTERS: dict[str, str] = {
    "ß": "de", "ä": "de sv fi", "ö": "de sv tr fi hu", "ü": "de tr hu", "ñ": "es", "¿": "es", "¡": "es", "ã": "pt vi", "õ": "pt vi",
    "ç": "fr pt tr", "œ": "fr", "ê": "fr pt vi", "è": "fr it", "ù": "fr it", "ì": "it", "ò": "it", "û": "fr", "î": "fr ro",
    "ą": "pl", "ę": "pl", "ł": "pl", "ś": "pl", "ż": "pl", "ź": "pl", "ć": "pl", "ń": "pl", "ğ": "tr", "ı": "tr", "ş": "tr",
    "å": "sv da no", "ø": "da no", "æ": "da no", "ř": "cs", "ě": "cs", "ů": "cs", "č": "cs", "š": "cs", "ž": "cs",
    "ă": "ro vi", "ș": "ro", "ț": "ro", "ő": "hu", "ű": "hu", "đ": "vi", "ơ": "vi", "ư": "vi",
    "і": "uk", "ї": "uk", "є": "uk", "ґ": "uk", "ы": "ru", "э": "ru", "ё": "ru",
}  # fmt: skip
# The first of them that holds enough of the letters wins.
_SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("fa", re.compile(r"[\u067e\u0686\u0698\u06af\u06a9\u06cc]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
)
# Other shares: kana and the letters that only Persian has tell even when rare, single Greek letters are formulas.
_SHARES = {"ja": 0.1, "fa": 0.05, "el": 0.5}
_BEYOND_LATIN = re.compile(r"[\u0370-\U0010ffff]")


def _shared(groups: dict[str, str]) -> MappingProxyType[str, tuple[tuple[str, float], ...]]:
    """Word or letter -> its languages, each with its vote."""
    owners: dict[str, list[str]] = {}
    for language, words in groups.items():
        for word in dict.fromkeys(words.split()):
            owners.setdefault(word, []).append(language)
    return MappingProxyType(
        {word: tuple((one, 1.0 / len(found)) for one in found) for word, found in owners.items()}
    )


_VOTES = _shared(_WORDS)
_LETTER_VOTES = MappingProxyType(
    {
        letter: tuple((one, 1.0 / len(found.split())) for one in found.split())
        for letter, found in _LETTERS.items()
    }
)


def language(text: str, words: Sequence[str], *, ascii_only: bool) -> str:
    """The language of a text in lower case, of which the words are given; empty when nothing tells clearly."""
    votes: defaultdict[str, float] = defaultdict(float)
    if not ascii_only:
        beginning = text[:CHARS_READ]
        if _BEYOND_LATIN.search(beginning) and (written := _script(beginning)):
            return written
        for letter in _LETTER_VOTES.keys() & set(beginning):
            for one, vote in _LETTER_VOTES[letter]:
                votes[one] += vote
    for word in words[:WORDS_READ]:
        for one, vote in _VOTES.get(word, ()):
            votes[one] += vote
    best = max(votes, key=votes.__getitem__, default="")
    most = votes.pop(best, 0.0)
    return best if most >= max(LEAST_VOTES, LEAD * max(votes.values(), default=0.0)) else ""


def _script(text: str) -> str:
    letters = sum(map(str.isalpha, text))
    return next(
        (
            one
            for one, script in _SCRIPTS
            if len(script.findall(text)) > _SHARES.get(one, SCRIPT_SHARE) * letters
        ),
        "",
    )
