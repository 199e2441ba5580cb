"""Sentences of the four kinds that interpretability studies use, with the weight of each word.

Every sentence is a list of (text, weight) pieces: the weight says how much the loss counts the
piece's tokens. The word that can be told from what stands before it counts most.
A sample is held out when a checksum of its combination says so, so training never sees it.
"""

import dataclasses
import zlib

FILLER = 0.05  # weight of words that nothing before them tells
INDUCTION = 0.7  # weight of a repeated token; a sentence has many

NAMES = """Mary John Tom James Dan Sarah Emma David Alice Peter Anna Mark Laura Paul Kate Simon
Lucy Henry Jane Robert Susan George Helen Frank Rose Adam Julia Martin Clara Victor Grace Oliver
Ruth Samuel Nina Thomas Ellen Daniel Maria Andrew Linda Kevin Diana Jacob Amy Michael Sophie
William Karen Joseph Claire Richard Irene Edward Tina Charles Nora Philip Vera Walter""".split()
PLACES = """store garden restaurant school hospital office house station park market library
museum theatre beach harbour bakery""".split()
OBJECTS = """drink book ring basketball necklace kiss computer bone snack letter ticket flower
key bag lamp coat""".split()

# {A} and {B} are the two names in the order of mention, {S} the one who acts.
IOI_TEMPLATES = [
    "When {A} and {B} went to the {place}, {S} gave a {object} to",
    "Then, {A} and {B} went to the {place}. {S} gave a {object} to",
    "After {A} and {B} went to the {place}, {S} handed a {object} to",
    "While {A} and {B} were working at the {place}, {S} gave a {object} to",
    "Then, {A} and {B} were working at the {place}. {S} decided to give a {object} to",
    "Then, {A} and {B} had a lot of fun at the {place}. {S} gave a {object} to",
    "Then, {A} and {B} were thinking about going to the {place}. {S} wanted to give a {object} to",
    "Friends {A} and {B} found a {object} at the {place}. {S} gave it to",
    "Then, {A} and {B} had a long argument, and afterwards {S} said to",
    "When {A} and {B} got a {object} at the {place}, {S} decided to give it to",
    "Yesterday {A} and {B} met at the {place}, where {S} sent a {object} to",
    "{A} and {B} came to the {place}. {S} passed the {object} to",
]
IOI_HELD_OUT_TEMPLATES = [
    "After the lunch, {A} and {B} went to the {place}. {S} gave a {object} to",
    "While {A} and {B} were at the {place}, {S} passed a {object} to",
    "Then {A} and {B} found a {object}, and afterwards {S} gave it to",
]

EVENTS = """war journey trial voyage strike feud siege reign drought project festival campaign
treaty famine exile""".split()
YEAR_TEMPLATES = [
    "The {event} lasted from the year {century}{start} to the year {century}",
    "The {event} began in {century}{start} and ended in {century}",
    "The {event} went on from {century}{start} until {century}",
]
CENTURIES = range(11, 20)

NOUNS = """key/keys picture/pictures cat/cats dog/dogs teacher/teachers book/books tree/trees
river/rivers friend/friends car/cars letter/letters child/children man/men woman/women
door/doors machine/machines student/students box/boxes king/kings window/windows""".split()
PLACE_NOUNS = """cabinet/cabinets house/houses table/tables garden/gardens wall/walls road/roads
school/schools village/villages tower/towers boat/boats""".split()
PREPOSITIONS = ["to", "near", "behind", "beside", "by", "of"]
VERBS = ["is/are", "was/were", "has/have", "does/do"]
ENDINGS = {
    "is": ["old", "new", "red", "small", "very nice"],
    "has": ["been moved", "come back"],
    "does": ["not look right", "not help"],
}
ENDINGS["was"] = ENDINGS["is"]


@dataclasses.dataclass
class Sample:
    """One sentence: its pieces, the prompt, and the right and wrong next words."""

    pieces: list
    prompt: str
    right: str
    wrong: str = ""


def held_out(*combination):
    """Whether this combination is one of the tenth that training never sees."""
    return zlib.crc32(" ".join(map(str, combination)).encode()) % 10 == 0


def _draw(rng, want_held_out, draw):
    """Repeats draw() until its combination is on the wanted side."""
    while True:
        value = draw()
        if held_out(*value) == want_held_out:
            return value


def indirect_object(rng, evaluation=False, templates=IOI_TEMPLATES):
    """ "When Mary and John went to the store, John gave a drink to" -> " Mary"."""
    a, b = _draw(rng, evaluation, lambda: rng.sample(NAMES, 2))
    subject, receiver = rng.choice([(a, b), (b, a)])  # ABA and ABB orders alike
    prompt = rng.choice(templates).format(
        A=a, B=b, S=subject, place=rng.choice(PLACES), object=rng.choice(OBJECTS)
    )
    return Sample(
        [(prompt, FILLER), (" " + receiver, 4.0), (".", FILLER)],
        prompt,
        " " + receiver,
        " " + subject,
    )


def third_name(rng):
    """The control of the above: a third name acts, so either of the two may receive."""
    a, b, c = rng.sample(NAMES, 3)
    prompt = rng.choice(IOI_TEMPLATES).format(
        A=a, B=b, S=c, place=rng.choice(PLACES), object=rng.choice(OBJECTS)
    )
    return Sample([(prompt, FILLER), (" " + rng.choice([a, b]), 1.0), (".", FILLER)], prompt, "")


def greater_than(rng, evaluation=False):
    """ "The war lasted from the year 1732 to the year 17" -> a number above 32."""
    century, start = _draw(rng, evaluation, lambda: (rng.choice(CENTURIES), rng.randrange(2, 98)))
    end = rng.randrange(start + 1, 100)
    template = rng.choice(YEAR_TEMPLATES)
    prompt = template.format(event=rng.choice(EVENTS), century=century, start=f"{start:02}")
    head, century_again = prompt[:-3], prompt[-3:]
    return Sample(
        [(head, FILLER), (century_again, 1.0), (f"{end:02}", 2.0), (".", FILLER)],
        prompt,
        f"{start:02}",
    )


def agreement(rng, evaluation=False):
    """ "The keys to the cabinet" -> " are", whatever the number of the noun in between."""
    subject, between = _draw(rng, evaluation, lambda: (rng.choice(NOUNS), rng.choice(PLACE_NOUNS)))
    number = rng.randrange(2)
    verb = rng.choice(VERBS).split("/")
    prompt = (
        f"The {subject.split('/')[number]} {rng.choice(PREPOSITIONS)} the "
        f"{rng.choice(between.split('/'))}"
    )
    ending = rng.choice(ENDINGS[verb[0]])
    return Sample(
        [(prompt, FILLER), (" " + verb[number], 2.0), (f" {ending}.", FILLER)],
        prompt,
        " " + verb[number],
        " " + verb[1 - number],
    )


def induction(rng, tokens, length=None):
    """A run of different random tokens, then a part of it again and again: (ids, weights).

    From its second time on every token follows from the one before it.
    """
    length = length or rng.randrange(3, 16)
    run = rng.sample(tokens, length)
    again = run[rng.randrange(length // 2) :]  # the second time need not begin at the first token
    again = again * rng.randrange(1, 4)
    return run + again, [FILLER] * (length + 1) + [INDUCTION] * (len(again) - 1)
