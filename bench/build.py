"""Build the bench's store from C: `python -m bench.build`."""

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
    """The store's binary, built anew only where its source is younger. TLS needs OpenSSL's headers (libssl-dev)."""
    sources = sorted(HERE.glob("store*.[ch]"))
    binary = OUT / ("store-tls" if tls else "store")
    if not binary.exists() or binary.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        OUT.mkdir(exist_ok=True)
        extra = ("-DTLS", "-lssl", "-lcrypto") if tls else ()
        subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / "store.c"), *extra], check=True)
    return binary


if __name__ == "__main__":
    print(store())
