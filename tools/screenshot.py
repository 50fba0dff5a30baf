"""The table of a preset's runs as MLflow shows it: python tools/screenshot.py [PRESET], by default quick

Needs a run of the preset, and Chromium on the path. Starts MLflow's interface on a free port, opens the view "means",
and writes docs/mlflow.png.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from datagradient.evidence.tracking import addresses, tracking_uri

OUT = Path("docs/mlflow.png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = {"width": 1920, "height": 800}
WAIT = 120.0  # seconds for the interface to answer, and for its table


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="quick")
    preset = parser.parse_args().preset
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is on the path")
    with interface() as host, sync_playwright() as playwright:
        found = [line.split("  ")[0] for line in addresses(host) if line.endswith(f"  {preset}: means")]
        if not found:
            sys.exit(f"no runs of {preset}: make reproduce PRESET={preset}")
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport=SIZE, device_scale_factor=1)
        page.goto(found[0])
        page.get_by_text("Group:").first.wait_for(timeout=1000 * WAIT)
        for name in ("Close", "Dismiss"):  # panels that hide the table
            for button in page.get_by_role("button", name=name).all():
                button.click()
        page.wait_for_timeout(2000)  # until the columns have their width
        page.screenshot(path=str(OUT))
        started.close()
    print(OUT)


@contextmanager
def interface() -> Iterator[str]:
    """Yield the address of MLflow's interface, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port), "--backend-store-uri",
               tracking_uri()]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + WAIT
        while not answers(host):
            if server.poll() is not None or time.monotonic() > end:
                sys.exit("MLflow's interface did not start; try: make ui")
            time.sleep(1)
        yield host
    finally:
        server.terminate()
        server.wait()


def answers(host: str) -> bool:
    """Return whether the interface answers."""
    try:
        with urllib.request.urlopen(f"{host}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
