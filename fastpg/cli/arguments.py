"""Command lines as people type them, which tyro alone does not take: `1e6`, widths before the environment.

And the other way round: what tyro objects to, in one line.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fastpg import _spelling
from fastpg.envs.native.registry import is_native

WIDTHS = ("--hidden", "--value-hidden")  # options that take any number of whole numbers
LINEAR = ("linear", "none")  # no hidden layers
JOINED = re.compile(r"\d[\dx]*", re.IGNORECASE)  # 64x64
NUMBER = re.compile(r"[-+]?[\d_,.]+([eE][-+]?\d+)?")
WHOLE_NUMBER = "must be a whole number"
NUMBER_OR_NONE = "must be a number or none"
LEAST_COLUMNS = 40  # for help
MAX_DIGITS = 30  # of a whole number: more than any option takes
UNKNOWN_OPTION = re.compile(r"Unrecognized options: (--[a-z0-9-]+)")
UNKNOWN_WORD = re.compile(r"Unrecognized options: ([^-\s,]\S*)$")

registry = ConstructorRegistry()


@registry.primitive_rule
def _integer(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


@registry.primitive_rule
def _integers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[int, ...]] | None:
    if typing.get_origin(info.type) is not tuple or typing.get_args(info.type) != (int, ...):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="[INT [INT ...]]",
        instance_from_str=lambda words: widths(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: list(map(str, value)),
    )


@registry.primitive_rule
def _optional_number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float | None] | None:
    if info.type != float | None:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT|none",
        instance_from_str=lambda words: number_or_none(words[0]),
        is_instance=lambda value: value is None or isinstance(value, float | int),
        str_from_instance=lambda value: [str(value).lower()],
    )


def number_or_none(text: str) -> float | None:
    """Return a number, or None for the word.

    Examples
    --------
    >>> number_or_none("1e-2"), number_or_none("none")
    (0.01, None)
    """
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{NUMBER_OR_NONE}, got {text!r}") from None


def whole_number(text: str) -> int:
    """Return a whole number, as people write it.

    Examples
    --------
    >>> whole_number("1e6"), whole_number("10_000"), whole_number("64")
    (1000000, 10000, 64)
    """
    try:
        number = Decimal(text)
        if number.adjusted() < MAX_DIGITS and number == number.to_integral_value():
            return int(number)
    except (InvalidOperation, ValueError, OverflowError):  # no number; NaN; infinity
        pass
    raise ValueError(f"{WHOLE_NUMBER}, as 20000, 20_000 or 2e4, got {text!r}")


def widths(text: str) -> tuple[int, ...]:
    """Return widths of layers, as people write them.

    Examples
    --------
    >>> widths("64x64"), widths("64,32"), widths("linear")
    ((64, 64), (64, 32), ())
    """
    if text.lower() in LINEAR:
        return ()
    words = [word for word in text.lower().split(",") if word]
    return tuple(whole_number(one) for word in words for one in word.split("x"))


def joined_widths(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with each list of widths as one word: whatever follows it is something else.

    Examples
    --------
    >>> joined_widths(["train", "--hidden", "64", "64", "CartPole-v1"])
    ['train', '--hidden=64,64', 'CartPole-v1']
    >>> joined_widths(["train", "--hidden", "64x64", "CartPole-v1"])
    ['train', '--hidden=64x64', 'CartPole-v1']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.replace("_", "-") in WIDTHS:
            given = list(itertools.takewhile(_is_width, rest))
            del rest[: len(given)]
            word = f"{word}={','.join(given)}"
        joined.append(word)
    return joined


def _is_width(word: str) -> bool:
    return bool(NUMBER.fullmatch(word) or JOINED.fullmatch(word)) or word.lower() in LINEAR


def joined_folder(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--tensorboard` and its folder, which may be left out, as one word.

    An option is no folder, nor is the id of a native environment.

    Examples
    --------
    >>> joined_folder(["train", "--tensorboard", "CartPole-v1", "--seed", "1"])
    ['train', '--tensorboard=', 'CartPole-v1', '--seed', '1']
    >>> joined_folder(["train", "CartPole-v1", "--tensorboard", "runs/a"])
    ['train', 'CartPole-v1', '--tensorboard=runs/a']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--tensorboard":
            given = bool(rest) and not rest[0].startswith("-") and not is_native(rest[0])
            word = f"{word}={rest.pop(0) if given else ''}"
        joined.append(word)
    return joined


@contextlib.contextmanager
def unwrapped(arguments: Sequence[str]) -> Iterator[None]:
    """Let tyro write errors without line breaks, which would part numbers as 10,000; help keeps its width.

    In fewer columns than a frame takes, tyro would never end.
    """
    before = os.environ.get("COLUMNS")
    if not {"-h", "--help"} & set(arguments):
        os.environ["COLUMNS"] = "100000"
    elif shutil.get_terminal_size().columns < LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(LEAST_COLUMNS)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before


def one_line(panel: str, algorithms: Mapping[str, Any], chosen: str) -> str:
    """Return the message of tyro's error panel: its text up to the first rule, without frame and helptext.

    `algorithms` are dataclasses by name: an option of another one than the chosen is said to be that.
    """
    lines = panel.splitlines()
    if lines[1:] and set(lines[1].strip()) == {"-"}:  # stdout takes no frames: a heading, underlined
        lines = [line[1:].replace("--", "──") if not line.strip("- ") else line[1:] for line in lines[2:]]
    rows = [row.strip("│").rstrip() for row in lines if not row.startswith(("╭", "╰"))]
    message = [row.strip() for row in _first_part(rows) if not row.startswith(" " * 8)]
    # A dataclass that rejects its values is named by its place in tyro's tree: its own sentence says more.
    text = re.sub(r"^Error parsing [^-]\S*: ", "", " ".join(message)).rstrip(".")
    text = re.sub(rf"^Error parsing (\S+): .*({WHOLE_NUMBER}|{NUMBER_OR_NONE})", r"\1 \2", text)
    unknown = UNKNOWN_OPTION.match(text)
    if unknown:
        option = unknown[1]
        name = option.removeprefix("--").removeprefix("no-").replace("-", "_")
        owners = [
            one
            for one, algorithm in algorithms.items()
            if name in {f.name for f in dataclasses.fields(algorithm)}
        ]
        if owners:
            either = " or ".join([", ".join(owners[:-1]), owners[-1]] if owners[1:] else owners)
            return f"{option} goes with --algorithm {either}, not with {chosen}"
        suggested = re.search(r"Perhaps you meant:\s*(--[a-z0-9-]+)", "\n".join(rows))
        elsewhere = _spelling.ELSEWHERE.get(name)
        meant = f"--{elsewhere.replace('_', '-')}" if elsewhere else suggested and suggested[1]
        if meant:
            text += f"; did you mean {meant}?"
    word = UNKNOWN_WORD.match(text)
    if word:
        text = f"Unexpected argument: {word[1]}"
    return f"{text}; see fastpg --help"


def _first_part(rows: Sequence[str]) -> Iterator[str]:
    return itertools.takewhile(lambda row: not row.strip().startswith("──"), rows)


def parse(commands: Mapping[str, Any], arguments: Sequence[str], description: str) -> Any:
    """Return the chosen command's options; tyro's complaints go to stderr and raise SystemExit."""
    with unwrapped(arguments), registry:
        return tyro.extras.subcommand_cli_from_dict(
            dict(commands),
            prog="fastpg",
            args=joined_widths(arguments),
            description=description,
        )
