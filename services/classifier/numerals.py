"""Numbers that say how much: no dates, times of day, ordinals, or numbers of a list's points.

Who wants to know whether a text has numbers to work with must not count those that only say when, or which.
"""

import re
from collections.abc import Sequence

_MONTHS = frozenset(
    (
        "january february march april may june july august september october november december jan feb apr jun jul "
        "aug sep sept oct nov dec januar februar märz mai juni juli oktober dezember janvier février mars avril "
        "juin juillet août septembre octobre novembre décembre enero febrero marzo abril mayo junio julio agosto "
        "septiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio settembre ottobre "
        "dicembre janeiro fevereiro março maio junho julho setembro outubro novembro dezembro januari februari "
        "maart mei augustus augusti december stycznia lutego marca kwietnia maja czerwca lipca sierpnia września "
        "października listopada grudnia января февраля марта апреля мая июня июля августа сентября октября ноября "
        "декабря січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня ocak şubat "
        "mart nisan may\u0131s haziran temmuz ağustos eylül ekim kas\u0131m aral\u0131k tammikuuta helmikuuta "
        "maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta "
        "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر जनवरी फरवरी मार्च अप्रैल मई जून "
        "जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर "
    ).split()
)
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = re.compile(
    rf"""
      \d\d?\.?[ ](?:of[ ]|de[ ])?(?:{_MONTH})(?!\w)(?:,?[ ]\d{{4}}\b)?               # 22 November 2026
    | (?<!\w)(?:{_MONTH})\.?[ ]\d\d?(?![\d.:])(?:,?[ ]\d{{4}}\b)?                   # November 22, 2026
    """,
    re.IGNORECASE | re.VERBOSE,
)
_WHEN_OR_WHICH = re.compile(
    r"""
      (?=\d)(?:
          \d{4}-\d\d?-\d\d?                                       # 2026-11-22
        | \d\d?(?:[.]\d\d?[.]|/\d\d?/|-\d\d?-)\d{2,4}              # 22.11.2026
        | \d\d?[ ]?[月월][ ]?\d\d?[ ]?[日일] | \d{4}[ ]?[年년] | \d\d?[ ]?(?:[時点點]|시(?!간))
        | (?<![\d.,])[012]?\d:[0-5]\d(?!\d)                       # 9:30
        | (?<![\d.,])[012]?\d(?:[.][0-5]\d)?[ ]?(?:[ap]\.?m\b|uhr\b|o.clock)
        | (?<![\d.,])[012]?\dh[0-5]\d(?!\d)                       # 9h30
        | (?<!\d)\d{1,4}(?:st|nd|rd|th)\b | (?<!\d)\d{1,4}[ºª]
      )
    | ^[ \t]{0,8}\(?\d\d?[.)](?=[ \t])                             # 1. of a list
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_NUMERAL = re.compile(r"\d+(?:[.,]\d+)*")


def numerals(text: str, words: Sequence[str]) -> list[str]:
    """The numbers of a text, in digits, that say how much, from left to right; `words` are its words in lower case."""
    # Few texts name a month, and are searched for one.
    if not _MONTHS.isdisjoint(words):
        text = _DAY.sub(" ", text)
    return _NUMERAL.findall(_WHEN_OR_WHICH.sub(" ", text))
