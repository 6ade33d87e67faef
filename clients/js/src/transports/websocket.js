// Events by a session over WebSocket. The server sends no more than a window ahead of what was acknowledged, and a batch
// is acknowledged when it is dealt with: a client that is busy is waited for, by the server, without a queue here or there.

import { Problem } from "../http.js";
import { fieldsOf } from "./wanted.js";

/** The close code of a socket whose identity is gone. */
const UNAUTHENTICATED = 4401;
/** That of a socket that was not closed in an orderly way. */
const ABNORMAL = 1006;

/** `memory` outlives the socket: the session that the server may still know. */
export async function* websocket({ api, start, filters, memory, signal, WebSocket }) {
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
    // With a session that is still there the server goes on with it, and else begins one at the same place.
    say({ type: "open", ...fieldsOf({ start, filters }), ...(memory.session && { session: memory.session }) });
    for (;;) {
      const message = await said.next();
      if (message.closed) {
        if (message.closed === UNAUTHENTICATED) throw new Problem(401, { code: "unauthenticated" });
        return;
      }
      if (message.type === "hello") memory.session = message.session ?? undefined;
      if (message.type === "answer") memory.session = undefined;
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
    case "hello": {
      const { resume, resume_token: token, heartbeat } = message;
      return { kind: "hello", resume, token, heartbeat };
    }
    case "events":
      return { kind: "events", events: message.events, token: message.resume_token };
    case "checkpoint":
      return { kind: "events", events: [], token: message.resume_token };
    case "caught_up":
      return { kind: "caught_up" };
    case "bye":
      return { kind: "bye", reason: message.reason, code: message.code, retryMs: message.retry };
    case "answer":
      throw refusalOf(message);
    default:
      return { kind: "alive" };
  }
}

/** The problem; but one of the session only, of which a new one need not have it, is no refusal of what is wanted. */
function refusalOf({ status, body, retry }) {
  const problem = new Problem(status, body, retry);
  if (status !== 404 && status !== 409) return problem;
  return Object.assign(new Error(problem.message, { cause: problem }), { retryMs: retry });
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
