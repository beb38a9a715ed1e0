"""Exit with 0 if the gateway in this container is ready, by asking its `/readiness` as a client would."""

import os
import ssl
import sys
import urllib.error
import urllib.request

SECONDS = 3


def main() -> int:
    scheme = "https" if os.environ.get("TLS_CERT") else "http"
    url = f"{scheme}://127.0.0.1:{os.environ.get('PORT') or 8080}/readiness"
    unverified = ssl._create_unverified_context()  # this is loopback, and the certificate names another host
    try:
        with urllib.request.urlopen(url, timeout=SECONDS, context=unverified):
            return 0
    except (OSError, urllib.error.URLError) as error:
        print(f"not ready: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
