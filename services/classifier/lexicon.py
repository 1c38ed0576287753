"""Words that tell what is asked, by the feature they count towards, and the words that betray a language."""

from types import MappingProxyType

# Feature -> words, lower case. A word counts towards one feature; the first that lists it wins.
WORDS: dict[str, str] = {
    "greetings": "hi hello hey hiya thanks thank thx bye goodbye morning lol haha howdy yo hola hallo bonjour ciao salut "
    "merci danke gracias grazie olá obrigado obrigada привет спасибо здравствуйте merhaba cześć hej servus moin",
    "translating": "translate translation translations translated translating übersetze übersetzen übersetzung traduis "
    "traduire traduisez traduction traduce traducir traducción traduci tradurre traduzione traduza traduzir tradução "
    "vertaal vertalen переведи переведите перевести перевод przetłumacz çevir tercüme",
    "languages": "english french german spanish italian portuguese dutch russian chinese mandarin japanese korean arabic "
    "hindi turkish polish latin greek swedish hebrew englisch französisch deutsch spanisch anglais français allemand "
    "espagnol inglés francés alemán español inglese francese tedesco spagnolo английский русский немецкий",
    "summarizing": "tl key points summarize summarise summary summaries summarizing tldr condense shorten abstract gist recap "
    "zusammenfassen fasse zusammenfassung résume résumé résumer resume resumir resumen riassumi riassunto riassumere "
    "samenvatten samenvatting кратко резюмируй streszczenie özetle takeaways",
    "extracting": "extract extraction identify classify categorize categorise label tag list find detect "
    "fields column columns csv json xml yaml table tabulate sentiment spreadsheet rows sort filter match highlight "
    "extrahiere extraire extrais extrae extraer estrai извлеки annotate spam",
    "writing": "write rewrite compose draft edit proofread paraphrase rephrase poem story stories essay email e-mail letter "
    "blog article haiku song lyrics novel script speech slogan tagline caption tweet post "
    "advertisement ad paragraph screenplay dialogue narrative memoir review bio resume's cover newsletter press "
    "product description tone plot diary fairy tale bedtime "
    "schreibe schreib verfasse gedicht aufsatz brief écris écrire rédige poème lettre escribe escribir poema carta "
    "redacta scrivi poesia lettera escreva schrijf напиши сочини napisz yaz grammar essayist witty humorous joke",
    "playing": "pretend roleplay role-play act playing impersonate",
    "planning": "plan plans planning itinerary schedule roadmap strategy agenda trip vacation routine workout meal diet "
    "checklist prepare organize organise timeline goals budget milestones curriculum plane reiseplan erstelle trainingsplan ernährungsplan wochenplan "
    "itinéraire planifie planifica itinerario pianifica спланируй recipe recipes weekly daily",
    "facts": "who whom whose when where which wann wer wo welche welcher wem quand où qui quel quelle quién cuándo dónde "
    "cuál quando dove chi quale quem onde wie waar wanneer кто когда где какой capital president invented discovered "
    "founded born died located population",
    "why": "why how explain explanation justify describe discuss interpret analyze analyse analysis evaluate "
    "assess compare argue derive warum weshalb wieso erkläre erklären pourquoi comment explique "
    "expliquer explica explicar cómo perché come spiega почему объясни waarom hoe",
    "math": "calculate compute solve equation equations integral integrate derivative differentiate polynomial matrix "
    "probability theorem proof prove algebra geometry triangle circle radius perimeter angle sum product "
    "difference quotient remainder divisor factorial fraction fractions decimal logarithm sine cosine vector "
    "eigenvalue eigenvalues eigenvectors prime integer integers divisible maximum minimum average median mean variance "
    "permutations combinations sequence series limit converge field ring group isomorphic modulo percent percentage "
    "root roots square cube area volume arithmetic simplify expression expand factor graph slope parabola digits "
    "digit multiply divide subtract plus minus berechne löse gleichung wahrscheinlichkeit calcule résous équation "
    "calcula resuelve ecuación calcola risolvi equazione вычисли реши уравнение найди сколько bereken oblicz hesapla",
    "quantities": "total altogether many much twice double triple half third quarter dozen each every per remaining left "
    "cost costs price pay paid earn earns spend spends sold sells buy buys bought more less fewer times older younger "
    "rate speed hours hour minutes minute miles pounds dollars cents weeks week days day years year gallons feet km kg stunden minuten euro prozent kilometer stunde meter heures horas días kilómetros ore ore часов дней рублей",
    "number_words": "one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty "
    "sixty hundred thousand million billion first second once",
    "science": "energy velocity acceleration force mass momentum electron electrons proton atom atoms molecule molecules "
    "reaction reactions acid base oxidation enthalpy entropy temperature pressure gas liquid solution concentration "
    "mole moles equilibrium wavelength frequency voltage current resistance circuit magnetic electric charge photon "
    "quantum gene genes dna rna protein proteins cell cells enzyme species evolution membrane mitochondria neuron "
    "bacteria virus patient disease symptoms diagnosis treatment drug dose clinical blood hormone muscle planet star "
    "gravity thermodynamics physics chemistry biology engineering beam stress strain conductor capacitor "
    "chromosome allele isotope nucleus compound carbon hydrogen oxygen boiling",
    "code": "code python java javascript typescript rust golang kotlin swift php ruby sql bash shell html css react "
    "django flask node api endpoint algorithm function functions function() class classes tuple tuples lists dict dictionary json boolean argument arguments parameter parameters class method variable array string loop recursion recursive "
    "compile compiler debug bug exception traceback stacktrace regex regexp query database schema git docker "
    "kubernetes linux terminal script program programming implement implementation refactor unittest pytest async "
    "thread mutex pointer struct enum json.loads return def import lambda dataframe pandas numpy tensorflow pytorch matplotlib scikit-learn "
    "llm gpu cuda kernel linux ubuntu windows excel vba formula macro spreadsheet webhook websocket oauth jwt token tokens "
    "deploy deployment container pods cluster aws azure gcp lambda terraform ansible nginx apache redis mongodb postgres "
    "postgresql mysql sqlite orm laravel symfony spring angular vue svelte tailwind bootstrap webpack typescript's component "
    "components library module package install command cli config configuration log logs stack heap queue linked tree "
    "binary parser parse render callback promise iterator generator decorator interface inherit subclass override syntax "
    "firmware arduino raspberry assembly verilog vhdl opengl shader unity unreal roblox discord telegram api's sdk "
    "leetcode backend frontend website webpage c++ c# repo server http https url cpu gpu npm segfault nullpointer "
    "funktion programmiere programm skript fonction programme código función codice funzione код функцию программу",
    "logic": "if then all none some implies therefore thus hence follows conclude conclusion premise premises argument "
    "valid invalid statement statements true false either neither unless only contradiction syllogism deduce deductive "
    "infer entails fallacy logically proposition assumption assume suppose necessarily necessary sufficient",
    "puzzles": "puzzle riddle clue clues logic knights knaves liar truth seated sits arrange order leftmost rightmost "
    "taller shorter faster slower oldest youngest opposite mirror paradox odd next pattern swap swapped coin box boxes "
    "door doors rätsel énigme acertijo indovinello загадка",
    "superlative": "best likely accurate appropriate primarily closest except above",
    "negation": "not no never except without cannot can't don't doesn't isn't aren't won't least nor incorrect false nicht "
    "kein keine ohne pas sans jamais sin nunca non senza не без",
    "constraints": "must should only exactly least most ensure avoid limit maximum required requirement requirements "
    "constraint constraints within under between following include including containing using such subject given "
    "unter genau höchstens mindestens moins plus exactement exactamente esattamente",
    "persons": "he she his her him they their them i my me we our",
    "law": "court plaintiff defendant contract statute liability negligence tort constitutional amendment jurisdiction "
    "lease tenant landlord crime criminal prosecution evidence testimony damages breach lawsuit attorney sued appeal "
    "deed will estate property legal law lawful treaty rights convicted charged officer",
    "ideas": "theory philosophy ethics ethical moral society culture political policy democracy economy economic market "
    "inflation demand supply elasticity gdp monetary psychologist psychology behavior cognitive empire war century "
    "religion religious philosopher capitalism government international historical history",
}

