// Whether a server's log is the one that was known.

import { HEARTBEAT, withoutSilence } from "../silence.js";
import { poll } from "../transports/poll.js";
import { sse } from "../transports/sse.js";

/**
 * Whether the server's log is the one of which `place` is a resume token: that is what the first word of any stream of events
 * says. `other_history` or `ahead`, or nothing if it is.
 */
export async function compare({ api, place, transport, signal }) {
  const hangUp = new AbortController();
  const how = { api, start: { after: place }, signal: AbortSignal.any([signal, hangUp.signal]) };
  const signs = transport === "sse" ? sse(how) : poll(how);
  for await (const sign of withoutSilence(signs, HEARTBEAT, () => hangUp.abort())) {
    if (sign.kind === "hello") return sign.resume === "ok" ? undefined : sign.resume;
  }
  throw new Error("the server has ended a stream before it began");
}
