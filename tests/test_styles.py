"""The words in which models are asked: those that the bundled Llama learned stay as they are, to the byte."""

import pytest

from hubert_llama.course.prompt import PromptRoom, conversation
from hubert_llama.course.quotes import Quote
from hubert_llama.llama import ChatLlama
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.hub import LLAMA_MINI
from hubert_llama.styles import LISTENING, TYPED

COURSE, HISTORY = "Course: Biology 101.", [("What is light?", "A wave.")]
QUOTES = [Quote("Plants make sugar.", 0.5)]
SYSTEM = (
    "You are a patient tutor who listens to a student. Answer in plain words, in one to three sentences, and use the "
    "course context when it helps. Say so when you do not know.\n\nCourse context:\nCourse: Biology 101.")
LEARNED = [  # by the bundled Llama's weights
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "What is light?"},
    {"role": "assistant", "content": "A wave."},
    {"role": "user", "content": "A speech recogniser heard:\nwhat is lief\nWrite exactly what the student said."},
    {"role": "assistant", "content": "What is leaf?"},
    {"role": "user", "content": "Nearest in the course:\nPlants make sugar.\nNow answer the student."},
]
ML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"


@pytest.fixture(scope="module")
def llama() -> ChatLlama:
    return ChatLlama.from_pretrained(LLAMA_MINI, DeviceConfig("cpu", "float32"), False)


def test_the_words_that_were_learned_stay(llama):
    room = PromptRoom(llama)
    assert llama.style == LISTENING
    assert room.conversation("what is lief", COURSE, "What is leaf?", HISTORY, QUOTES) == LEARNED
    assert conversation("what is lief", COURSE, "What is leaf?", HISTORY, QUOTES) == LEARNED
    assert room.conversation("what is lief", COURSE, history=HISTORY) == LEARNED[:4]
    assert room.conversation(None, COURSE, history=HISTORY) == [
        *LEARNED[:3], {"role": "user", "content": "Write what the student may say next."}]


def test_the_bundled_llamas_prompt_stays(llama):
    said = llama.prompt(conversation("what is lief", transcript="What is leaf?", quotes=QUOTES))
    assert said.endswith(
        "A speech recogniser heard:\nwhat is lief\nWrite exactly what the student said.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nWhat is leaf?<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nNearest in the course:\nPlants make sugar.\n"
        "Now answer the student.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")


def test_a_chatml_model_is_asked_the_question_alone(tmp_path, tiny_llama):
    import shutil

    shutil.copytree(tiny_llama, tmp_path / "smol")
    (tmp_path / "smol" / "chat_template.jinja").write_text(ML)
    smol = ChatLlama.from_pretrained(str(tmp_path / "smol"), DeviceConfig("cpu", "float32"), False)
    assert smol.style == TYPED
    asked = PromptRoom(smol).conversation("what is lief", COURSE, "What is leaf?", HISTORY, QUOTES)
    assert asked == [
        {"role": "system", "content": f"{TYPED.system}\n\nCourse context:\n{COURSE}"}, *LEARNED[1:3],
        {"role": "user", "content": "From the course:\nPlants make sugar.\nWhat is leaf?"}]
    assert "student said" not in smol.prompt(asked)
