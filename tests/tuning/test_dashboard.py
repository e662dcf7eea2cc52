"""optuna-dashboard on a copy: it answers on loopback, follows the study, and leaves nothing."""

import json
import signal
import socket
import threading
import time
import urllib.request

from tests.commands import run_here, start_command
from tuning import dashboard
from tuning.record.copied import copied_study
from tuning.record.study import Study


def asked(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def test_it_shows_the_study_and_what_is_new_and_ctrl_c_removes_the_copy(study, tmp_path):
    process = start_command("tuning.dashboard", study.folder, TMPDIR=str(tmp_path))
    try:
        line = process.stdout.readline()
        url = line.split(": ")[1].strip().removesuffix("/dashboard/")
        assert url.startswith("http://127.0.0.1:"), line
        assert "renewed every 15 s; Ctrl-C ends it" in process.stdout.readline()
        studies = {one["study_name"]: one["study_id"] for one in asked(f"{url}/api/studies")["study_summaries"]}
        assert set(studies) == {"study", "repeats"}
        trials = asked(f"{url}/api/studies/{studies['study']}?after=0")["trials"]
        assert len(trials) == len(study.trials())
        assert list(tmp_path.glob("reid-look-*"))
        study.add({"learning_rate": 0.01, "margin": 0.3})  # nothing holds the study's own file
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "closed; the copy is removed" in out, out
    assert not list(tmp_path.glob("reid-look-*"))


def test_a_port_that_is_taken_is_one_line(study):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_here("tuning.dashboard", study.folder, "--port", taken.getsockname()[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Address already in use" in done.stderr


def test_the_copy_is_renewed(study, monkeypatch):
    monkeypatch.setattr(dashboard, "EVERY_S", 0.05)
    with copied_study(study.folder) as copy:
        threading.Thread(target=dashboard.keep_new, args=[copy], daemon=True).start()
        number = study.add({"learning_rate": 0.01, "margin": 0.3})
        ends = time.monotonic() + 30
        while number not in [trial.number for trial in Study(copy.folder).trials()]:
            assert time.monotonic() < ends, "not renewed"
            time.sleep(0.1)
    assert not copy.folder.exists()
