"""Arvados' own client library, called as its users call it. What comes of that goes out, one JSON list a line:
[nanoseconds since 1970, what it is, the thing itself]. A client is closed when standard input ends."""

import json
import logging
import os
import sys
import threading
import time

import arvados
import arvados.errors
import arvados.events
import arvados.util

telling = threading.Lock()


def tell(what: str, value: object) -> None:
    with telling:
        sys.stdout.write(json.dumps([time.time_ns(), what, value]) + "\n")
        sys.stdout.flush()


def hear(message: dict) -> None:
    tell("message", message)


class Teller(logging.Handler):
    """What the library says of its connection: "Reconnect successful." stands between two connections' messages."""

    def emit(self, record: logging.LogRecord) -> None:
        tell("log", record.getMessage())


class Counter(logging.Handler):
    """What is asked for, before it is: whoever asks once more has the answer to what it asked before."""

    def emit(self, record: logging.LogRecord) -> None:
        if "/logs?" in record.getMessage():
            tell("asked", record.getMessage())


def follow(client: arvados.events.EventClient | arvados.events.PollClient) -> None:
    """Until the input ends, or the client gives up, which it does by interrupting the program."""
    tell("client", type(client).__name__)

    def close() -> None:
        while os.read(0, 4096):
            pass
        client.close(timeout=10)

    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    try:
        client.run_forever()
        closer.join(timeout=10)
    except KeyboardInterrupt:
        tell("gave up", None)


def events(url: str, last_log_id: str, *filters: str) -> None:
    first, *others = map(json.loads, filters)
    client = arvados.events.EventClient(url, first, hear, json.loads(last_log_id))
    for other in others:
        client.subscribe(other, json.loads(last_log_id))
    follow(client)


def subscribe(last_log_id: str, poll_fallback: str, filters: str) -> None:
    calls = logging.getLogger("googleapiclient.discovery")
    calls.setLevel(logging.DEBUG)
    calls.addHandler(Counter())
    api = arvados.api("v1")
    follow(
        arvados.events.subscribe(
            api, json.loads(filters), hear, json.loads(poll_fallback), json.loads(last_log_id)
        )
    )


def logs() -> None:
    """Answers each line of input: {"list": arguments} or {"all": arguments}."""
    api = arvados.api("v1")
    for line in sys.stdin:
        for what, arguments in json.loads(line).items():
            try:
                if what == "list":
                    request = api.logs().list(**arguments)
                    tell("answer", {**request.execute(), "method": request.method})
                else:
                    rows = arvados.util.keyset_list_all(api.logs().list, **arguments)
                    tell("answer", {"items": list(rows)})
            except arvados.errors.ApiError as error:
                tell("refused", [error.resp.status, str(error)])


def main(what: str, *arguments: str) -> None:
    logger = logging.getLogger("arvados.events")
    logger.addHandler(Teller(logging.WARNING))
    logger.propagate = False
    try:
        {"events": events, "subscribe": subscribe, "logs": logs}[what](*arguments)
    except Exception as error:
        tell("raised", f"{type(error).__name__}: {error}" + (f" ({error.__cause__})" if error.__cause__ else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
