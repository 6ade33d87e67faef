// A client: boots, follows the events from there, and comes back whenever its connection breaks, for ever. It knows a
// state and the resume token of that state; nothing else has to survive a broken connection.

import { boot } from "./boot.js";
import { Problem } from "./http.js";
import { Line } from "./line.js";
import { send } from "./send.js";
import { take } from "./take.js";
import { Visits } from "./visits.js";

/**
 * Connects, and stays connected until {@link Client.close} or until the identity is no longer valid. Then
 * {@link Client.renew} goes on.
 *
 * @param {import("../index.js").Options} [options]
 */
export const connect = (options = {}) => new Client(options);

/**
 * Dispatches, as `CustomEvent`s: `boot` ({state, reason}), `change` ({state, events}), `status` ({status, ...}) and `end`
 * ({reason}).
 */
export class Client extends EventTarget {
  /** @type {import("../index.js").State | undefined} undefined until the first boot. */
  state;
  /** How often the state was read anew, the first time included. */
  boots = 0;
  /** Resolved with the first state; rejected if there will be none. */
  ready;

  #options;
  #line;
  #api;
  #visits;
  #resolveReady;
  /** Why the state must be read anew; null while it need not. */
  #staleBecause = "first";
  /** Whether somebody has logged in anew, who may be another. */
  #isRenewed = false;

  constructor(options) {
    super();
    this.#options = options;
    this.#line = new Line(options);
    this.#api = this.#line.api;
    const visit = (signal) => this.#visit(signal);
    this.#visits = new Visits(this, { name: "client", visit, fail: (error) => this.#fail(error) });
    this.#begin();
  }

  #begin() {
    this.#visits.begin();
    const { signal } = this.#visits;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    // Whoever does not wait for it is told by `end`.
    this.ready.catch(() => {});
  }

  /** @returns {"connecting" | "live" | "waiting" | "ended"} */
  get status() {
    return this.#visits.status;
  }

  /** Why it is over; undefined while it is not. */
  get endReason() {
    return this.#visits.endReason;
  }

  /** Goes on where it ended, after a new log-in: by the page's new cookie, or by this token. */
  renew(token) {
    if (!this.endReason) throw new Error("the client has not ended");
    if (token) this.#api.token = token;
    this.#isRenewed = this.state !== undefined;
    this.#begin();
  }

  /**
   * Sends a message. Repeated under one idempotency key until the server answers: it is there once, or this throws.
   * Over HTTP whatever the transport, so that a send does not depend on a stream.
   */
  send(channel, body, options = {}) {
    return send(this.#api, channel, body, { ...options, signal: this.#visits.signal });
  }

  /** Any other call of the HTTP interface, once; gives the answer's JSON or throws a {@link Problem}. */
  call(method, path, body) {
    return this.#api.call(method, path, { body, signal: this.#visits.signal });
  }

  close() {
    this.#visits.end("closed");
  }

  /** One connection, from its beginning to its end. Says how long to wait before the next. */
  async #visit(signal) {
    if (this.#isRenewed) await this.#recognize(signal);
    if (this.#staleBecause) await this.#boot(signal);
    this.#resolveReady(this.state);
    return this.#line.read({ start: { after: this.state.token } }, signal, (sign, stop) => this.#hear(sign, stop));
  }

  /** Gives a pause when the state must be read anew. */
  async #hear(sign, signal) {
    switch (sign.kind) {
      case "hello":
        if (sign.resume === "ok") break;
        this.#staleBecause = sign.resume;
        return { atOnce: true };
      case "events":
        if (await this.#take(sign, signal)) break;
        this.#staleBecause = "rights";
        return { atOnce: true };
      case "caught_up":
        this.#visits.live();
        break;
    }
    return undefined;
  }

  /** Everything else is for now: it is asked again. */
  #fail(error) {
    if (error instanceof Problem && error.isUnauthenticated) this.#visits.end("unauthenticated");
  }

  async #boot(signal) {
    const reason = this.#staleBecause;
    const state = await boot(this.#api, this.#options.messages, signal);
    if (signal.aborted) throw signal.reason;
    this.state = state;
    this.#staleBecause = null;
    this.boots += 1;
    this.#tell("boot", { state: this.state, reason });
  }

  /** Another user sees other things: nothing of the state is theirs. */
  async #recognize(signal) {
    const { id } = await this.#api.call("GET", "/api/auth/me", { signal });
    if (id !== this.state.user.id) this.#staleBecause = "rights";
    this.#isRenewed = false;
  }

  /** False if the state must be read anew. */
  async #take({ events, token }, signal) {
    const state = await take(this.#api, this.state, events, token, signal);
    if (signal.aborted) throw signal.reason;
    if (!state) return false;
    const fresh = events.filter((event) => event.offset > this.state.offset);
    this.state = state;
    if (fresh.length > 0) this.#tell("change", { state, events: fresh });
    return true;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
