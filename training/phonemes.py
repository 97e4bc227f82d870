"""Phonemes of sentences, by espeak-ng's library.

    python training/phonemes.py "what is photosynthesis"

HuBERT-mini's lower layers learn to hear them before its upper ones spell: by a CTC loss on a middle layer (J. Lee and
S. Watanabe, 2021, "Intermediate loss regularization for CTC-based speech recognition"), here over the phonemes, which
follow the sound more nearly than English letters do. It needs Debian's libespeak-ng1.
"""

import argparse
import ctypes
import re
from functools import lru_cache

from lists import words

SEPARATOR = "_"
# of American English; what else comes up is left out
PHONEMES = words(
    """
    aɪ aɪə aɪɚ aʊ eɪ oʊ ɔɪ i iː iə uː oː ɑː ɔː ɜː ɑːɹ ɔːɹ oːɹ ɛɹ ɪɹ ʊɹ æ ɐ ɑ ɔ ə əl ɚ ɛ ɪ ᵻ ʊ ʌ
    b d dʒ f h j k l m n n̩ p s t tʃ v w z ð ŋ ɡ ɹ ɾ ʃ ʒ ʔ θ
    """
)
IDS = {phoneme: i + 1 for i, phoneme in enumerate(PHONEMES)}  # 0 is CTC's blank
MARKS = "ˈˌ"  # stress says little that CTC could use


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """espeak-ng, ready to translate; raises SystemExit where it is not installed."""
    try:
        lib = ctypes.CDLL("libespeak-ng.so.1")
    except OSError as e:
        raise SystemExit(
            f"espeak-ng's library is missing ({e}): apt-get install espeak-ng, or train with --phoneme-weight 0."
        ) from e
    lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
    if lib.espeak_Initialize(2, 0, None, 0) < 0:  # 2: nothing is played
        raise SystemExit("espeak-ng does not find its voices: apt-get install --reinstall espeak-ng-data.")
    lib.espeak_SetVoiceByName(b"en-us")
    return lib


def phonemes(sentence: str) -> list[str]:
    """A sentence's American phonemes in IPA, without stress."""
    lib, text, said = library(), ctypes.c_char_p(sentence.encode()), []
    while text.value:
        clause = lib.espeak_TextToPhonemes(ctypes.byref(text), 1, 0x02 | ord(SEPARATOR) << 8)  # 1: UTF-8; 0x02: IPA
        said.append((clause or b"").decode())
    spoken = re.sub(rf"\([a-z-]+\)|[{MARKS}]", "", " ".join(said))  # "(en)" marks a change of language
    return [p for p in re.split(rf"[\s{SEPARATOR}]+", spoken) if p]


def main() -> None:
    """Print the phonemes of sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", nargs="+", metavar="SENTENCE")
    print(*(" ".join(phonemes(sentence)) for sentence in parser.parse_args().sentences), sep="\n")


if __name__ == "__main__":
    main()
