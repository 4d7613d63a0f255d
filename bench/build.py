"""Build the bench's store from C: `python -m bench.build`."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"


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
