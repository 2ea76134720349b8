"""Forks commands from a process that has imported everything: each a real one, in milliseconds.

A request is a line of JSON on stdin: ``id``, ``folder``, ``out`` and ``err`` (files), and either
``argv`` of `hpo` or ``code`` of a stranger's tool. The answers are ``{"id", "pid"}`` at once and
``{"id", "status"}`` when it has ended, negative for a signal.
"""

import json
import os
import selectors
import signal
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no threads here: they do not survive a fork

import optuna
import psycopg  # noqa: F401
import scipy.linalg.blas  # noqa: F401

import hpo.cli
import hpo.commands.doctor
import hpo.commands.joining
import hpo.commands.running
import hpo.data.prepared
import hpo.views.export
import hpo.views.report

ASKING = (signal.SIGINT, signal.SIGTERM)


def answer(**what: object) -> None:
    print(json.dumps(what), flush=True)


def become(request: dict) -> None:
    """Be the command, and never return."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(request["folder"])
        for descriptor, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
            os.dup2(os.open(name, flags, 0o600), descriptor)
        if "code" in request:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            exec(request["code"], {})
            status = 0
        else:
            sys.argv = ["hpo", *request["argv"]]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
            hpo.cli.console()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    ears, mouth = os.pipe()
    os.set_blocking(mouth, False)
    os.set_blocking(ears, False)
    signal.set_wakeup_fd(mouth)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ready = selectors.DefaultSelector()
    ready.register(0, selectors.EVENT_READ)
    ready.register(ears, selectors.EVENT_READ)
    living: dict[int, object] = {}
    text = b""
    while True:
        for key, _ in ready.select():
            if key.fd == ears:
                os.read(ears, 4096)
                continue
            told = os.read(0, 65536)
            if not told:  # whoever asks is gone
                for pid in living:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, text = (text + told).split(b"\n")
            for line in lines:
                request = json.loads(line)
                # What comes before the command has begun is answered when it has.
                signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
                pid = os.fork()
                if not pid:
                    os.close(ears)
                    os.close(mouth)
                    become(request)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
                living[pid] = request["id"]
                answer(id=request["id"], pid=pid)
        for pid in list(living):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                answer(id=living.pop(pid), status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
