"""The API key, from where the settings say: a file, a command, the environment, a systemd credential.

A key is held in memory and handed to the fetching process over the link; it is never an argument, a log line
or part of a message here.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Mapping

from pictofs import secrets
from pictofs.config import KeySource, Profile
from pictofs.errors import UsageError

_LIMIT_BYTES = 4096  # a key is a few dozen characters; a file of megabytes is another file
_COMMAND_LIMIT_S = 60.0  # a password store may ask a person
_KILLED_LIMIT_S = 1.0
_LOOK_MS = 50.0


def read(profile: Profile, environ: Mapping[str, str]) -> str:
    """The key of this profile; UsageError says which place was looked at and how to mend it."""
    source = profile.key
    if source.file is not None:
        return _checked(_of_file(source.file, "api_key_file"), f"api_key_file {source.file}")
    if source.command is not None:
        return _checked(_of_command(source.command), "what api_key_command prints")
    if environ.get(source.variable):
        return _checked(environ[source.variable], source.variable)
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    credential = os.path.join(folder, source.credential)
    if folder and os.path.exists(credential):
        return _checked(_of_file(credential, "systemd credential", private=False), "the systemd credential")
    raise UsageError(_missing(profile, source))


def _missing(profile: Profile, source: KeySource) -> str:
    whose = "" if profile.name == "default" else f" for profile {profile.name}"
    return f"no API key{whose}: set api_key_file (a file of mode 0600), api_key_command, or {source.variable}"


def _of_file(path: str, what: str, *, private: bool = True) -> str:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            # systemd owns the folder of credentials and shuts it; their modes are its own affair.
            if private and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise UsageError(f"{what} {path} can be read by others: chmod 600 {path}")
            body = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{what} {path}: {error.strerror}; put the API key there, in a file of mode 0600"
        ) from error
    if len(body) > _LIMIT_BYTES:
        raise UsageError(f"{what} {path} is too long for an API key")
    return body.decode("utf-8", "replace")


def _of_command(command: str) -> str:
    # Whatever it starts ends with it. But a program that asks a person needs the session of the terminal.
    apart = not _at_terminal()
    child = subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=apart
    )
    deadline_s = time.monotonic() + _COMMAND_LIMIT_S
    try:
        body = _printed(child, deadline_s)
        if len(body) > _LIMIT_BYTES:
            raise UsageError("what api_key_command prints is too long for an API key; run it by hand")
        code = child.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"api_key_command has not ended within {_COMMAND_LIMIT_S:.0f} s; run it by hand"
        ) from None
    finally:
        if child.returncode is None:
            if apart:
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
            child.wait(_KILLED_LIMIT_S)
        assert child.stdout is not None
        child.stdout.close()
    if code:
        raise UsageError(f"api_key_command ended with exit code {code}; run it by hand")
    return body.decode("utf-8", "replace")


def _printed(child: subprocess.Popen[bytes], deadline_s: float) -> bytes:
    """What it prints until it ends, or one byte too many; what it leaves behind may hold the pipe on."""
    assert child.stdout is not None
    poller = select.poll()
    poller.register(child.stdout, select.POLLIN)
    body = b""
    while len(body) <= _LIMIT_BYTES:
        ended = child.poll() is not None
        if poller.poll(0 if ended else _LOOK_MS):
            chunk = os.read(child.stdout.fileno(), _LIMIT_BYTES + 1 - len(body))
            if not chunk:
                break
            body += chunk
        elif ended:
            break
        elif time.monotonic() > deadline_s:
            raise subprocess.TimeoutExpired(child.args, _COMMAND_LIMIT_S)
    return body


def _at_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _checked(text: str, what: str) -> str:
    key = text.strip()
    # What a header cannot hold would be refused further down, with the key in the message.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{what} holds no API key: one line such as pk_live_… is expected")
    secrets.remember(key)
    return key
