"""Write the model card of a MelHuBERT's folder: what it learned from, its figures, licences and limits.

    python training/model_card.py build/pair/hubert --people build/people --results build/results \\
        --before training/checkpoints/mel-hubert-1

The hours are those of the recordings that lie in `--people` (train_mel_hubert.py --prepare), the steps those of the
folder's training_args.json and of the folder that the training began with (`--before`), and the figures those of the
reports in `--results` (training/runs/mel_hubert_pair.sh measure). What is not there is left out.
"""

import argparse
import json
from pathlib import Path

from hubert_llama.measure.report import Report, WordErrors
from hubert_llama.words.search import BeamConfig

HOUR = 2 * 16_000 * 3600  # bytes of 16-bit samples
# what each corpus is, and under which licence
SOURCES = {
    "librispeech": ("[LibriSpeech](https://www.openslr.org/12): books read aloud", "CC BY 4.0"),
    "speechocean762": ("[speechocean762](https://www.openslr.org/101): children and adults from China", "CC BY 4.0"),
    "rhasspy_kathleen": ("Rhasspy's Kathleen: one woman's short sentences", "CC0"),
    "vctk": ("VCTK's speaker p239", "ODC-By 1.0"),
    "common_voice": ("a sample of Common Voice 6.1", "CC0"),
    "synthetic": ("students' questions, sums, the curriculum by espeak-ng, flite, festival, Pico", "free programs"),
    "synthetic-prose": ("sentences of old novels and speeches by the same voices", "free programs"),
}
CARD = """---
license: mit
language: en
pipeline_tag: automatic-speech-recognition
---
# MelHuBERT

The speech encoder of hubert_llama's small recogniser: Whisper base's log-mel front and encoder, tuned by CTC to write
HuBERT's 32 symbols (`model_type: mel_hubert`). {layers} layers of width {hidden}, one frame each 20 ms. The service
loads the folder with `--hubert FOLDER`; `transformers` alone does not.

`language_model/` holds the word pairs of a beam search{search}. `calibration.json` holds what makes confidences and
times of the letters' signs{words}, and tells a transcript that was misheard.

## Training data

The encoder began as Whisper base's (OpenAI, MIT), which learned from 680,000 hours. It was tuned for {steps:,} steps,
in which {hours:.0f} hours of sound went by, changed anew each time (speed, room, noise, telephone, masks), on:

| data | hours | licence |
| --- | --- | --- |
{data}

The `dev` speakers of LibriSpeech and speechocean762 were not learned from. Settings and losses: `training_args.json`,
`training_log.jsonl`; the story: training/LOG.md, the commands: training/runs/mel_hubert.sh and mel_hubert_pair.sh.

## Figures

Through the service, in per cent, with 95 % intervals by bootstrap over clips:

| speakers | clips | words | letters alone | transcript | 95 % | harmful edits | confidence's error |
| --- | --- | --- | --- | --- | --- | --- | --- |
{figures}

{notes}

## Limits

- English only, and 32 letters: no digits, no punctuation.
- Most people it was tuned on read aloud. Spontaneous speech, far microphones and most accents were not measured.
- People from China whose English is new are misheard far more often than readers of LibriSpeech.
- It learned from clips of up to {longest} seconds; longer recordings are cut where nobody speaks.
- Names and rare words that the search's vocabulary lacks come out as common ones.

## Licences

The weights are under MIT, as the project. Nothing of the recordings is in this folder. Whisper (A. Radford and others,
OpenAI): MIT. LibriSpeech (V. Panayotov, G. Chen, D. Povey, S. Khudanpur) and speechocean762 (J. Zhang and others):
CC BY 4.0. VCTK (J. Yamagishi, C. Veaux, K. MacDonald): ODC-By 1.0. Word counts: WordNet's glosses under its own free
licence; novels, tales and speeches whose rights have lapsed.
"""


def data_rows(people: Path) -> str:
    """The table's lines of the corpora that lie there."""
    hours = {name: path.stat().st_size / HOUR for name in SOURCES if (path := people / f"train-{name}.pcm").exists()}
    return "\n".join(f"| {SOURCES[name][0]} | {n:.1f} | {SOURCES[name][1]} |" for name, n in hours.items())


def read_reports(results: Path) -> list[Report]:
    """Those of the folders in `results`, in alphabetical order."""
    paths = sorted(results.glob("*/report.json"))
    return [Report.from_dict(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def figure_row(corpus: WordErrors, error: float | None) -> str:
    """A line of the table."""
    cells = (
        corpus.corpus, corpus.clips, corpus.words, corpus.raw_wer, f"**{corpus.wer}**", corpus.wer_interval,
        corpus.harmful, "" if error is None else error,
    )
    return f"| {' | '.join(map(str, cells))} |"


def figures(reports: list[Report]) -> tuple[str, str]:
    """The table's lines, and what is said of silence and memory."""
    rows, notes = [], []
    for report in reports:
        error = report.calibration.error if report.calibration else None
        rows += [figure_row(corpus, error) for corpus in report.corpora if corpus.corpus != "all"]
        if report.silence.clips:
            silence = report.silence
            notes.append(f"- Of {silence.clips} recordings in which nobody speaks {silence.transcribed} got words.")
        if report.speed and report.corpora:
            notes.append(f"- {report.corpora[0].corpus}: at most {report.speed.peak_memory} MB of memory.")
    return "\n".join(rows), "\n".join(notes)


def trained(folder: Path, before: Path | None) -> dict[str, float]:
    """Steps and hours of sound of a training, and of the one that it began with."""
    args = [json.loads((f / "training_args.json").read_text(encoding="utf-8")) for f in (folder, before) if f]
    return {"steps": sum(a["steps"] for a in args), "hours": sum(a["hours_of_sound"] for a in args),
            "longest": args[0]["settings"]["longest_seconds"]}


def card(folder: Path, people: Path, results: Path, before: Path | None) -> str:
    """The whole text."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    fitted = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    tuned = BeamConfig.from_folder(folder)
    is_tuned = tuned != BeamConfig()
    rows, notes = figures(read_reports(results))
    return CARD.format(
        layers=config["num_hidden_layers"], hidden=config["hidden_size"], data=data_rows(people), figures=rows,
        search=f" (weight {tuned.lm_weight}, a word {tuned.word_score}, spelt {tuned.spelt})" if is_tuned else "",
        words=f", fitted on {n:,} words" if (n := fitted.get("fitted_on_words")) else "", notes=notes,
        **trained(folder, before))


def main() -> None:
    """Write README.md into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the MelHuBERT, with its calibration")
    parser.add_argument("--people", type=Path, default=Path("build/people"), help="what it learned from")
    parser.add_argument("--results", type=Path, default=Path("build/results"), help="reports of hubert-llama evaluate")
    parser.add_argument("--before", type=Path, help="folder of the MelHuBERT that the training began with")
    args = parser.parse_args()
    text = card(args.folder, args.people, args.results, args.before)
    (args.folder / "README.md").write_text(text, encoding="utf-8")
    print(f"{args.folder / 'README.md'}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
