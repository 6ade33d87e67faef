// Sending a message. A server that dies between writing a message and answering leaves its sender without an answer; asking
// again under the same idempotency key gives the first answer, or does it now. So a send is repeated until it is answered.

import { sleep, waitMs } from "./backoff.js";
import { Problem } from "./http.js";

/** For how long a send is repeated if nothing else is asked for. */
export const PATIENCE_MS = 60_000;
/** One try that is not answered so long is given up, and repeated. */
export const TRY_MS = 10_000;

/** Nobody answered for as long as the sender had patience: whether the message is there is unknown. */
export class Unanswered extends Error {
  /** @param {string} key send again under this one to find out. */
  constructor(key, cause) {
    super("the server did not answer; whether the message was sent is unknown", { cause });
    this.name = "Unanswered";
    this.key = key;
  }
}

export async function send(api, channel, body, { key, patienceMs = PATIENCE_MS, signal } = {}) {
  key ??= newKey();
  const path = `/api/channels/${encodeURIComponent(channel)}`;
  const headers = { "idempotency-key": key };
  const deadline = Date.now() + patienceMs;
  for (let failures = 1; ; failures += 1) {
    try {
      return await api.call("POST", path, { body: { body }, headers, signal, timeoutMs: TRY_MS });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const isRefused = error instanceof Problem && !error.isForNow;
      if (isRefused) throw error;
      const pause = waitMs(failures, error.retryMs);
      if (Date.now() + pause >= deadline) throw new Unanswered(key, error);
      await sleep(pause, signal);
    }
  }
}

/** Not `randomUUID`, which browsers have on https pages only. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
