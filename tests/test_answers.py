"""What is no answer is found, what is one passes, and a guarded turn passes on what it has read so far."""

import pytest

from hubert_llama.answers import Fault, GuardedTurn, find_fault, guard, nats_a_token
from hubert_llama.chat import Completion

WORDS = "the heart has four chambers of light green and a it is pumps blood sum"
KNOWN = frozenset(WORDS.split()).__contains__
GOOD = "The human heart has four chambers. The left ventricle pumps blood into the aorta."


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", Fault.EMPTY),
        (" …!", Fault.EMPTY),
        ("@@ ## {x} <<>> ||", Fault.SYMBOLS),
        ("\ufffd\ufffd a \ufffd", Fault.SYMBOLS),
        ("The student said: What is light?", Fault.PROMPT),
        ("What is light?", Fault.ECHO),
        ("what's light", Fault.ECHO),
        ("the the the the the the", Fault.LOOP),
        ("In theory in theory in theory in theory in theory.", Fault.LOOP),
        ("It is the heat from the sea. " * 3, Fault.LOOP),
        ("Grplk vrmnt xxxa the sgtrh.", Fault.NON_WORDS),
        ("The bults of the astalist is the swegaleral and the fillional.", Fault.NON_WORDS),
    ],
)
def test_what_is_no_answer(text, fault):
    assert find_fault(text, "What is light?", KNOWN) == fault


@pytest.mark.parametrize(
    "text",
    [
        "The human heart has four chambers.",
        "Two plus two plus two plus two is eight.",
        "2 + 2 + 2 + 2 = 8",
        "Yes.",
        "12",
        "Light",
        "x = (-b ± √(b² - 4ac)) / 2a",
        "It is very, very, very big.",
        "La fotosíntesis convierte la luz en energía química en las hojas de las plantas.",
        "光合作用是植物利用光能的过程。",
        "प्रकाश संश्लेषण पौधों में होता है।",
        "`for i in range(3): print(i)` prints 0, 1 and 2.",
        "Schrödinger's equation says how a quantum state changes.",
        "1. Mix. 2. Heat. 3. Wait.",
        "No, that is not right. The heart has four chambers, not two.",
        "It is the heat from the sea. It is the heat from the sea.",
        "Rhythms: strengths and lengths.",
        "It is ATP, NADPH and CO2.",
    ],
)
def test_what_is_an_answer(text):
    assert find_fault(text, "What is light?") is None


def test_a_table_is_no_loop():
    assert find_fault("2 times 1 is 2. 2 times 2 is 4. 2 times 3 is 6. 2 times 4 is 8. 2 times 5 is 10.") is None


def test_a_few_tokens_are_no_evidence():
    assert nats_a_token([]) == 0.0
    assert nats_a_token([-1.0] * 4) == -0.5
    assert nats_a_token([-1.8] * 40) == pytest.approx(-1.64, abs=5e-3)


def passed_on(text: str) -> tuple[list[str], GuardedTurn]:
    """The pieces of a text, written a character at a time, that are passed on, and what counts."""

    def saying():
        yield from text
        return Completion(text, "stop")

    pieces, turn = [], guard(saying(), find_fault)
    while True:
        try:
            pieces.append(next(turn))
        except StopIteration as end:
            return pieces, end.value


@pytest.mark.parametrize("text", ["Yes.", "Light", f"{GOOD} It beats."])
def test_an_answer_is_passed_on_whole(text):
    pieces, counts = passed_on(text)
    assert ("".join(pieces), counts) == (text, GuardedTurn(text, None, Completion(text, "stop")))


def test_nothing_is_passed_on_of_what_is_no_answer():
    assert passed_on("The sea. The sea. The sea. The sea. The sea.") == ([], GuardedTurn("", Fault.LOOP))
    assert passed_on("") == ([], GuardedTurn("", Fault.EMPTY, Completion("", "stop")))
