"""Starts one long-lived program in a session of its own and prints its process id.

Run as ``python -I spawn.py JSON``; stands alone (standard library only) because it becomes the program it starts.
The intermediate process ends at once, so the program outlives its caller, gets no Ctrl-C of the caller's terminal and
never becomes a zombie of it.

JSON keys: argv (list), log (file, appended), cwd, identity: null | "namespace" | [uid, gid].
"namespace" makes root an ordinary user inside a new user namespace: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def enter_user_namespace() -> None:
    """Look like an ordinary user; the files stay owned by the real one outside."""
    uid, gid = os.geteuid(), os.getegid()
    mapped = min(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)  # initdb wants a user with a name
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")
    Path("/proc/self/uid_map").write_text(f"{mapped} {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{mapped} {gid} 1")


def become(identity: str | list[int] | None) -> None:
    if identity == "namespace":
        enter_user_namespace()
    elif isinstance(identity, list):
        uid, gid = identity
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def main() -> None:
    job = json.loads(sys.argv[1])
    if job.get("wait"):  # a short command: run it in place, the caller waits for its exit status
        become(job["identity"])
        os.chdir(job["cwd"])
        os.execvp(job["argv"][0], job["argv"])

    reader, writer = os.pipe()  # closed by a successful exec, else carries the reason
    os.set_inheritable(writer, False)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            become(job["identity"])
            os.chdir(job["cwd"])
            os.dup2(null, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.execvp(job["argv"][0], job["argv"])
        except OSError as exc:
            os.write(writer, f"{exc.strerror}: {job['argv'][0]}".encode())
        os._exit(127)
    os.close(writer)
    reason = os.read(reader, 4096)
    if reason:
        sys.exit(reason.decode())
    print(pid)


if __name__ == "__main__":
    main()
