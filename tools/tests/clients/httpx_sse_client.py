"""Prints the data of every event of a stream, for ever: httpx-sse, with the reconnection its users write around it."""

import sys
import time

import httpx
from httpx_sse import connect_sse


def main(url: str, token: str) -> None:
    last_id = ""
    retry_seconds = 1.0
    with httpx.Client(timeout=httpx.Timeout(10, read=60)) as client:
        while True:
            headers = {"Authorization": f"Bearer {token}"}
            if last_id:
                headers["Last-Event-ID"] = last_id
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    source.response.raise_for_status()
                    for event in source.iter_sse():
                        last_id = event.id or last_id
                        if event.retry is not None:
                            retry_seconds = event.retry / 1000
                        if event.data:
                            print(event.data, flush=True)
            except httpx.HTTPError as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            time.sleep(retry_seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
