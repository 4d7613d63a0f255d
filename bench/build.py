"""Build the bench's store and its delaying relay from C: `python -m bench.build`."""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"


def missing(*, tls: bool = False) -> str:
    """What this machine lacks to build the store, and to make its certificate; "" where nothing is."""
    if not shutil.which("cc"):
        return "a C compiler (cc)"
    if tls and not shutil.which("openssl"):
        return "the openssl command"
    header = "#include <openssl/ssl.h>\n" if tls else "#include <stdio.h>\n"
    tried = subprocess.run(["cc", "-E", "-x", "c", "-"], input=header, text=True, capture_output=True, check=False)
    if tried.returncode:
        return "OpenSSL's headers (libssl-dev)" if tls else "the C library's headers (libc6-dev)"
    return ""


def store(*, tls: bool = False) -> Path:
    """The store's binary. TLS needs OpenSSL's headers (libssl-dev)."""
    extra = ("-DTLS", "-lssl", "-lcrypto") if tls else ()
    return _program("store-tls" if tls else "store", "store", *extra)


def delay() -> Path:
    """The binary of the relay that holds bytes back."""
    return _program("delay", "delay")


def _program(name: str, source: str, *extra: str) -> Path:
    """A binary, built anew only where its sources are younger."""
    sources = sorted(HERE.glob(f"{source}*.[ch]"))
    binary = OUT / name
    if not binary.exists() or binary.stat().st_mtime < max(one.stat().st_mtime for one in sources):
        OUT.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / f"{source}.c"), *extra], check=True)
    return binary


if __name__ == "__main__":
    print(store(), delay())
