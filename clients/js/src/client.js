// A client: boots, follows the events from there, and comes back whenever its connection breaks, for ever. It knows a
// state and the resume token of that state; nothing else has to survive a broken connection.

import { sleep, waitMs } from "./backoff.js";
import { boot } from "./boot.js";
import { Api, Problem } from "./http.js";
import { send } from "./send.js";
import { withoutSilence } from "./silence.js";
import { take } from "./take.js";
import { transportOf } from "./transports/index.js";

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
  /** @type {"connecting" | "live" | "waiting" | "ended"} */
  status = "connecting";
  /** How often the state was read anew, the first time included. */
  boots = 0;
  /** Why it is over; undefined while it is not. */
  endReason;
  /** Resolved with the first state; rejected if there will be none. */
  ready;

  #options;
  #api;
  #transport;
  /** What a transport keeps from one connection for the next. */
  #memory = {};
  #stop = new AbortController();
  #settle;
  /** Why the state must be read anew; null while it need not. */
  #staleBecause = "first";
  /** Visits that ended since the client was last live. */
  #failures = 0;
  /** Whether somebody has logged in anew, who may be another. */
  #isRenewed = false;

  constructor(options) {
    super();
    this.#options = options;
    this.#api = new Api(options);
    this.#transport = transportOf(options);
    this.#begin();
  }

  #begin() {
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever does not wait for it is told by `end`.
    this.ready.catch(() => {});
    // In a later turn, so that whoever made it can listen first.
    queueMicrotask(() => this.#run());
  }

  /** Goes on where it ended, after a new log-in: by the page's new cookie, or by this token. */
  renew(token) {
    if (!this.endReason) throw new Error("the client has not ended");
    if (token) this.#api.token = token;
    this.endReason = undefined;
    this.#stop = new AbortController();
    this.#failures = 0;
    this.#isRenewed = this.state !== undefined;
    this.status = "connecting";
    this.#begin();
  }

  /**
   * Sends a message. Repeated under one idempotency key until the server answers: it is there once, or this throws.
   * Over HTTP whatever the transport, so that a send does not depend on a stream.
   */
  send(channel, body, options = {}) {
    return send(this.#api, channel, body, { ...options, signal: this.#stop.signal });
  }

  /** Any other call of the HTTP interface, once; gives the answer's JSON or throws a {@link Problem}. */
  call(method, path, body) {
    return this.#api.call(method, path, { body, signal: this.#stop.signal });
  }

  close() {
    this.#end("closed");
  }

  async #run() {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let pause;
      try {
        pause = await this.#visit(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && error.isUnauthenticated) return this.#end("unauthenticated");
        pause = { error, hintMs: error.retryMs };
      }
      this.#failures += 1;
      // What is no failure is come back from at once, but not over and over.
      if (pause.atOnce && this.#failures === 1) continue;
      const ms = waitMs(this.#failures, pause.hintMs);
      this.#setStatus("waiting", { ms, error: pause.error });
      await sleep(ms, signal).catch(() => {});
      if (!signal.aborted) this.#setStatus("connecting");
    }
  }

  /** One connection, from its beginning to its end. Says how long to wait before the next. */
  async #visit(signal) {
    if (this.#isRenewed) await this.#recognize(signal);
    if (this.#staleBecause) await this.#boot(signal);
    this.#settle.resolve(this.state);
    const hangUp = new AbortController();
    const stop = AbortSignal.any([signal, hangUp.signal]);
    const { token, heartbeat } = this.state;
    const signs = this.#transport({ api: this.#api, token, heartbeat, memory: this.#memory, signal: stop });
    let hintMs;
    for await (const sign of withoutSilence(signs, heartbeat, () => hangUp.abort())) {
      if (signal.aborted) break;
      switch (sign.kind) {
        case "hello":
          if (sign.resume === "ok") break;
          this.#staleBecause = sign.resume;
          return { atOnce: true };
        case "events":
          if (await this.#take(sign, stop)) break;
          this.#staleBecause = "rights";
          return { atOnce: true };
        case "caught_up":
          this.#failures = 0;
          this.#setStatus("live");
          break;
        case "retry":
          hintMs = sign.ms;
          break;
        case "bye":
          if (sign.code === "unauthenticated") throw new Problem(401, { code: sign.code });
          // A private channel was lost, nothing is wrong: the next stream begins with that.
          if (sign.reason === "revoked") return { atOnce: true };
          return { hintMs: sign.retryMs ?? hintMs };
      }
    }
    return { hintMs };
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

  #end(reason) {
    if (this.endReason) return;
    this.endReason = reason;
    const error = new Error(`the client has ended: ${reason}`);
    this.#settle.reject(error);
    this.#stop.abort(error);
    this.#setStatus("ended");
    this.#tell("end", { reason });
  }

  #setStatus(status, more = {}) {
    if (this.status === "ended" || (this.status === status && status !== "waiting")) return;
    this.status = status;
    this.#tell("status", { status, ...more });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
