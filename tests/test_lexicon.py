"""What words say about turns: endings, listening noises, calls to stop; each beside what looks like it and is not."""

import random
import unicodedata

import pytest

from voiceagent.lexicon import Ending, Lexicon

# Rows are divided by " / ".
ENGLISH = {
    Ending.EMPTY: """
        ... / [laughter]
    """,
    Ending.COMPLETE: """
        yes / No. / sure / I don't know / mm-hm / of course / I would like a pizza, please /
        I would like a pizza please / thanks / that's all / I want to come tomorrow / Book a table for two. /
        It is nice, isn't it. / I don't want to. / I think so / yes I do / That's what I was thinking of. /
        Turn it on. / He is the one I told you about. / I'm fine, thank you!
    """,
    Ending.QUESTION: """
        what time is it / What time is it? / is that so? / what are you waiting for / where are you from /
        who is it for / what's this about / how old are you / do you have any tables left /
        can you tell me a joke / okay so how far is it / is the shop open on Sunday / what is it /
        where are they / how much / why / which one / how is the weather in Berlin / you are coming? /
        who are you talking to / what should I do about it / what's it made of / don't you think it is late /
        what do you want / do I have to pay for it myself / when does the train leave / How are you? /
        can I speak to a person / what's your name
    """,
    Ending.NEUTRAL: """
        Tuesday / the red one / forty two / 42 / turn it on / turn the light in the kitchen on / come in /
        I want to log in / I don't want to / that's what I was thinking of / there is nothing to worry about /
        I know who you are / I'm not sure what it is / I booked a table for two people / a red car /
        I was late / it's 3 p.m / nine thirty / at nine o'clock / one hundred and twenty / twenty dollars /
        my number is 555 123 4567 / room number 12 / number one / I live in the USA / vitamin c / plan b /
        the second of May / I was born on March fifth nineteen eighty two / I haven't been there for a while /
        let's go on / it is as good as I think it is / I can come whenever you like /
        this is the house they live in / I asked him / tell me why / there's someone I want to talk to /
        yes it's Tuesday I think / what I want is pizza / my pin is one two three four / my pin is 1234 / I am /
        let me know / do it as well as you can / I feel well / in 2024 / it costs two thousand
    """,
    Ending.UNFINISHED: """
        and / I want to go to the / I would like a / I want a flight to / I'd like to book a table for /
        my name is / my problem is / I was going to the store and / because / I like it but / and then /
        I'm looking for / I'm waiting for / what is the price of / what's the capital of / how do I get to /
        what is / how much is / can you / okay could you / do you / I want to / I'd like / I think that /
        I have two questions, / I want... / so I was - / I'd like to go to. / Can I have the? / it's / I'm /
        we're going with / if / I wonder whether / and I / maybe they / he said that / yesterday I was /
        a lot of / some kind of / the thing with / my address is / and my / there is / tell me about /
        because it is / How do I get from / I need / I live in
    """,
    Ending.HESITATION: """
        um / I want ummm / so, uh / let me see / I would like um... / it was on, let me think / well /
        it is, you know / I mean / hmm / I'd like the er
    """,
    Ending.NUMBER: """
        my number is 555 12 / my number is five five five / five five five / 555 12 / 555-12 /
        my phone number is oh seven seven double four / my credit card number is 4111 1111 /
        my card number is 4111 1111 1111 / my pin is one two / call me on the number 555 / my zip code is 941 /
        four one five double / it's three point / my number is 555 12. / March fifth nineteen / the twenty /
        I was born on March fifth / my date of birth is the third of May / the account number is 1234
    """,
    Ending.SPELLING: """
        j o h n / J-O-H-N / J. O. H. / my name is spelled k / B as in Bravo / it's m for mother /
        alpha bravo charlie / john at gmail dot / my plate is k l 7 x / that's double l
    """,
}
GERMAN = {
    Ending.COMPLETE: """
        ja / Nein. / das ist alles / ich hätte gern eine Pizza, bitte / keine Ahnung / Ich komme morgen.
    """,
    Ending.QUESTION: """
        wie spät ist es / was ist das / wo wohnst du / haben Sie noch einen Tisch /
        kannst du mir einen Witz erzählen / Kommst du mit? / was muss ich machen
    """,
    Ending.NEUTRAL: """
        Dienstag / das rote / mach das Licht an / hör damit auf / zweiundvierzig / ich komme mit /
        schalte das Licht ein / weil ich nicht kommen kann / ich weiß nicht was das ist /
        meine Nummer ist 0151 2345678 / ich rufe dich an
    """,
    Ending.UNFINISHED: """
        ich möchte einen / ich möchte nach / und / ich hätte gern / mein Name ist / weil / ich suche ein /
        ich fahre mit der / ich komme aus / das ist / ich glaube dass / zwei Karten für / kannst du / ich will,
    """,
    Ending.HESITATION: """
        ähm / ich will äh / also / mal sehen / ich möchte, lass mich überlegen
    """,
    Ending.NUMBER: """
        meine Nummer ist 0151 23 / null eins fünf eins / meine Kartennummer ist 4111 1111 /
        meine Postleitzahl ist 101 / ich bin geboren am dritten Mai
    """,
    Ending.SPELLING: """
        m e i e r / M wie Martha / Anton Berta
    """,
}
SPANISH = {
    Ending.COMPLETE: """
        sí / No. / eso es todo / quiero una pizza, por favor / Quiero ir mañana / La casa es grande. / no lo sé
    """,
    Ending.QUESTION: """
        qué hora es / ¿Cómo está? / dónde está la estación / cuánto cuesta / ¿Tiene una mesa? / cómo te llamas /
        quién es
    """,
    Ending.NEUTRAL: """
        martes / el rojo / cuarenta y dos / no puedo / la mesa es para dos personas / mi número es 612 345 678 /
        lo que quiero / quiero este
    """,
    Ending.UNFINISHED: """
        quiero ir a / y / mi nombre es / quiero un / me gustaría / porque / una mesa para / creo que /
        el problema es / la casa de mi / pero / quiero, / me llamo / tengo / hola, quiero
    """,
    Ending.HESITATION: """
        eh / a ver / pues / déjame pensar
    """,
    Ending.NUMBER: """
        mi número es 612 34 / seis uno dos / mi tarjeta es 4111 1111 / el código postal es 280
    """,
    Ending.SPELLING: """
        g a r c i a / b de barco
    """,
}
FRENCH = {
    Ending.COMPLETE: """
        oui / Non. / c'est tout / je voudrais une pizza s'il vous plaît / Je viens demain / Il fait beau. /
        je ne sais pas
    """,
    Ending.QUESTION: """
        quelle heure est-il / comment ça va / où est la gare / combien ça coûte / pouvez-vous m'aider /
        Vous avez une table ? / qu'est-ce que c'est / est-ce que vous avez une table / pourquoi
    """,
    Ending.NEUTRAL: """
        mardi / le rouge / quarante-deux / je ne peux pas / mon numéro est le 06 12 34 56 78 / 120 000 /
        je vais / il faut ce qu'il faut
    """,
    Ending.UNFINISHED: """
        je voudrais un / et / mon nom est / je vais à / une table pour / parce que / je m'appelle /
        je crois que / c'est / est-ce que / le prix de l' / je voudrais, / j'ai / qu'est-ce que / avec mon /
        mais
    """,
    Ending.HESITATION: """
        euh / je voudrais euh / ben / voyons voir / comment dire
    """,
    Ending.NUMBER: """
        mon numéro est le 06 12 34 / zéro six douze / ma carte est 4111 1111 / le code postal est 750
    """,
    Ending.SPELLING: """
        d u p o n t / m comme Marie
    """,
}


