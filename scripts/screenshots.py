"""Makes docs/images/*.png: a stack of its own, a story of some minutes, and pictures of the console that watched it.

    make screenshots

The Japanese ones need a Japanese font on this machine, for example Debian's fonts-ipafont-gothic.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

from consoles import browser, visit
from e2e.stack import Stack

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
LARGEST_BYTES = 150_000
STORY = (  # seconds to wait before, and what is done then
    (60, ("site", "kill", "xserver")),
    (25, ("site", "start", "xserver")),
    (40, ("failover", "switch", "oci", "--why", "new kernel at xserver")),
    (40, ("failover", "switch", "xserver", "--why", "done")),
    (35, ("failover", "hold", "--for", "30m", "--why", "maintenance at the provider")),
)
PICTURES = {
    "live": ("/", "light", 760),
    "overview": ("/d/rectbot-overview?from=now-5m", "dark", 800),
    "failover": ("/d/rectbot-failover?from=now-5m", "light", 1000),
    "logs": ("/logs", "dark", 520),
}


def main() -> None:
    """Plays, and takes the pictures."""
    FOLDER.mkdir(exist_ok=True)
    if shutil.which("fc-list") and not subprocess.run(["fc-list", ":lang=ja"], capture_output=True, check=False).stdout:
        sys.exit("screenshots: no Japanese font is installed: apt-get install fonts-ipafont-gothic")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.prepare(Path(folder))
        try:
            stack.run("init")
            stack.run("up", "--detach")
            for pause, act in STORY:
                time.sleep(pause)
                sys.stdout.write(f"screenshots: rectbot {' '.join(act)}\n")
                stack.run(*act)
            time.sleep(15)  # one scrape more
            with browser() as chromium:
                for name in PICTURES:
                    take(chromium, stack, name, "en")
                for name in ("live", "overview"):  # for the Japanese README
                    take(chromium, stack, name, "ja")
        finally:
            stack.run("down", check=False)
            stack.destroy()


def take(chromium: Browser, stack: Stack, name: str, language: str) -> None:
    """One picture. Exits when it is too large for the repository."""
    address, scheme, height = PICTURES[name]
    path = FOLDER / f"console-{name}{'.ja' if language == 'ja' else ''}.png"
    size = {"width": 1280, "height": height}
    with visit(chromium, viewport=size, color_scheme=scheme, locale=language, reduced_motion="reduce") as visitor:
        visitor.page.goto(stack.url("console") + address)
        visitor.page.locator("h1").wait_for()
        visitor.page.wait_for_timeout(3_000)  # all panels are drawn
        visitor.page.screenshot(path=path)
        if visitor.errors:
            sys.exit(f"screenshots: {name}: {visitor.errors}")
    if path.stat().st_size > LARGEST_BYTES:
        sys.exit(f"screenshots: {path} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}")


if __name__ == "__main__":
    main()
