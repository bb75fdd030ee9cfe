"""An invitation as a QR code of characters, for a camera in front of a terminal."""

from __future__ import annotations

import io

from rectbot.errors import RectbotError

_QUIET = 2  # modules around it; the standard wants four, cameras do with two


def drawn(line: str, columns: int | None = None) -> str:
    """The QR code of a line in half blocks, two modules in a character's height; light is drawn, for dark terminals.

    `columns` is how wide the terminal is, where there is one. Raises RectbotError when the line is too long for a QR
    code, or the code too wide.
    """
    import segno  # noqa: PLC0415 (an extra's)

    try:
        code = segno.make_qr(line, error="l", boost_error=False)
    except segno.DataOverflowError:
        raise RectbotError(f"{len(line)} characters are too many for a QR code: take --file instead") from None
    width = code.symbol_size(border=_QUIET)[0]
    if columns is not None and columns < width:
        raise RectbotError(
            f"the QR code is {width} columns wide and the terminal {columns}: make its letters smaller, or take --file"
        )
    text = io.StringIO()
    code.terminal(out=text, border=_QUIET, compact=True)
    return text.getvalue().rstrip("\n")
