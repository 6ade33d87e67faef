// The ways by which events come. Each is an async generator that takes what is wanted of the log and gives signs, until its
// connection ends or it throws; what signs mean is decided by who reads: ../line.js, ../client.js and ../tail.js.

import { poll } from "./poll.js";
import { sse } from "./sse.js";
import { websocket } from "./websocket.js";

/**
 * @typedef {(
 *   | {kind: "hello", resume: "ok" | "ahead" | "other_history", token?: string, heartbeat?: number}
 *   | {kind: "events", events: object[], token: string}
 *   | {kind: "caught_up"}
 *   | {kind: "alive"}
 *   | {kind: "retry", ms: number}
 *   | {kind: "bye", reason: string, code?: string, retryMs?: number}
 * )} Sign
 */

export function transportOf({ transport = "sse", token, WebSocket = globalThis.WebSocket }) {
  if (transport === "sse") return sse;
  if (transport === "poll") return poll;
  if (transport !== "ws") throw new TypeError(`there is no transport ${transport}: sse, poll or ws`);
  if (!WebSocket) throw new TypeError("there is no WebSocket here: give one as an option, or take sse");
  const isBrowser = globalThis.document !== undefined && WebSocket === globalThis.WebSocket;
  if (token && isBrowser) throw new TypeError("a browser's WebSocket sends no token: log in by cookie, or take sse");
  return (wanted) => websocket({ ...wanted, WebSocket });
}
