"""English."""

from voiceagent.wordlists.form import Words, numerals, phrases, words

_NUMBERS = (
    numerals(
        "zero oh, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen", 0
    )
    | numerals("fifteen, sixteen, seventeen, eighteen, nineteen", 15)
    | numerals("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety", 20, step=10)
)
_PUT = "turn put switch get come keep try leave"

ENGLISH = Words(
    backchannels=phrases("""
        yeah, yea, yes, yep, yup, ya, right, all right, alright, sure, i see, got it, gotcha, exactly, true, cool, nice,
        great, good, really, of course, makes sense, that makes sense, interesting, sounds good, fair enough, go on,
        go ahead, absolutely, definitely, totally, indeed, perfect, awesome, amazing, lovely, fine, that's right,
        that's true, that's great, that's good, that's nice, that's cool, oh my, oh wow, oh no way, i know, uh, um, huh,
        very good, very nice, that's fine, oh i see, sure thing, i understand, understood, for sure
    """),
    stops=phrases("""
        stop it, stop that, stop talking, stop there, stop right there, stop now, stop speaking, wait, wait a minute,
        wait a second, wait a moment, wait a sec, hold on, hold on a second, hold on a minute, hang on, hang on a second,
        one moment, one second, one minute, one sec, just a moment, just a second, just a minute, just a sec, a moment,
        a second, no no, be quiet, quiet, be silent, silence, shut up, hush, shush, shh, enough, that's enough,
        that is enough, pause, cancel, cancel that, never mind, nevermind, forget it, cut it out, cut it, let me speak,
        let me talk, let me finish, listen to me, hold it, knock it off, no more, zip it, not now
    """),
    polite=phrases("""
        please, okay, ok, now, oh, hey, thanks, thank you, sorry, excuse me, no, yeah, yes, all right, alright, right,
        just, so, well, um, uh, can you, could you, would you, will you, for a moment, for a second, for a minute, hm, ah
    """),
    answers=phrases("""
        yes, no, yeah, yep, yup, nope, nah, sure, okay, ok, of course, of course not, exactly, correct, right, wrong,
        absolutely, definitely, certainly, all right, alright, fine, great, perfect, not really, not at all, maybe,
        m hm, mm hm, mhm, uh huh, hello, hi, hey, good morning, good evening, good afternoon, thanks, thank you, bye,
        got it, i do, i don't, yes i do, no i don't, yes it is, yes i am, yes i have, yes i can, i think so,
        i don't think so, go ahead, never mind, stop, i don't know, no idea, yes please, no thanks, me too, neither
    """),
    closers=phrases("""
        please, thank you, thanks, thank you very much, thanks a lot, bye, goodbye, bye bye, see you, see you later,
        that's all, that's it, that is all, that's everything, nothing else, i think so, i guess so, i hope so,
        i don't think so, right now, as soon as possible, today, tomorrow, tonight, yesterday, instead, as well, anyway,
        if possible, you're welcome, no problem, of course, that's fine, sounds good, that's right, is that so,
        have a nice day, whatever, either
    """),
    hesitations=phrases("""
        um, uhm, uh, er, erm, em, hm, ehm, well, let me see, let me think, let's see, let me check, let me look,
        let me have a look, you know, i mean, how do you say, how do i say, how should i say, what's it called,
        what's the word, what was it, i was like, it's like, hold on, hang on, one moment, one second, just a moment,
        just a second, wait, give me a second, give me a moment, bear with me, or something like
    """),
    hesitation_not_after={
        "you know": words("do did how as if because would don't didn't what let than everything"),
        "i mean": words("what do know"),
        "well": words(
            "as very really so pretty all quite doing going feel feels feeling felt is are well it's get not works sleep oh am"
        ),
        "wait": words("can't can to you i please the long just will should they we a must"),
        "what was it": words("and"),
        "hold on": words("to please"),
        "one moment": words("for"),
        "one second": words("for"),
        "it's like": words("what how know"),
    },
    fillers=words("""
        okay ok so and well but um uh hi hello hey please yeah yes no oh right then or because now also alright sorry
        actually basically anyway uhm er erm hm ah thanks
    """),
    articles=words("a an the my your our their every another whose its"),
    joining=words("""
        and or but because if unless although whether than as nor that's which who's whom cuz plus
        i'm you're he's she's we're they're it's there's here's i'll you'll he'll she'll we'll they'll it'll i've you've
        we've they've i'd you'd he'd she'd we'd they'd gonna wanna gotta let's very so while until till since unlike
        called named there're what's where's how's when's im ive
    """),
    prepositions=words("""
        of to for with from at by about into onto in on between among against without within during toward towards
        through under upon per via near behind beside across after except including regarding concerning beneath
    """),
    auxiliaries=words(
        "is are was were am be been being has have had do does did can could will would shall should may might must"
    ),
    subjects=words("i you he she it we they that this there"),
    objects=words("you him her them me us"),
    only_subjects=words("i he she we they"),
    replies=phrases("""
        i am, i do, i did, i have, it is, it was, it does, they are, they do, we are, we do, he is, she is, he does, she does
    """),
    pointers=words("this that there"),
    unfinished_ends=phrases("""
        i'd like, i would like, we'd like, we would like, i want, i need, we need, such as, something like,
        looks like, feels like, and then, and also, and maybe, but then, or maybe, so that, think that, believe that,
        said that, says that, hope that, sure that, true that, told me that, means that, the fact that, guy who,
        person who, one who, people who, man who, woman who, someone who,
        the one that,
        the thing that, so i, and i, i was wondering, tell me about, a lot of, a couple, a few more, how about,
        what about, because of, instead of, at least, at the, more than, less than, i was, i just, i just want,
        can you, could you, would you, do you, can i, could i, may i, do you have, can i have, could i have,
        can i get, could i get, i want you to, can you tell me, could you tell me, in order, due to, i'm looking,
        i'm calling, i'm trying, are you able, give me, show me, tell me, my name's, my, even though, as long as,
        reason is that, problem is that, thing is that, point is that, idea is that, thought that, i said, he said,
        she said, they said, a new, the new, my new, we will need, we'll need, so basically, it just, i'd say, it says,
        how do i, how do you, how do we, the name is, spelled with, it's about
    """),
    complete_ends=phrases("""
        think so, hope so, guess so, is that so, or so, so so, if so, say so, says so, do so, even so, not so,
        suppose so, believe so, told you so, afraid so, what for, for a while, a while, in a while, ever since,
        long since, what if, where to, where from, who with, as if, i'm in, count me in, is he in, is she in,
        are you in, is it on, it's on, what's on, and so on, so on, from now on, later on, early on, go on, come on,
        hold on, hang on, move on, carry on, come in, log in, sign in, check in, drop in, get in, let me in, stop by,
        drop by, come by, by and by, get through, the day after, the week after, the year after, soon after,
        shortly after, look after, if i want, what i have to do, what can i have, what can i get, let it be,
        want it to be, could be, may be, way that is, how could you, how do you do, how do you, why would you,
        why do you, all i have, so very, of may, in may, next may, this may, last may, until may, log on, believe in,
        pitch in, plug it in, how so, why so, what's going on, going on, so do i, neither do i, so am i, like you do,
        i'd love to, we'd love to, can do, can't do, could do, will do, would do, should do, must do, to do,
        do i have to, do we have to, do you have to, if you want to, if i want to
    """),
    particles={
        "on": words(_PUT + " go hold hang log move carry turning turned putting switched keeps going goes logged"),
        "in": words(
            "come log sign check fill hand plug let get call drop type punch came logged moved settle count bring"
        ),
        "by": words("stop drop come go pass swing stopped get"),
        "through": words("get got put come go went follow run"),
        "about": words("move run lie"),
        "under": words("go went"),
        "across": words("come get got came"),
        "behind": words("leave left fall fell stay"),
    },
    openers=words("""
        what who where which whom what's who's where's how why whose whatever wherever all thing things one ones something
        anything nothing someone somebody anyone anybody nobody nowhere everything stuff place person people that's
    """),
    stranded=phrases("""
        waiting for, wait for, looking for, look for, looking at, look at, asking for, ask for, asked for, thinking of,
        thinking about, think of, think about, thought of, thought about, talking about, talk about, talked about,
        talking to, talk to, talk with, speaking to, speaking with, speak to, speak with, spoke to, spoke with, listen to,
        listening to, hear about, heard about, heard of, worry about, worried about, sorry about, care about, dream of,
        dream about, come from, comes from, came from, coming from, belong to, belongs to, happen to, happened to, do with,
        do about, deal with, dealing with, live in, living in, work for, working for, work with, working with, work on,
        working on, pay for, paid for, paying for, go with, go to, going to, went with, stay at, stay in, staying at,
        interested in, afraid of, scared of, proud of, good at, bad at, made of, made from, aiming at, laughing at, run by,
        hoping for, hope for, depend on, depends on, relying on, rely on, count on, decide on, sit on, used for, use for,
        good for, need it for, want it for, like about, know about, knew about, told about, told me about, tell me about,
        told you about, read about, wrong with, matter with, up to, look like, mean by, known for, famous for, play with,
        start with, begin with, help with, help you with, help me with, agree with, stay with, meet with, named after,
        born in, apply for, applied for, sign up for, call about, calling about, calling for, calling from, complain about
    """),
    agreeing=words("think hope believe guess suppose sure than as bet yes no yeah course know like says say "),
    questions=words("what who where which when why how whose whom what's who's where's when's how's"),
    asking=words("""
        is are was were am have has had do does did can could will would shall should may might isn't aren't wasn't don't
        doesn't didn't can't couldn't won't wouldn't shouldn't haven't hasn't
    """),
    requests=words("""
        do go keep tell give show count set turn play call send find read open close remind help let make put add book order buy
        spell repeat say sing explain describe translate start stop cancel check look get bring take write convert calculate
    """),
    asking_on=words("do does did can could will would shall should may might must have has had"),
    orders=phrases("do it, do that, do this, have it, have that, have this"),
    wants=words("want have need like mean going able allowed supposed plan how love used wanted ought"),
    denials=words("not don't dont didn't doesn't won't wouldn't can't never isn't aren't wasn't if nobody"),
    copulas=words("is are was were am"),
    numbers=_NUMBERS,
    zeros=words("zero oh"),
    number_parts="hundred|thousand|million",
    repeats=words("double triple"),
    points=words("point"),
    number_cues={
        "phone": 10,
        "telephone": 10,
        "mobile": 10,
        "cell": 10,
        "number": 10,
        "reach": 10,
        "dial": 10,
        "card": 15,
        "visa": 15,
        "mastercard": 15,
        "account": 8,
        "iban": 18,
        "routing": 9,
        "order": 5,
        "reference": 6,
        "booking": 5,
        "customer": 5,
        "zip": 5,
        "postcode": 5,
        "pin": 4,
        "code": 4,
        "digits": 4,
        "security": 9,
        "passport": 8,
        "extension": 3,
        "serial": 8,
        "meter": 5,
        "sort": 6,
        "member": 6,
        "membership": 6,
        "policy": 6,
        "invoice": 5,
    },
    plain_numbers=words("room flight table house gate bus platform page line track seat season episode chapter train"),
    birth=words("born birth"),
    date_words=words("""
        january february march april may june july august september october november december first second third fourth
        fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth
        eighteenth nineteenth twentieth thirtieth 1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th 13th 14th 15th 16th
        17th 18th 19th 20th 21st 22nd 23rd 24th 25th 26th 27th 28th 29th 30th 31st
    """),
    half_years=words("nineteen twenty"),
    spelling_cues=words("spell spelled spelt spelling letters"),
    spelling_joins=phrases("as in, for, like"),
    spelling_words=words("""
        alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
        sierra tango uniform victor whiskey x-ray yankee zulu dot underscore slash backslash dash hyphen
    """),
    address_words=words("dot underscore slash backslash dash hyphen"),
    short_words=words("a i o"),
    initials=phrases(
        "p m, a m, u s, u s a, u k, t v, d c, i d, o k, a i, p s, e g, i e, p c, c e o, v i p, e u, n y, l a"
    ),
)
