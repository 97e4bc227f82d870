"""What is heard and answered on the notebooks' clips stays what it was when it was recorded (tests/data/clips.json).

After a change of the bundled weights, record anew: python tests/test_clips.py
"""

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIPS = HERE.parent / "nbs" / "clips"
RECORDED = HERE / "data" / "clips.json"
COURSE = "Course: physics. Gravity pulls every object with mass. Difficulty level: beginner."
QUESTIONS = {  # name: clip and course
    "gravity": ("gravity.ogg", ""),
    "gravity in a course": ("gravity.ogg", COURSE),
    "lesson": ("lesson.ogg", ""),
    "photosynthesis": ("photosynthesis.ogg", ""),
    "sum": ("sum.ogg", ""),
}


def load():
    from hubert_llama import PipelineConfig, SpeechUnderstanding
    from hubert_llama.models.device import DeviceConfig

    return SpeechUnderstanding.from_pretrained("mini", config=PipelineConfig(device=DeviceConfig("cpu", "float32")))


def understood(pipeline, clip: str, course: str) -> dict:
    result = pipeline(str(CLIPS / clip), course)
    times = [[word.word, word.start, word.end] for word in result.words]
    texts = {name: getattr(result, name) for name in ("transcript", "raw_transcript", "response")}
    return {**texts, "words": times}


@pytest.fixture(scope="module")
def pipeline():
    return load()


@pytest.mark.parametrize("name", QUESTIONS)
def test_as_recorded(pipeline, name):
    recorded, now = json.loads(RECORDED.read_text(encoding="utf-8"))[name], understood(pipeline, *QUESTIONS[name])
    assert {**now, "words": None} == {**recorded, "words": None}
    assert [word for word, _, _ in now["words"]] == [word for word, _, _ in recorded["words"]]
    for side in (1, 2):
        assert [w[side] for w in now["words"]] == pytest.approx([w[side] for w in recorded["words"]], abs=0.01)


def test_words_that_an_application_names_are_written_as_it_does(pipeline):
    from hubert_llama.course.context import CourseContext

    recording = str(HERE / "data" / "roentgen.ogg")
    named, unnamed = (pipeline(recording, CourseContext("", words)) for words in (("Röntgen",), ()))
    assert named.transcript == "Who was Röntgen?" and "Röntgen" not in unnamed.transcript


if __name__ == "__main__":
    models = load()
    results = {name: understood(models, *question) for name, question in QUESTIONS.items()}
    RECORDED.write_text("{\n" + ",\n".join(
        f" {json.dumps(name)}: {json.dumps(result, ensure_ascii=False)}" for name, result in results.items()) + "\n}\n",
        encoding="utf-8")