def rows(text):
    """The rows of a table."""
    return [row.strip() for row in " ".join(text.split()).split(" / ")]


def table(language, endings):
    """The rows of a language's table, each with its language and ending."""
    return [
        pytest.param(language, row, ending, id=f"{language}-{row}")
        for ending in endings
        for row in rows(endings[ending])
    ]


ALL = table("en", ENGLISH) + table("de", GERMAN) + table("es", SPANISH) + table("fr", FRENCH)


@pytest.mark.parametrize(("language", "text", "ending"), ALL)
def test_endings(language, text, ending):
    """The last words tell whether more is to come, and an early guess is made only where it is not."""
    lexicon = Lexicon.of(language)
    assert lexicon.ending(text) is ending
    assert lexicon.speculable(text) is (ending in {Ending.NEUTRAL, Ending.COMPLETE, Ending.QUESTION})


DONE = """
    I'd like to cancel my subscription / I lost my keys / it doesn't work / my internet is down /
    he told me to come back later / I don't think he is / that's how it is / I want to know what the weather is like /
    I have no idea what this is / yeah that's the one I want / let's do it / go ahead and do that /
    the meeting is at ten / I need to get up / can you turn it off / what are you up to / what do you do / I'm done /
    I'm not sure / you can call me back on Monday / I have two kids / it's the one with the blue cover /
    send it to me / the one I'm interested in / is there anything else I should know / do you know where it is /
    could you tell me what time it is / I'd love to / is it raining / who was that / what does that mean /
    yes you can / whenever you are ready / I'll have the same / what else is there / how many are there /
    tell me what you have / show me what you can do / this is what I have / it's up to you / I didn't know that /
    I have been there before / I prefer the other one / is this the right number / I moved here in two thousand ten /
    I want to fly on the tenth of June / I'm twenty five / three of them / it's half past two / make it two /
    I want that / I'm looking for a job / it was made in Italy / where did you come from / which floor are you on /
    what is it used for / what floor is it on / I was told to wait / let me speak to a manager / please hold on /
    I've never heard of it / he is coming with us / what's wrong with it / how much do I owe you /
    which bus should I take / I can't log in / I ran into a problem I can't deal with / the person I spoke to /
    what can I help you with / is that what you are looking for / I know / you too / same here / not yet / let's go /
    I got it / you know what I mean / what's up / I'm from Spain and I am here for work / how are you doing /
    I would love that / whatever works for you / that's what I have / a little bit / three point five / page ten /
    flight number 27 / I'm in room 404 / it's 12 30 / the code is 4711 / sounds like a plan /
    no that's not what I meant / when is it due / where can I park / he has a dog / what sort of music do you like /
    it depends / I'd rather not / I don't know who they are / is it far / it is / no it isn't / as soon as I can /
    I am who I am / that was me / that's me / why not / if you want to / do I have to
"""
NOT_DONE = """
    I would like to speak to the / could you please tell me how to / I'm not sure if / the reason is that /
    my wife and / I bought it at / it was about / I'm calling about / I would / I can / the weather is /
    what time does the / where is my / I need a new / I'm trying to / hello my name is / well I think it's /
    I've been / I wanted to ask if / do you have a / it broke down when I / and so / maybe we could / it is on the /
    send it to / my email is / the first one is / I want to change my / I was wondering if you could / he works for /
    the one in / from Berlin to / between one and / I live at / it's about / my daughter who is / how do I /
    where do I / what about / so I said / is there a / are you able to / I don't have a / a table for two on /
    it's a kind of / I thought that / uh my number is
"""


