// Events by a session over WebSocket. The server sends no more than a window ahead of what was acknowledged, and a batch
// is acknowledged when it is folded: a client that is busy is waited for, by the server, without a queue here or there.

import { Problem } from "../http.js";

/** The close code of a socket whose identity is gone. */
const UNAUTHENTICATED = 4401;
/** That of a socket that was not closed in an orderly way. */
const ABNORMAL = 1006;

/** `memory` outlives the socket: the session that the server may still know. */
export async function* websocket({ api, token, memory, signal, WebSocket }) {
  const url = `${api.url.replace(/^http/, "ws")}/api/ws`;
  // A browser has the cookie, and no way to send a header; other implementations take headers in this form.
  const socket = api.token ? new WebSocket(url, { headers: await api.identity() }) : new WebSocket(url);
  const said = mailbox(socket);
  const hangUp = () => socket.close(1000);
  signal.addEventListener("abort", hangUp, { once: true });
  try {
    if ((await said.next()) !== "open") {
      // A browser does not say why. If it is for want of an identity, this throws.
      await api.call("GET", "/api/auth/me", { signal });
      throw new Error("no WebSocket could be opened");
    }
    const say = (message) => socket.send(JSON.stringify(message));
    say({ type: "open", resume_point: token, ...(memory.session && { session: memory.session }) });
    for (;;) {
      const message = await said.next();
      if (message.closed) {
        if (message.closed === UNAUTHENTICATED) throw new Problem(401, { code: "unauthenticated" });
        return;
      }
      if (message.type === "hello") memory.session = message.session ?? undefined;
      yield signOf(message);
      if (message.type === "events") {
        const offset = Number.parseInt(message.resume_token, 10);
        if (socket.readyState === socket.OPEN) say({ type: "ack", session: message.session, offset });
      }
    }
  } finally {
    signal.removeEventListener("abort", hangUp);
    hangUp();
  }
}

function signOf(message) {
  switch (message.type) {
    case "hello":
      return { kind: "hello", resume: message.resume };
    case "events":
      return { kind: "events", events: message.events, token: message.resume_token };
    case "checkpoint":
      return { kind: "events", events: [], token: message.resume_token };
    case "caught_up":
      return { kind: "caught_up" };
    case "bye":
      return { kind: "bye", reason: message.reason, code: message.code, retryMs: message.retry };
    case "answer":
      throw new Problem(message.status, message.body, message.retry);
    default:
      return { kind: "alive" };
  }
}

/** What a socket says, to be awaited: first "open" if it opens, then each message, and last that it is closed. */
function mailbox(socket) {
  const waiting = [];
  let wake = () => {};
  const put = (letter) => {
    waiting.push(letter);
    wake();
  };
  socket.onopen = () => put("open");
  socket.onmessage = ({ data }) => put(JSON.parse(data));
  socket.onclose = ({ code }) => put({ closed: code });
  // Not every implementation says that a socket is closed which never opened.
  socket.onerror = () => put({ closed: ABNORMAL });
  return {
    async next() {
      if (waiting.length === 0) await new Promise((resolve) => (wake = resolve));
      return waiting.shift();
    },
  };
}
