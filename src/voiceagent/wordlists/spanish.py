"""Spanish."""

from voiceagent.wordlists.form import Words, numerals, phrases, words

_NUMBERS = (
    numerals(
        "cero, uno un una, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce, trece, catorce", 0
    )
    | numerals("quince, dieciséis, diecisiete, dieciocho, diecinueve, veinte, veintiuno, veintidós, veintitrés", 15)
    | numerals("veinticuatro, veinticinco, veintiséis, veintisiete, veintiocho, veintinueve", 24)
    | numerals("treinta, cuarenta, cincuenta, sesenta, setenta, ochenta, noventa", 30, step=10)
)

SPANISH = Words(
    backchannels=phrases("""
        sí, si, ya, claro, claro que sí, vale, bueno, bien, muy bien, ajá, aja, exacto, exactamente, entiendo, ya veo,
        de acuerdo, por supuesto, perfecto, correcto, así es, eso es, verdad, en serio, genial, qué bien, ah sí, cierto,
        ya ya, estupendo, interesante, ah vale, ah ya, desde luego, eso, anda, entendido, mira, guay, dale
    """),
    stops=phrases("""
        para, para ya, pare, basta, basta ya, alto, espera, espera un momento, espera un segundo, espere, espere un momento,
        un momento, un momentito, un segundo, momento, cállate, cállese, callate, silencio, detente, deténgase, no no,
        ya basta, déjame hablar, déjeme hablar, suficiente, es suficiente, pausa, cancela, olvídalo, un minuto, tranquilo
    """),
    requests=words("""
        dime cuéntame cuenta pon ponme dame muéstrame abre cierra llama manda envía busca lee recuérdame ayúdame repite explica
        traduce deletrea reserva pide compra
    """),
    polite=phrases("""
        por favor, vale, okay, ok, ya, oye, oiga, perdón, perdona, perdone, disculpa, disculpe, gracias, no, sí, bueno, eh,
        ah, oh, pues, ahora, mira
    """),
    answers=phrases("""
        sí, si, no, claro, vale, de acuerdo, bueno, exacto, correcto, por supuesto, quizás, quizá, tal vez, hola, gracias,
        no gracias, sí gracias, sí por favor, adiós, buenos días, buenas tardes, buenas noches, no sé, no lo sé, ni idea,
        perfecto, está bien, m hm, mhm, yo también, tampoco, nada, claro que sí, claro que no
    """),
    closers=phrases("""
        por favor, gracias, muchas gracias, adiós, hasta luego, eso es todo, nada más, hoy, mañana, ayer, ahora,
        creo que sí, creo que no, lo antes posible, de acuerdo, está bien, también, así es, de nada, hasta mañana
    """),
    hesitations=phrases("""
        eh, em, um, uh, mm, hm, este, esto, pues, o sea, a ver, déjame ver, déjeme ver, déjame pensar, déjeme pensar,
        cómo se dice, cómo decirlo, cómo se llama, digamos, un momento, un segundo, espera, bueno pues, es que, vamos a ver
    """),
    hesitation_not_after={
        "este": words("es quiero prefiero de en el con por mes"),
        "esto": words("es todo de en con por qué quiero"),
        "cómo se llama": words("y usted ella él"),
        "a ver": words("voy vamos ir va"),
        "un momento": words("en por"),
        "pues": words("así"),
    },
    fillers=words("y pero pues bueno vale okay ok eh hola sí no ah oye entonces o porque perdón gracias este"),
    articles=words(
        "el la los las un una unos unas mi mis tu tus su sus nuestro nuestra nuestros nuestras cada al del lo cualquier"
    ),
    joining=words("y e o u pero porque que si aunque cuando mientras sino ni como muy tan pues donde cuyo cuya salvo"),
    prepositions=words(
        "de a en con por para sin sobre desde hasta entre hacia según contra ante bajo tras durante mediante"
    ),
    auxiliaries=words(
        "es son soy eres está están estoy estás era eran fue he ha han hemos había tengo tiene tienen puedo"
        " puede puedes quiero quiere quieres necesito debo debe voy va quisiera quería hay tiene sería"
    ),
    subjects=words("yo tú él ella usted nosotros ellos ellas ustedes eso esto"),
    only_subjects=words("yo nosotros"),
    pointers=words("eso esto"),
    unfinished_ends=phrases("""
        me gustaría, por ejemplo, y luego, y después, a lo mejor, me llamo, tal como, así que, ya que, para que, creo que,
        mi nombre es, quiero que, tengo que, el problema es, hay que, me puede, me puedes, puedes, podría, podrías, además
        de, quiero un poco, dame, deme, dígame el, un par
    """),
    complete_ends=phrases("""
        qué es, quién es, cómo está, cómo estás, cómo están, dónde está, dónde están, cuánto es, cuántos son, qué hay,
        qué tiene, qué quiere, qué quieres, dónde va, cómo va, no puedo, sí puedo, no quiero, sí quiero, lo es,
        no tengo, sí tengo, sí hay, no hay, así es, eso es, no está, ya está, ahí está, aquí está, que si, no lo es,
        yo soy, soy yo, y yo, ni yo, tampoco yo, quién soy, qué hora es, ya voy, no va, allá voy, cuál es, no es,
        sí es, sí lo es, ahora voy, si puedes, si puede, si quieres, si quiere, lo que quiero, lo que tengo,
        todo lo que hay, lo que necesito, que tengo, que puedo
    """),
    openers=words("qué quién quiénes cómo cuándo dónde cuánto cuánta cuántos cuál cuáles"),
    verb_last=True,
    agreeing=words("sí no claro creo"),
    questions=words("qué quién quiénes cómo cuándo dónde adónde cuánto cuánta cuántos cuántas cuál cuáles"),
    numbers=_NUMBERS,
    zeros=words("cero"),
    number_parts="ciento|cientos|cien|mil|millón",
    repeats=words("doble triple"),
    points=words("coma"),
    number_cues={
        "número": 9,
        "teléfono": 9,
        "móvil": 9,
        "celular": 9,
        "tarjeta": 15,
        "cuenta": 10,
        "iban": 20,
        "postal": 5,
        "pin": 4,
        "código": 4,
        "dni": 8,
        "pedido": 5,
        "reserva": 5,
        "referencia": 5,
    },
    plain_numbers=words("habitación puerta mesa línea página vuelo"),
    spaced_thousands=True,
    birth=words("nací nacimiento"),
    date_words=words(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre primero"
    ),
    phone_digits=9,
    spelling_cues=words("deletrear deletreo deletrea escribe letras"),
    spelling_joins=phrases("de, como"),
    spelling_words=words("punto barra guion guión arroba"),
    address_words=words("barra guion guión arroba"),
    short_words=words("a e o u y"),
    initials=phrases("p m, a m, e u, t v, o k, u e, d n i, i a"),
)
