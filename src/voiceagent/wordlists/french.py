"""French."""

from voiceagent.wordlists.form import Words, numerals, phrases, words

_NUMBERS = (
    numerals("zéro, un une, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze, treize, quatorze", 0)
    | numerals("quinze, seize", 15)
    | numerals("vingt vingts, trente, quarante, cinquante, soixante, septante, huitante, nonante", 20, step=10)
)

FRENCH = Words(
    backchannels=phrases("""
        oui, ouais, ouaip, d'accord, bien, très bien, bien sûr, exactement, exact, tout à fait, je vois, je comprends,
        ah bon, ah oui, ah d'accord, c'est vrai, c'est ça, voilà, parfait, super, génial, effectivement, en effet, carrément,
        vraiment, entendu, compris, sûr, ça marche, ça va, hein, ben oui, mais oui, si si, intéressant, tiens, cool, bon, ah ouais
    """),
    stops=phrases("""
        arrête, arrêtez, arrête ça, arrêtez ça, attends, attendez, attends une seconde, attendez une seconde,
        attends un moment, attendez un moment, une seconde, un instant, un moment, une minute, deux secondes, deux minutes,
        tais toi, taisez vous, silence, chut, ça suffit, assez, c'est assez, non non, laisse moi parler, laissez moi parler,
        pause, annule, annulez, laisse tomber, minute, doucement, la ferme
    """),
    requests=words("""
        dis dites raconte racontez donne donnez montre montrez mets mettez joue appelle envoie cherche lis ouvre ferme rappelle
        aide répète explique traduis épelle compte réserve commande
    """),
    polite=phrases("""
        s'il te plaît, s'il vous plaît, s'il te plait, s'il vous plait, d'accord, okay, ok, merci, pardon, excusez moi,
        excuse moi, désolé, désolée, non, oui, euh, ah, oh, bon, alors, hé, eh, maintenant, mais, bien
    """),
    answers=phrases("""
        oui, non, ouais, si, d'accord, bien sûr, exactement, peut être, tout à fait, voilà, bonjour, bonsoir, salut, merci,
        non merci, oui merci, au revoir, je ne sais pas, je sais pas, aucune idée, parfait, ça va, m hm, mhm, moi aussi, okay,
        ok, pas du tout, oui s'il vous plaît, bien sûr que non, bien sûr que oui, rien
    """),
    closers=phrases("""
        s'il te plaît, s'il vous plaît, s'il te plait, s'il vous plait, merci, merci beaucoup, au revoir, c'est tout,
        rien d'autre, aujourd'hui, demain, hier, maintenant, je crois, je pense, dès que possible, d'accord, bonne journée,
        ça va, c'est bon, c'est ça, à bientôt, non plus
    """),
    hesitations=phrases("""
        euh, heu, hum, hm, eh, em, ben, bah, eh bien, enfin, voyons, voyons voir, attends, attendez, un instant,
        une seconde, un moment, comment dire, comment on dit, comment ça s'appelle, laisse moi réfléchir,
        laissez moi réfléchir, je veux dire, disons, tu sais, vous savez, du coup, genre
    """),
    hesitation_not_after={
        "tu sais": words("si que comment"),
        "vous savez": words("si que comment"),
        "un moment": words("pour dans"),
        "je veux dire": words("que"),
        "attends": words("je t' vous"),
        "enfin": words("vais"),
    },
    fillers=words("et mais alors donc bon ben euh bonjour oui non ah okay ok ou parce salut merci pardon voilà bah"),
    articles=words(
        "le la les un une des du au aux mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce cet"
        " cette ces l' d' d'un d'une qu'un qu'une chaque quelques plusieurs"
    ),
    joining=words(
        "et ou mais donc car que qu' si lorsque puisque quand comme parce qui dont ni très plus' jusqu' où'"
        " lorsqu' afin c' j' n' m' t' s' quelqu' trop"
    ),
    prepositions=words(
        "de à en avec par pour sans sur sous dans chez vers entre depuis pendant jusque contre selon malgré"
        " dès via parmi"
    ),
    auxiliaries=words(
        "est sont suis es était étaient c'est c'était ai j'ai as a avons avez ont avait n'est peux peut"
        " pouvez veux veut voulez dois doit devez vais va allez voudrais voudrait faut j'avais j'aimerais"
        " m'appelle n'ai"
    ),
    subjects=words("je tu il elle on nous vous ils elles ça"),
    only_subjects=words("je j' tu il ils"),
    pointers=words("ça"),
    unfinished_ends=phrases("""
        est ce que, est ce qu', qu'est ce que, je voudrais, j'aimerais, par exemple, et puis, et après, parce que, je m'appelle,
        il y a, y a t il, ainsi que, pour que, je crois que, je pense que, à cause, un peu de, beaucoup de, pouvez vous,
        est ce que je, est ce que vous, donnez moi, dites moi, quel est, quelle est, combien de, il me faut, au sujet, près
    """),
    complete_ends=phrases("""
        qui est ce, qu'est ce que c'est, comment va, comment ça va, ça va, où est ce, où il est, je suis pour,
        je suis contre, je fais avec, faire avec, fait avec, je veux, oui je veux, oui je peux, si tu veux,
        si vous voulez, comme tu veux, comme vous voulez, il faut, ce qu'il faut, comme il faut, qu'il y a,
        qu'est ce qu'il y a, on y va, j'y vais, je vais, bien sûr que si, mais si, oh que si, dès que je peux,
        quelle heure est il, est il, où est il, peut il, où sont ils, sont ils, y a t il, que fait il,
        a t il, dit il, fait il, vient il,
        allez, qui es tu, es tu, où es tu, que veux tu, veux tu, peux tu, as tu, vas tu, où en es tu, avec ou sans
    """),
    openers=words("qui quoi où comment quand combien pourquoi quel quelle quels quelles"),
    verb_last=True,
    agreeing=words("oui non si comme"),
    questions=words("qui quoi où comment quand combien pourquoi quel quelle quels quelles qu'est lequel laquelle"),
    asking=words("est pouvez peux peut avez as êtes es voulez veux savez sais puis ont sont allez vas"),
    numbers=_NUMBERS,
    zeros=words("zéro"),
    number_parts="cent|cents|mille|million",
    repeats=words("double"),
    points=words("virgule"),
    number_cues={
        "numéro": 10,
        "téléphone": 10,
        "portable": 10,
        "mobile": 10,
        "carte": 15,
        "compte": 10,
        "iban": 20,
        "postal": 5,
        "code": 4,
        "pin": 4,
        "commande": 5,
        "référence": 5,
        "dossier": 5,
        "client": 5,
    },
    plain_numbers=words("chambre table porte page ligne quai vol bus"),
    spaced_thousands=True,
    birth=words("né née naissance"),
    date_words=words("janvier février mars avril mai juin juillet août septembre octobre novembre décembre premier"),
    spelling_cues=words("épelle épeler s'écrit épellation lettres"),
    spelling_joins=phrases("comme"),
    spelling_words=words("point tiret slash arobase souligné"),
    address_words=words("tiret slash arobase souligné"),
    short_words=words("a y à"),
    initials=phrases("t v, p c, o k, u e, e u, i a"),
)
