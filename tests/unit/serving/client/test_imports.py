from __future__ import annotations

import subprocess
import sys


def test_the_client_loads_no_decoder_no_store_and_no_model() -> None:
    heavy = ["cv2", "imagecodecs", "tensorflow", "flask", "google.cloud.storage"]
    code = f"import sys, serving.client; print(sorted(set({heavy}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
