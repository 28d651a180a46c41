"""Frames as the bytes of an animated GIF, by Pillow, or of a video, by ffmpeg."""

import contextlib
import importlib
import io
import itertools
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.errors import SaveError

Frame = NDArray[np.uint8]  # (height, width, 3)

GIF = ".gif"
CODECS = {".mp4": ("libx264", "-movflags", "+faststart"), ".webm": ("libvpx-vp9", "-b:v", "0", "-crf", "32")}
ENDINGS = (GIF, *CODECS)
# Viewers show GIFs with shorter delays than 0.02 s slowly.
GIF_MAX_RATE = 50.0


def can_encode(where: str, ending: str) -> None:
    """Raise ImportError where what writes such files is missing: asked for before the work, not after it."""
    if ending == GIF:
        _pillow(where)
    else:
        _ffmpeg(where, ending)


def steps_a_frame(ending: str, rate: float) -> int:
    """Return how many steps one frame stands for, where the form cannot show so many a second.

    Examples
    --------
    >>> steps_a_frame(".gif", 50.0), steps_a_frame(".gif", 125.0), steps_a_frame(".mp4", 125.0)
    (1, 3, 1)
    """
    return math.ceil(rate / GIF_MAX_RATE) if ending == GIF else 1


def encoded(where: str, path: Path, frames: Iterator[Frame], rate: float) -> bytes:
    """Return the content of a file that shows `rate` of the frames a second."""
    first = next(frames)
    if path.suffix == GIF:
        return _gif(where, itertools.chain([first], frames), rate)
    return _video(where, path, first.shape, itertools.chain([first], frames), rate)


def _gif(where: str, frames: Iterator[Frame], rate: float) -> bytes:
    pillow, buffer = _pillow(where), io.BytesIO()
    pictures = map(pillow.fromarray, frames)
    hundredths = max(2, round(100 / rate))
    next(pictures).save(
        buffer, "GIF", save_all=True, append_images=pictures, duration=10 * hundredths, loop=0
    )
    return buffer.getvalue()


def _video(where: str, path: Path, shape: tuple[int, ...], frames: Iterator[Frame], rate: float) -> bytes:
    """Let ffmpeg write a file, in a folder of its own: videos are not written from front to back."""
    height, width, _ = shape
    codec, *options = CODECS[path.suffix]
    with tempfile.TemporaryDirectory(prefix="fastpg-") as place, tempfile.TemporaryFile() as said:
        made = Path(place, f"video{path.suffix}")
        command = [
            _ffmpeg(where, path.suffix), "-v", "error",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:.6f}", "-i", "-",
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-c:v", codec, *options, str(made),
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as ffmpeg:
            assert ffmpeg.stdin is not None
            try:
                for frame in frames:
                    ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
            except BrokenPipeError:  # it has ended, and said why
                pass
            except BaseException:
                ffmpeg.kill()
                raise
            finally:
                with contextlib.suppress(OSError):
                    ffmpeg.stdin.close()
        if ffmpeg.returncode:
            said.seek(0)
            why = said.read().decode(errors="replace").strip().splitlines() or [f"code {ffmpeg.returncode}"]
            raise SaveError(None, f"{where}: {str(path)!r} cannot be written: ffmpeg: {why[-1]}", str(path))
        return made.read_bytes()


def _pillow(where: str) -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError(f"{where}: an animated GIF needs Pillow: pip install '.[video]'") from error


def _ffmpeg(where: str, ending: str) -> str:
    """Return ffmpeg: the system's, or the one in the package imageio-ffmpeg."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        program: str = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"{where}: {ending} needs ffmpeg: install it, or pip install imageio-ffmpeg; {GIF} does without"
        ) from error
    return program
