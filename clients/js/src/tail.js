// A tail: reads the log itself, without a boot and without a state. It knows a place in the log; nothing else has to survive a
// broken connection.

import { Problem } from "./http.js";
import { Line } from "./line.js";
import { Visits } from "./visits.js";

/**
 * Reads events until {@link Tail.close}, or until it is no use to go on.
 *
 * @param {import("../index.js").TailOptions} [options]
 */
export const tail = (options = {}) => new Tail(options);

/**
 * Dispatches, as `CustomEvent`s: `events` ({events}), `caught_up`, `status` ({status, ...}) and `end` ({reason, error?}).
 */
export class Tail extends EventTarget {
  #line;
  #visits;
  #start;
  #filters;

  constructor(options) {
    super();
    this.#start = startOf(options);
    this.#filters = options.filters;
    this.#line = new Line(options);
    const visit = (signal) => this.#visit(signal);
    this.#visits = new Visits(this, { name: "tail", visit, fail: (error) => this.#fail(error) });
    this.#visits.begin();
  }

  /** @returns {"connecting" | "live" | "waiting" | "ended"} */
  get status() {
    return this.#visits.status;
  }

  /** Why it is over; undefined while it is not. */
  get endReason() {
    return this.#visits.endReason;
  }

  /** From where on another tail brings what this one has not given out. */
  get start() {
    return { ...this.#start };
  }

  close() {
    this.#visits.end("closed");
  }

  #visit(signal) {
    const wanted = { start: this.#start, filters: this.#filters };
    return this.#line.read(wanted, signal, (sign) => this.#hear(sign));
  }

  #hear({ kind, resume, token, events }) {
    switch (kind) {
      case "hello":
        if (resume !== "ok") return this.#visits.end(resume);
        // By that even who has begun at no place with a name, and loses the stream at once, goes on there.
        this.#stand(token);
        break;
      case "events":
        // Whoever is given them sees a place behind them.
        this.#stand(token);
        if (events.length > 0) this.#tell("events", { events });
        break;
      case "caught_up":
        this.#visits.live();
        this.#tell("caught_up", {});
        break;
    }
    return undefined;
  }

  /** A poll says where it stands with its events only. */
  #stand(token) {
    if (token) this.#start = { after: token };
  }

  #fail(error) {
    if (!(error instanceof Problem) || error.isForNow) return;
    this.#visits.end(error.isUnauthenticated ? "unauthenticated" : "refused", error);
  }

  #tell(type, detail) {
    // Whoever was told something else just now may have closed it.
    if (!this.endReason) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function startOf({ after, last, since }) {
  const given = Object.entries({ after, last, since }).filter(([, value]) => value !== undefined);
  if (given.length > 1) throw new TypeError(`a tail begins at one place, not at ${given.map(([name]) => name).join(" and ")}`);
  return Object.fromEntries(given);
}
