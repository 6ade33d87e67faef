// Coming back for ever: one visit to the server after the other, and between them waits that grow while visits fail. What a
// visit does, and after what it is no use to come back, is for whoever makes them to say.

import { sleep, waitMs } from "./backoff.js";

/**
 * What a visit ended with, and how long to wait before the next: what went wrong, how long the server asks to stay away, and
 * whether nothing is wrong.
 *
 * @typedef {{error?: unknown, hintMs?: number, atOnce?: boolean}} Pause
 */

/** Dispatches, on its target, `status` ({status, ms?, error?}) and `end` ({reason, error?}). */
export class Visits {
  /** @type {"connecting" | "live" | "waiting" | "ended"} */
  status;
  /** Why it is over; undefined while it is not. */
  endReason;

  #target;
  #how;
  #stop;
  /** Visits that ended since the last one that was live. */
  #failures;

  /**
   * @param {EventTarget} target
   * @param {object} how
   * @param {string} how.name of what the target is, for whoever asks something of it when it is over.
   * @param {(signal: AbortSignal) => Promise<Pause>} how.visit
   * @param {(error: unknown) => void} how.fail is told what a visit has thrown, and may end it all.
   */
  constructor(target, how) {
    this.#target = target;
    this.#how = how;
  }

  /** Aborted when it is over, with an error that says why. */
  get signal() {
    return this.#stop.signal;
  }

  /** For the first time, or after an end. */
  begin() {
    this.status = "connecting";
    this.endReason = undefined;
    this.#failures = 0;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    // In a later turn, so that whoever made it can listen first.
    queueMicrotask(() => this.#run(signal));
  }

  /** The visit has come to where everything is told and what follows is new. */
  live() {
    this.#failures = 0;
    this.#setStatus("live");
  }

  end(reason, error) {
    if (this.endReason) return;
    this.endReason = reason;
    this.#stop.abort(new Error(`the ${this.#how.name} has ended: ${reason}`));
    this.#setStatus("ended");
    this.#tell("end", error ? { reason, error } : { reason });
  }

  async #run(signal) {
    while (!signal.aborted) {
      let pause;
      try {
        pause = await this.#how.visit(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#how.fail(error);
        pause = { error, hintMs: error?.retryMs };
      }
      if (signal.aborted) return;
      this.#failures += 1;
      // What is no failure is come back from at once, but not over and over.
      if (pause.atOnce && this.#failures === 1) continue;
      const ms = waitMs(this.#failures, pause.hintMs);
      this.#setStatus("waiting", { ms, error: pause.error });
      await sleep(ms, signal).catch(() => {});
      if (!signal.aborted) this.#setStatus("connecting");
    }
  }

  #setStatus(status, more = {}) {
    if (this.status === "ended" || (this.status === status && status !== "waiting")) return;
    this.status = status;
    this.#tell("status", { status, ...more });
  }

  #tell(type, detail) {
    this.#target.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
