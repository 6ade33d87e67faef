// Events over Server-Sent Events.

import { framesOf } from "../sse.js";

/** One stream from a resume token on, as signs; it ends when the connection does. */
export async function* sse({ api, token, signal }) {
  const path = `/api/events?resume_point=${encodeURIComponent(token)}`;
  for await (const frames of framesOf({ api, path, signal })) {
    yield* signs(frames);
    // Whatever came, the server lives.
    yield { kind: "alive" };
  }
}

/** Events that follow each other directly are one sign, so that they are folded in one go. */
function* signs(frames) {
  let batch = { kind: "events", events: [], token: undefined };
  for (const frame of frames) {
    const data = frame.data === undefined ? {} : JSON.parse(frame.data);
    if (data.event !== undefined) {
      batch.events.push(data);
      batch.token = frame.id;
      continue;
    }
    if (batch.events.length > 0) yield batch;
    batch = { kind: "events", events: [], token: undefined };
    if (frame.retry !== undefined) yield { kind: "retry", ms: frame.retry };
    if (data.type === "hello") yield { kind: "hello", resume: data.resume };
    if (data.type === "caught_up") yield { kind: "caught_up" };
    if (data.type === "checkpoint") yield { kind: "events", events: [], token: frame.id };
    if (data.type === "bye") yield { kind: "bye", reason: data.reason, code: data.code };
  }
  if (batch.events.length > 0) yield batch;
}