@pytest.mark.parametrize(
    ("text", "done"), [(text, True) for text in rows(DONE)] + [(text, False) for text in rows(NOT_DONE)]
)
def test_common_sentences(text, done):
    """Whole sentences, also those that end in a small word, are worth a guess; torn ones are not."""
    assert Lexicon.of("en").speculable(text) is done


@pytest.mark.parametrize("text", ["", "  ", "\n", "...", "?!", "[laughter]", "♪"])
@pytest.mark.parametrize("language", ["en", "de", "xx"])
def test_no_words(language, text):
    """A text without a word is empty, whatever the language."""
    assert Lexicon.of(language).ending(text) is Ending.EMPTY
    assert not Lexicon.of(language).speculable(text)


@pytest.mark.parametrize(("language", "text", "ending"), ALL)
def test_the_case_says_nothing(language, text, ending):
    """Capitals and wide letters change no ending."""
    lexicon = Lexicon.of(language)
    assert lexicon.ending(text.upper()) is ending
    assert lexicon.ending(unicodedata.normalize("NFD", text)) is ending
    assert lexicon.ending(f"  {text}\n") is ending


def test_languages():
    """A region is ignored, no language is English, and lexicons are shared."""
    assert Lexicon.of("en-GB") is Lexicon.of("EN_us") is Lexicon.of(None) is Lexicon.of("en")
    assert Lexicon.of("de") is not Lexicon.of("en")


