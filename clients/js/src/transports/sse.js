// Events over Server-Sent Events.

import { framesOf } from "../sse.js";
import { queryOf } from "./wanted.js";

/** One stream of what is wanted, as signs; it ends when the connection does. */
export async function* sse({ api, start, filters, signal }) {
  const path = `/api/events?${queryOf({ start, filters }, "resume_point")}`;
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
    if (data.type === "hello") {
      yield { kind: "hello", resume: data.resume, token: data.resume_token, heartbeat: data.heartbeat };
    }
    if (data.type === "caught_up") yield { kind: "caught_up" };
    if (data.type === "checkpoint") yield { kind: "events", events: [], token: frame.id };
    if (data.type === "bye") yield { kind: "bye", reason: data.reason, code: data.code };
  }
  if (batch.events.length > 0) yield batch;
}
