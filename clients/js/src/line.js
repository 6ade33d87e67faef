// The line to the log: one connection after the other, by one transport.

import { hinted } from "./backoff.js";
import { Api, Problem } from "./http.js";
import { HEARTBEAT, withoutSilence } from "./silence.js";
import { transportOf } from "./transports/index.js";

export class Line {
  api;
  #transport;
  /** What a transport keeps from one connection for the next. */
  #memory = {};

  constructor(options) {
    this.api = new Api(options);
    this.#transport = transportOf(options);
  }

  /**
   * One connection, from its beginning to its end. Says how long to wait before the next.
   *
   * @param {import("./transports/wanted.js").Wanted} wanted
   * @param {AbortSignal} signal
   * @param {(sign: import("./transports/index.js").Sign, signal: AbortSignal) => object | undefined} hear is given what the
   *   server says of the log, and a signal that ends with the connection; hangs up by giving a pause.
   * @returns {Promise<import("./visits.js").Pause>}
   */
  async read(wanted, signal, hear) {
    const hangUp = new AbortController();
    const stop = AbortSignal.any([signal, hangUp.signal]);
    const signs = this.#transport({ ...wanted, api: this.api, memory: this.#memory, signal: stop });
    let hintMs;
    try {
      for await (const sign of withoutSilence(signs, HEARTBEAT, () => hangUp.abort())) {
        if (signal.aborted) break;
        switch (sign.kind) {
          case "alive":
            break;
          case "retry":
            hintMs = sign.ms;
            break;
          case "bye":
            if (sign.code === "unauthenticated") throw new Problem(401, { code: sign.code });
            // A private channel was lost, nothing is wrong: the next stream begins with that.
            if (sign.reason === "revoked") return { atOnce: true };
            return { hintMs: sign.retryMs ?? hintMs };
          default: {
            const pause = await hear(sign, stop);
            if (pause) return pause;
          }
        }
      }
    } catch (error) {
      throw hinted(error, hintMs);
    }
    return { hintMs };
  }
}
