"""The default tests once more, in another world: ``make test-elsewhere``.

Another boot, host name, user, home, time zone, locale, current folder, date, order of tests and
hash seed. It prints what was changed, and why what could not be. Arguments are pytest's.
"""

import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEED = random.randrange(2**32)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NOBODY = 65534
WITH_SPACE = "another folder"
#: A clock on the wall that is ahead. libfaketime would also reach into the monotonic clock or into
#: waiting by it, which ends CPython ("take_gil: PyCOND_WAIT failed").
CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += 400 * 86400L;
    return status;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec, now->tv_usec = found.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    return now ? *now = found.tv_sec : found.tv_sec;
}
"""


class CannotBe(Exception):
    """This machine does not let itself be changed so."""


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise CannotBe(done.stderr.strip())


def other_boot(place: Path) -> str:
    if not (os.getuid() == 0 and BOOT_ID.exists()):
        raise CannotBe("only root of a Linux machine can")
    (place / "boot_id").write_text(f"{uuid.uuid4()}\n")
    mount("--bind", place / "boot_id", BOOT_ID)
    return f"boot id {BOOT_ID.read_text().strip()}"


def other_host(place: Path) -> str:
    try:
        socket.sethostname("elsewhere")
    except OSError as error:
        raise CannotBe(str(error)) from error
    return "host name elsewhere"


def other_home(place: Path) -> str:
    home = place / "home"
    home.mkdir(mode=0o555)
    os.environ["HOME"] = str(home)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HPO_CACHE"):
        os.environ.pop(name, None)
    return f"HOME {home}, which cannot be written"


def other_time_zone(place: Path) -> str:
    os.environ["TZ"] = "Pacific/Kiritimati"
    return "TZ Pacific/Kiritimati, 14 hours before Greenwich"


def other_locale(place: Path) -> str:
    for name in [name for name in os.environ if name.startswith("LC_") or name == "LANG"]:
        del os.environ[name]
    os.environ["LC_ALL"] = "C"
    return "LC_ALL C"


def other_hashes(place: Path) -> str:
    os.environ["PYTHONHASHSEED"] = str(SEED)
    return f"PYTHONHASHSEED {SEED}"


def other_order(place: Path) -> str:
    return f"order of tests: --random-order-seed {SEED}"


def other_date(place: Path) -> str:
    compiler, library = shutil.which("cc"), place / "clock.so"
    if compiler is None:
        raise CannotBe("there is no C compiler to build the clock with")
    (place / "clock.c").write_text(CLOCK)
    built = [compiler, "-shared", "-fPIC", "-w", "-o", library, place / "clock.c"]
    done = subprocess.run(built, capture_output=True, text=True)
    if done.returncode:
        raise CannotBe(f"the clock cannot be built: {done.stderr.strip()}")
    os.environ["LD_PRELOAD"] = str(library)
    date = subprocess.run(["date", "+%F"], capture_output=True, text=True, check=True)
    return f"date {date.stdout.strip()}, 400 days on"


def other_folder(place: Path) -> str:
    folder = place / WITH_SPACE
    for path in (folder, place / "tmp"):
        path.mkdir()
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    os.environ["TMPDIR"] = str(place / "tmp")  # PostgreSQL's package takes no space in there
    os.chdir(folder)
    return f"current folder {folder}, with those of the tests in it"


def other_user(place: Path) -> str:
    if os.getuid() != 0:
        return f"user {os.getuid()}, not root, as before"
    open_up(Path(sys.base_prefix), place)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    needed = [Path(sys.executable), ROOT / "hpo"]
    if missing := [str(path) for path in needed if not os.access(path, os.R_OK)]:
        raise SystemExit(f"user {NOBODY} cannot read {', '.join(missing)}")
    return f"user {NOBODY}, not root"


def open_up(needed: Path, place: Path) -> None:
    """Put a readable folder, with nothing in it but ``needed``, where a private one is."""
    for private in reversed(needed.parents):
        if private.stat().st_mode & 0o001:
            continue
        kept = place / "kept"
        kept.mkdir()
        mount("--bind", needed, kept)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", private)
        needed.mkdir(parents=True)
        mount("--bind", kept, needed)
        return


CHANGES: list[Callable[[Path], str]] = [
    other_boot,
    other_host,
    other_folder,
    other_home,
    other_date,
    other_user,
    other_time_zone,
    other_locale,
    other_hashes,
    other_order,
]


def inside(place: Path, arguments: list[str]) -> None:
    """Change the world, say how, and become pytest."""
    print("The tests run in another world:")
    for change in CHANGES:
        try:
            print(f"  {change(place)}")
        except CannotBe as reason:
            print(f"  skipped: {change.__name__.replace('_', ' ')}: {reason}")
    sys.stdout.flush()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    here = [str(ROOT / a) if (ROOT / a.partition("::")[0]).exists() else a for a in arguments]
    if here == arguments:  # no tests are named
        here += [str(ROOT / folder) for folder in ("tests", "model", "hpo")]
    order = ["-p", "no:cacheprovider", "--random-order", f"--random-order-seed={SEED}"]
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    settings += ["--basetemp", str(place / WITH_SPACE / "tests")]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "3", *order, *settings, *here]
    os.execv(command[0], command)


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        inside(Path(sys.argv[2]), sys.argv[3:])
    place = (
        Path(tempfile.gettempdir()) / f"e{secrets.token_hex(2)}"
    )  # a socket's path must be short
    place.mkdir(mode=0o755)
    command = [sys.executable, __file__, "--inside", str(place), *sys.argv[1:]]
    private = ["unshare", "--mount", "--uts"]
    if (
        os.getuid() == 0
        and subprocess.run([*private, "true"], stderr=subprocess.DEVNULL).returncode == 0
    ):
        command = private + command
    try:
        return subprocess.run(command).returncode
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