# Language -> words that are common in it and rare in the others listed here.
LANGUAGES: dict[str, str] = {
    "en": "the is are of and what with that this you how does for which from write please can be was were have it to an",
    "de": "der die das und ist nicht ein eine ich mit für auf wie was den dem von zu sie bitte schreibe kann wir im wird",
    "fr": "le les des est et une pour dans que qui avec sur pas vous je comment quel quelle sont du au ce cette il nous",
    "es": "el los las es y una para que con por cómo qué está del cuál son su al como más pero puedo quiero este esta",
    "it": "il gli è e una per che con di come cosa sono della del nel questo questa non più mi si lo ho puoi vorrei",
    "pt": "o os é e uma para que com não como você do da em são mais por isso ao na no meu minha este esta posso",
    "nl": "het een en van is niet met voor op hoe wat zijn ik je te dat aan deze kan wij naar mijn graag schrijf",
    "pl": "się nie jest na do że jak co czy dla z w i proszę jaki jest który napisz mnie to są",
    "tr": "bir ve bu için ile ne nasıl mi mı da de çok olarak var bana lütfen nedir",
    "sv": "och är det att en ett som inte för på med hur vad jag kan av den till",
    "ru": "и в не на что как это я с по для мне из к у он она",
    "uk": "і в не на що як це я з для мені та від є",
}


def _first_wins(groups: dict[str, str]) -> MappingProxyType[str, str]:
    found: dict[str, str] = {}
    for name, words in groups.items():
        for word in words.split():
            found.setdefault(word, name)
    return MappingProxyType(found)


FEATURE_OF = _first_wins(WORDS)


def _shared(groups: dict[str, str]) -> MappingProxyType[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, words in groups.items():
        for word in set(words.split()):
            found[word] = (*found.get(word, ()), name)
    return MappingProxyType(found)


LANGUAGES_OF = _shared(LANGUAGES)
