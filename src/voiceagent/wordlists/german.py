"""German."""

from voiceagent.wordlists.form import Words, numerals, phrases, words

_NUMBERS = (
    numerals("null, eins ein, zwei zwo, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf, dreizehn", 0)
    | numerals("vierzehn, fünfzehn, sechzehn, siebzehn, achtzehn, neunzehn", 14)
    | numerals("zwanzig, dreißig dreissig, vierzig, fünfzig, sechzig, siebzig, achtzig, neunzig", 20, step=10)
)

GERMAN = Words(
    backchannels=phrases("""
        ja, jaja, jo, jep, jawohl, genau, stimmt, richtig, klar, na klar, gut, sehr gut, alles klar, verstehe,
        ich verstehe, ach so, achso, ach, ach ja, ach was, echt, wirklich, schön, super, toll, prima, interessant, doch,
        natürlich, sicher, freilich, eben, aha, so so, soso, na gut, in ordnung, passt, logisch, absolut, tja, ach nee,
        ja genau, wahnsinn, krass, cool, das stimmt, sehr schön, äh, ähm, weiß ich, aber klar
    """),
    stops=phrases("""
        halt, halt mal, halte mal, moment, moment mal, einen moment, einen moment mal, ein moment, kleinen moment,
        warte, warte mal, warten sie, warten sie mal, sekunde, eine sekunde, augenblick, einen augenblick, hör auf,
        hör auf damit, hören sie auf, aufhören, ruhe, sei ruhig, sei still, seien sie still, still, schluss, genug,
        das reicht, es reicht, reicht, nein nein, nicht so schnell, lass mich ausreden, lassen sie mich ausreden, pause,
        abbrechen, vergiss es, stop mal, stopp mal, klappe, halt die klappe, schweig
    """),
    requests=words("""
        sag sage zeig zeige gib erzähl erzähle stell stelle mach mache spiel spiele ruf rufe schick schicke such suche lies öffne
        erinnere hilf leg lege zähl zähle buchstabiere wiederhole erklär erkläre beschreib übersetz übersetze buche bestell
    """),
    polite=phrases("""
        bitte, okay, ok, jetzt, oh, hey, danke, entschuldigung, tschuldigung, nein, ja, gut, mal, doch, ach, äh, ähm, also,
        na, sorry, kurz, bitte mal, so
    """),
    answers=phrases("""
        ja, nein, nee, doch, klar, genau, okay, ok, richtig, falsch, stimmt, gerne, gern, sehr gerne, natürlich, sicher,
        vielleicht, hallo, guten tag, guten morgen, guten abend, danke, nein danke, ja bitte, ja gerne, tschüss,
        auf wiedersehen, auf keinen fall, auf jeden fall, keine ahnung, weiß nicht, ich weiß nicht, m hm, mhm, alles klar,
        passt, ich auch, gut, sehr gut, stopp, ja klar
    """),
    closers=phrases("""
        bitte, danke, danke schön, dankeschön, vielen dank, tschüss, auf wiedersehen, das war's, das wars, das ist alles,
        sonst nichts, mehr nicht, heute, morgen, gestern, jetzt, gerne, so bald wie möglich, glaube ich, oder nicht,
        in ordnung, kein problem, schönen tag noch
    """),
    hesitations=phrases("""
        äh, ähm, öh, öhm, eh, ehm, hm, em, tja, also, na ja, naja, mal sehen, mal schauen, mal überlegen, moment,
        moment mal, einen moment, warte mal, lass mich überlegen, lassen sie mich überlegen, wie sagt man, wie heißt das,
        wie soll ich sagen, ich meine, sagen wir, sagen wir mal, sozusagen
    """),
    hesitation_not_after={
        "ich meine": words("was"),
        "also": words("na ja"),
        "wie heißt das": words("und"),
        "moment": words("im den zum"),
    },
    fillers=words("okay ok also und aber ja nein ähm äh hallo bitte so na gut dann oder weil denn ach hm hi danke"),
    articles=words("""
        der die das den dem des ein eine einen einem einer eines mein meine meinen meinem meiner dein deine deinen deiner
        sein seine seinen ihr ihre ihren ihrem unser unsere unseren euer eure kein keine keinen jeder jede jedes jeden
    """)
    - words("das"),
    joining=words("""
        und oder aber weil dass wenn ob obwohl sondern denn als damit sodass bevor nachdem während bis sowie falls sehr
        zwar entweder weder welche welcher welches sowohl beziehungsweise daß
    """),
    prepositions=words("""
        von zu zum zur für mit aus bei beim im in ins an am auf nach über unter vor gegen ohne durch um seit zwischen
        wegen trotz während neben hinter vom ab per statt gegenüber
    """)
    - words("gegenüber"),
    auxiliaries=words("""
        ist sind bin bist war waren habe hab hat haben hatte kann können könnte muss müssen will wollen möchte möchten soll
        sollen darf dürfen werde wird werden würde würden hätte wäre heißt brauche suche
    """),
    subjects=words("ich du er sie es wir ihr das man"),
    only_subjects=words("ich wir man"),
    pointers=words("das es"),
    unfinished_ends=phrases("""
        ich hätte gern, ich hätte gerne, ich möchte gern, ich möchte gerne, ich würde gern, ich würde gerne, und dann,
        und zwar, zum beispiel, so dass, ein paar, es gibt, gibt es, kannst du, können sie mir,
        brauche noch, möchte noch, können sie, könnten sie,
        könnten sie mir, kannst du mir, haben sie, hast du, ich glaube dass, geben sie mir, gib mir, ich will, kann ich
    """),
    complete_ends=phrases("""
        ja ich bin, da bin ich, bin ich, glaube ich, meine ich, denke ich, hab ich, habe ich, weiß ich, wollte ich,
        will ich, möchte ich, brauche ich, das will ich, was soll ich, wie kann man, was kann man, finde ich,
        ab und zu, nach und nach, komm mit, auf und ab, wo sind wir, was machen wir, sind wir, wer bin ich, sagte ich,
        hoffe ich
    """),
    particles={
        "an": words(
            "mach mache machen macht machst schalte schalten schalt ruf rufe rufen fang fange fangen sieh schau zieh probier"
            " komm kommt kommen kam nimm nehme kommst stell stelle meld melde geht"
        ),
        "auf": words(
            "hör höre hören mach mache machen macht machst steh stehe leg lege pass passen wach ruf schreib gib fällt fiel"
        ),
        "aus": words(
            "mach mache machen macht machst schalte schalten schalt sieht sehe geht probier such wähle fällt komm kommt drück"
            " fülle gehen reicht stell"
        ),
        "ein": words(
            "schalte schalten schalt steig steige kauf kaufe lade fällt schlaf trag trage richte stell stelle"
            " gib bau zahle"
        ),
        "ab": words(
            "hol hole holen sag sage lehn lehne schick heb biege fahr fährt hängt brich nimm gib schalte stell"
        ),
        "mit": words("komm komme kommt kommen kommst nimm nehme nehmen mach mache bring bringe teil teile"),
        "vor": words("stell stelle lies lese hab habe bereite komm kommt les lesen schlag schlage"),
        "zu": words("hör höre hören mach mache schließ gib stimme stimmt sag sage schick lass trifft"),
        "nach": words("denk denke schau schaue frag frage lies gib schlag"),
        "um": words("zieh ziehe dreh schau kehr tausch buch buche bring"),
        "über": words("bleibt"),
        "durch": words("lies les komm führ führe stell"),
        "unter": words("geht bring"),
    },
    openers=words(
        "was wer wo wie wann warum wieso welche welcher welches weil dass ob wenn wohin woher womit wovon wofür"
        " worum obwohl damit als bevor nachdem wen wem daß"
    ),
    verb_last=True,
    agreeing=words("ja nein doch klar natürlich"),
    questions=words(
        "was wer wo wie wann warum wieso weshalb welche welcher welches welchen wohin woher wen wem wofür"
        " womit wieviel worum"
    ),
    asking=words(
        "ist sind bist hast haben habt hat kann kannst können könnt könnten könntest muss müssen darf dürfen soll"
        " sollen willst wollen möchten möchtest gibt wird werden war wäre hätten würden würdest"
    ),
    numbers=_NUMBERS,
    zeros=words("null"),
    number_parts="|".join([*_NUMBERS, "und", "hundert", "tausend"]),
    repeats=words("doppel"),
    points=words("komma"),
    number_cues={
        "nummer": 10,
        "telefonnummer": 10,
        "handynummer": 10,
        "mobilnummer": 10,
        "rufnummer": 10,
        "karte": 15,
        "kartennummer": 15,
        "kreditkarte": 15,
        "kreditkartennummer": 15,
        "kontonummer": 8,
        "iban": 20,
        "postleitzahl": 5,
        "pin": 4,
        "code": 4,
        "kundennummer": 5,
        "bestellnummer": 5,
        "auftragsnummer": 5,
        "vorwahl": 3,
    },
    plain_numbers=words("zimmer linie gleis tisch haus seite"),
    birth=words("geboren geburtsdatum"),
    date_words=words(
        "januar februar märz april mai juni juli august september oktober november dezember ersten zweiten"
        " dritten vierten fünften sechsten siebten achten neunten zehnten elften zwölften"
    ),
    half_years=words("neunzehnhundert"),
    spelling_cues=words("buchstabiere buchstabiert buchstabieren geschrieben buchstaben"),
    spelling_joins=phrases("wie"),
    spelling_words=words(
        "anton berta cäsar dora emil friedrich gustav heinrich ida julius kaufmann ludwig martha nordpol"
        " otto paula quelle richard samuel theodor ulrich viktor wilhelm xanthippe ypsilon zeppelin"
        " punkt unterstrich schrägstrich bindestrich"
    ),
    address_words=words("unterstrich schrägstrich bindestrich"),
    short_words=words("o"),
    initials=phrases("z b, d h, u a, t v, p c, i d, o k, e u, k i, d b"),
)
