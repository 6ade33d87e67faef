// Notices of a watch from the server, by a stream or by polls, as signs; what they mean is decided in ./watch.js.

import { sleep } from "../backoff.js";
import { ANSWER_MS } from "../http.js";
import { framesOf } from "../sse.js";

/** For how long one poll waits for something new, in seconds. */
const WAIT_SECONDS = 20;

/**
 * @typedef {(
 *   | {kind: "hello", epoch: number}
 *   | {kind: "changed", epoch: number, changes: object[], place?: string}
 *   | {kind: "stands", place: string}
 *   | {kind: "caught_up"}
 *   | {kind: "alive"}
 *   | {kind: "retry", ms: number}
 *   | {kind: "bye", reason: string, code?: string}
 * )} Sign
 */

/** One stream; it ends when the connection does. */
export async function* stream({ api, path, after, signal }) {
  const from = after ? `?resume_point=${encodeURIComponent(after)}` : "";
  for await (const frames of framesOf({ api, path: `${path}/events${from}`, signal })) {
    for (const frame of frames) yield* signs(frame);
    // Whatever came, the server lives.
    yield { kind: "alive" };
  }
}

function* signs({ event, data, id, retry }) {
  if (retry !== undefined) yield { kind: "retry", ms: retry };
  const said = data === undefined ? {} : JSON.parse(data);
  if (event === "hello") yield { kind: "hello", epoch: said.epoch };
  else if (event === "changed") yield { kind: "changed", epoch: said.epoch, changes: said.changed, place: id };
  else if (event === "caught_up") yield { kind: "caught_up" };
  else if (event === "bye") yield { kind: "bye", reason: said.reason, code: said.code };
  else if (id !== undefined) yield { kind: "stands", place: id };
}

/** One poll after the other. */
export async function* polls({ api, path, after, maxDelayMs, signal }) {
  for (let wait = 0; ; wait = WAIT_SECONDS) {
    const page = await look({ api, path, after, wait, signal });
    yield { kind: "hello", epoch: page.epoch };
    yield { kind: "changed", epoch: page.epoch, changes: page.changed, place: page.next };
    if (wait === 0) yield { kind: "caught_up" };
    after = page.next;
    // A server cannot know what one poll has told to hold the next one back, so the client keeps the pause between notices.
    if (page.changed.length > 0) await sleep(maxDelayMs, signal);
  }
}

/** How things stand, at once or when something has changed. */
export function look({ api, path, after, wait = 0, signal }) {
  const from = after ? `&after=${encodeURIComponent(after)}` : "";
  return api.call("GET", `${path}/changes?wait=${wait}${from}`, { signal, timeoutMs: wait * 1000 + ANSWER_MS });
}