@pytest.mark.parametrize(
    "text", ["I want the", "what is it?", "um", "555 12", "és a", "そして、", "хочу в...", "J-O-H-N"]
)
def test_a_language_without_lists(text):
    """Nothing is claimed of a language that is not known."""
    lexicon = Lexicon.of("xx")
    assert lexicon.ending(text) is Ending.NEUTRAL
    assert not lexicon.is_backchannel(text)
    assert not lexicon.is_stop(text)


def test_signals_of_any_language():
    """Noises and "stop" are the same everywhere; "yeah" and "wait" are English."""
    lexicon = Lexicon.of("xx")
    assert [
        text for text in ("mm-hm", "Hm.", "okay", "OK!", "uh-huh", "[cough]") if not lexicon.is_backchannel(text)
    ] == []
    assert [text for text in ("stop", "Stop!", "okay, stop") if not lexicon.is_stop(text)] == []
    assert not lexicon.is_backchannel("yeah")
    assert not lexicon.is_stop("wait")


LISTENING = {
    "en": """mm-hm / Mm-hmm. / mm hm / mhm / yeah / right / yeah yeah / oh okay / uh-huh right / [laughter] / haha / hahaha /
        (laughs) yeah / Uh-huh. / mmm / okay okay okay / I see / Oh, I see! / That makes sense. / ok / yeah, right, sure /
        yeahhh / Oh really? / hm / *coughs* / all right / Ahem. / achoo / YEAH / Ｏｋａｙ""",
    "de": "ja / mhm / genau / ach so / ja genau / Alles klar. / okay / stimmt / ja, ja, verstehe",
    "es": "sí / ya / claro / ajá / sí sí / Vale, vale. / entiendo / claro que sí",
    "fr": "oui / d'accord / d’accord / mhm / ah bon / Oui, oui. / je vois / tout à fait / ouais ouais",
}
TALKING = {
    "en": """yeah but / no / wait / stop / Tuesday / yeah I want / okay stop / what / right there / huh? / I see a problem /
        sure but no / thank you / hello / is that right / m / yeah tell me / oh no / okay Tuesday / nice try""",
    "de": "ja aber / nein / halt / Dienstag / ja ich will / moment / was",
    "es": "sí pero / no / espera / martes / ya voy / para / qué",
    "fr": "oui mais / non / attends / mardi / je vois un problème / stop / quoi",
}


def signals(texts):
    """The rows of a table by language."""
    return [
        pytest.param(language, text, id=f"{language}-{text}") for language in texts for text in rows(texts[language])
    ]


@pytest.mark.parametrize(("language", "text"), signals(LISTENING))
def test_listening(language, text):
    """Listening noises are nothing else, and any beginning of them may become them."""
    lexicon = Lexicon.of(language)
    assert lexicon.is_backchannel(text)
    assert not lexicon.is_stop(text)
    if not text.startswith(("[", "(", "*")):
        assert [end for end in range(len(text) + 1) if not lexicon.may_become_backchannel(text[:end])] == []


@pytest.mark.parametrize(("language", "text"), signals(TALKING))
def test_talking(language, text):
    """A word beside the listening noises is talk."""
    assert not Lexicon.of(language).is_backchannel(text)


@pytest.mark.parametrize(
    "text", rows("ye / mm / oh / y / yeah / oh o / yeah ri / uh / that's / i / i s / okay o / uh-h")
)
def test_may_become_listening(text):
    """A word that is not yet whole is waited for."""
    assert Lexicon.of("en").may_become_backchannel(text)


