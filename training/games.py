"""People's speech from Debian: the lines that actors speak in two adventure games, as sound files without words.

    sudo apt-get install flight-of-the-amazon-queen beneath-a-steel-sky
    python training/games.py build/games
    python training/teacher.py --recordings build/games --work-dir build/speech --part games

Both games may be passed on with their sound (see /usr/share/doc/PACKAGE/copyright). Their containers are read as
ScummVM documents them: the one keeps MP3 files behind a table of names, the other 8-bit samples at 11,025 Hz, packed
by Rob Northen's method 1 (RNC).
"""

import argparse
import struct
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import soundfile
from tqdm import tqdm

GAMES = Path("/usr/share/scummvm")
SKY_RATE = 11_025  # Hz
SKY_SPEECH = range(50_000, 55_000)  # numbers of its files that hold speech


def queen_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The sounds of Flight of the Amazon Queen, nearly all of them lines: (name, MP3).

    They stand in its container's table, big-endian.
    """
    with open(path, "rb") as file:
        kind, packed, n = struct.unpack(">4s8xBH", file.read(15))
        if kind != b"QTBL" or packed != 1:
            raise SystemExit(
                f"{path}: not the talking version with MP3 files. Install Debian's flight-of-the-amazon-queen."
            )
        table = [struct.unpack(">12sBII", file.read(21)) for _ in range(n)]
        for name, _, at, size in table:
            if (name := name.split(b"\0")[0].decode("ascii")).endswith(".SB"):
                file.seek(at)
                yield name.removesuffix(".SB").replace("/", "_"), file.read(size)


def sky_files(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The speech of Beneath a Steel Sky: (number, uint8 samples).

    Its directory (sky.dnr) says where they lie in its container (sky.dsk).
    """
    rows, data = (folder / "sky.dnr").read_bytes(), (folder / "sky.dsk").read_bytes()
    for i in range(4, 4 + 8 * struct.unpack_from("<I", rows)[0], 8):
        number, where, size = (int.from_bytes(rows[i + a : i + b], "little") for a, b in ((0, 2), (2, 5), (5, 8)))
        if number not in SKY_SPEECH:
            continue
        at = (where & 0x7FFFFF) << (4 if where >> 23 else 0)
        body = data[at + 22 : at + (size & 0x3FFFFF)]  # after a header of 22 bytes
        if body[:4] == b"RNC\1":
            unpacked, _, _, _, _, chunks = struct.unpack_from(">IIHHBB", body, 4)
            yield str(number), unpack(np.frombuffer(body[18:] + bytes(8), np.uint8), unpacked, chunks)
        else:
            yield str(number), np.frombuffer(body, np.uint8)


# Rob Northen's method 1


@numba.njit(cache=True)
def bits(packed: np.ndarray, ahead: np.ndarray, n: int) -> int:
    """The next `n` bits, lowest first.

    `ahead` (3,) holds the place of the word read last, the bits read ahead, and how many these are (16 at least).
    """
    value = ahead[1] & ((1 << n) - 1)
    ahead[1] >>= n
    ahead[2] -= n
    if ahead[2] < 16:
        ahead[0] += 2
        read_word(packed, ahead)
    return value


@numba.njit(cache=True)
def read_word(packed: np.ndarray, ahead: np.ndarray) -> None:
    """Put the 16-bit word at the place on top of the bits read ahead."""
    ahead[1] |= (np.int64(packed[ahead[0]]) | np.int64(packed[ahead[0] + 1]) << 8) << ahead[2]
    ahead[2] += 16


@numba.njit(cache=True)
def read_codes(packed: np.ndarray, ahead: np.ndarray, lengths: np.ndarray, codes: np.ndarray) -> None:
    """Read a Huffman code: the lengths of its leaves, which are numbered in their order.

    Each code's bits go from the first on upwards.
    """
    lengths[:] = 0
    for leaf in range(bits(packed, ahead, 5)):
        lengths[leaf] = bits(packed, ahead, 4)
    code = 0
    for length in range(1, 16):
        for leaf in range(len(lengths)):
            if lengths[leaf] == length:
                mirrored = 0
                for i in range(length):
                    mirrored |= (code >> i & 1) << (length - 1 - i)
                codes[leaf] = mirrored
                code += 1
        code <<= 1


@numba.njit(cache=True)
def read_number(packed: np.ndarray, ahead: np.ndarray, lengths: np.ndarray, codes: np.ndarray) -> int:
    """A number: its code says how many bits it has, and all but its highest follow."""
    for leaf in range(len(lengths)):
        if lengths[leaf] and ahead[1] & ((1 << lengths[leaf]) - 1) == codes[leaf]:
            bits(packed, ahead, lengths[leaf])
            return leaf if leaf < 2 else 1 << (leaf - 1) | bits(packed, ahead, leaf - 1)
    raise ValueError("not packed by RNC's method 1, or damaged")


@numba.njit(cache=True)
def unpack(packed: np.ndarray, size: int, chunks: int) -> np.ndarray:
    """What was packed: uint8 (size,).

    It is made of literal bytes, which lie between the words of bits, and of copies of what came before.
    """
    out, done = np.zeros(size, np.uint8), 0
    lengths, codes = np.zeros((3, 32), np.int64), np.zeros((3, 32), np.int64)  # of literals, distances, copies
    ahead = np.zeros(3, np.int64)
    read_word(packed, ahead)
    bits(packed, ahead, 2)
    for _ in range(chunks):
        for table in range(3):
            read_codes(packed, ahead, lengths[table], codes[table])
        for left in range(bits(packed, ahead, 16) - 1, -1, -1):
            n = read_number(packed, ahead, lengths[0], codes[0])
            if n:
                out[done : done + n] = packed[ahead[0] : ahead[0] + n]
                done += n
                ahead[0] += n
                ahead[2] -= 16  # the word on top is that of another place now
                ahead[1] &= (1 << ahead[2]) - 1
                read_word(packed, ahead)
            if left:
                back = read_number(packed, ahead, lengths[1], codes[1]) + 1
                for _ in range(read_number(packed, ahead, lengths[2], codes[2]) + 2):
                    out[done] = out[done - back]
                    done += 1
    return out


def main() -> None:
    """Write the games' lines as sound files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the sound files, one folder in it for each game")
    parser.add_argument(
        "--games", type=Path, default=GAMES, help="where Debian's packages keep them (default: %(default)s)"
    )
    args = parser.parse_args()
    for package in ("flight-of-the-amazon-queen", "beneath-a-steel-sky"):
        if not (args.games / package).is_dir():
            raise SystemExit(
                f"{args.games / package} is not there. Install Debian's package: sudo apt-get install {package}"
            )
    for name in ("queen", "sky"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    lines = queen_files(args.games / "flight-of-the-amazon-queen" / "queen.1c")
    for name, mp3 in tqdm(lines, desc="Flight of the Amazon Queen", unit=" lines"):
        (args.out / "queen" / f"{name}.mp3").write_bytes(mp3)
    for name, samples in tqdm(sky_files(args.games / "beneath-a-steel-sky"), desc="Beneath a Steel Sky", unit=" lines"):
        soundfile.write(args.out / "sky" / f"{name}.wav", samples.astype(np.float32) / 128 - 1, SKY_RATE)


if __name__ == "__main__":
    main()