@pytest.mark.parametrize(
    "text", rows("yeah but / no / wait / stop / tuesday / what / i want / okay s t / the / wai / oh k n")
)
def test_cannot_become_listening(text):
    """What no listening noise begins with is not waited for."""
    assert not Lexicon.of("en").may_become_backchannel(text)


STOPPING = {
    "en": """stop / Stop! / wait / hold on / no no / no no no / be quiet / one moment / okay stop / please stop / stop it /
        stop please / wait wait wait / Hold on a second, please. / no, stop / oh wait / just a moment please / enough /
        shut up / hey, stop talking / okay, okay, stop now / can you stop / sorry, hold on / no wait / stoooop""",
    "de": "stopp / stop / halt / Moment mal, bitte. / warte / warten Sie / sei ruhig / okay stopp / nein nein / hör auf",
    "es": "para / basta / espera / un momento, por favor / cállate / no no / vale, para ya / stop / silencio",
    "fr": "arrête / arrêtez / attends / un instant s'il vous plaît / non non / tais-toi / stop / d'accord, arrête / chut",
}
NOT_STOPPING = {
    "en": """okay stop by the store / no / yes / please / okay / stop the music / wait for me / hold on to it / good enough /
        the bus stop / don't stop / no thanks / one / quiet room please / stop sign / one moment in time / excuse me""",
    "de": "nein / bitte / halt das fest / okay / warte auf mich / einen Moment lang war ich da / der Halt",
    "es": "no / por favor / para mí / espera a Juan / el momento / vale",
    "fr": "non / s'il vous plaît / arrête la musique / attends Paul / le moment / d'accord",
}


@pytest.mark.parametrize(("language", "text"), signals(STOPPING))
def test_stopping(language, text):
    """Stop words cut, with or without courtesy, and are no listening noises."""
    assert Lexicon.of(language).is_stop(text)
    assert not Lexicon.of(language).is_backchannel(text)


@pytest.mark.parametrize(("language", "text"), signals(NOT_STOPPING))
def test_not_stopping(language, text):
    """A stop word within a sentence is an interruption of another kind, and courtesy alone is none."""
    assert not Lexicon.of(language).is_stop(text)


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "xx"])
def test_any_text(language):
    """No text is too strange: every function answers, and the same twice."""
    rng, lexicon = random.Random(language), Lexicon.of(language)
    alphabet = "aeiomnst' -.,?!…0123456789()[]<>*♪\u0301\u200b\u00a0ß’é今の한हि\U0001f600\ufeff\x00\t\n"
    for _ in range(400):
        wild = "".join(chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])) for _ in range(9))
        text = "".join(rng.choices(alphabet, k=rng.randrange(40))) + rng.choice(["", wild])
        answers = [lexicon.ending(text), lexicon.is_backchannel(text), lexicon.may_become_backchannel(text)]
        assert answers == [lexicon.ending(text), lexicon.is_backchannel(text), lexicon.may_become_backchannel(text)]
        assert not (lexicon.is_stop(text) and lexicon.is_backchannel(text))


FLOODS = [
    "yeah ",
    "a",
    "((",
    "<",
    "*a",
    "[",
    "1 ",
    "' ",
    "no-",
    ".",
    ". ",
    "I want to go to ",
    "\u0301",
    "a'",
    "eins",
    "(a",
    "🙂",
]


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("language", ["en", "de"])
def test_the_cost_is_bounded(language, flood, monkeypatch):
    """Of a flood only the end is read: what stands before changes nothing, and signals are not searched in it at all."""
    lexicon = Lexicon.of(language)
    long = (flood * 4_000)[:4_000]
    read = []
    monkeypatch.setattr("voiceagent.lexicon._plain", lambda text: read.append(len(text)) or text)
    lexicon.ending(long)
    lexicon.is_backchannel(long)
    lexicon.is_stop(long)
    lexicon.may_become_backchannel(long)
    assert max(read) <= 480
    assert lexicon.ending("x " * 50 + long) is lexicon.ending(long)
