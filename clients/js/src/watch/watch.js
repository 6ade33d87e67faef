// A watch: tells that channels have changed, and nothing of what, for whoever reads them by other calls.
//
// What one PUT made is a setting, with an epoch. A setting is taken back, in one synchronous step, *before* the server is
// asked for the next one or for the end; and what a server says under another epoch is not heard. So nothing comes of an old
// setting, whatever a server does.
//
// A notice may be lost: by a server, by what lies between, by a connection that is dead and does not say so. So a setting is
// relied upon for so long only. Then the watch is set anew, and the answer, which the server takes in one moment with the
// registration, says how each channel stands: what is newer than what was told is told now. A program that reads what it is
// told of has then set its watch first and read second; it is late by the interval at worst, and never wrong.

import { hinted, sleep, waitMs } from "../backoff.js";
import { Api, Problem } from "../http.js";
import { newKey } from "../send.js";
import { withoutSilence } from "../silence.js";
import { Book, changesOf } from "./book.js";
import { compare } from "./compare.js";
import { look, polls, stream } from "./readers.js";
import { Forwarder, Setting, reliedUponMs } from "./setting.js";

/** For how long a setting is relied upon if nothing else is asked for, and at least. */
export const ANEW_MS = 300_000;
const ANEW_LEAST_MS = 1_000;
const TRANSPORTS = ["sse", "poll", "manual"];

/**
 * Watches channels until {@link Watch.unwatch}, {@link Watch.close} or {@link Watch.replace}, or until it is no use to go on.
 *
 * @param {import("../../index.js").WatchOptions} options
 */
export const watch = (options) => new Watch(options);

/**
 * Dispatches, as `CustomEvent`s: `changed` and `gone` ({channels}), `caught_up`, `elsewhere` ({reason}), `status` ({status, ...})
 * and `end` ({reason, error?}).
 */
export class Watch extends EventTarget {
  /** @type {"connecting" | "live" | "waiting" | "ended"} */
  status = "connecting";
  /** Why it is over; undefined while it is not. */
  endReason;
  name;

  #options;
  #api;
  #path;
  #book;
  #stop = new AbortController();
  /** The setting that is read; undefined when the watch has to be set. */
  #setting;
  /** Settled when the watch was set, or could not be: for whoever waits for that. */
  #attempt;
  /** Ends the wait for the next try. */
  #nap = new AbortController();
  /** Whether the server may be another one than it was, or have another log. */
  #isDoubted;
  #failures = 0;
  /** Failures of another kind: somebody else has set the watch, or ended it. Forgotten when a setting was left alone. */
  #contests = 0;

  constructor(options, { book, isDoubted } = beginning(options)) {
    super();
    const { transport = "sse", name = newKey() } = options;
    if (!TRANSPORTS.includes(transport)) throw new TypeError(`no watch is told by ${transport}: ${TRANSPORTS.join(", ")}`);
    this.#options = { anewEveryMs: ANEW_MS, ...options, transport, name };
    this.#api = new Api(options);
    this.name = name;
    this.#path = `/api/watch/${encodeURIComponent(name)}`;
    this.#book = book;
    this.#isDoubted = isDoubted;
    this.#attempt = attempt();
    // In a later turn, so that whoever made it can listen first.
    queueMicrotask(() => this.#run());
  }

  /** The channels, each with the newest offset that was told, and where the log stood: a watch can be gone on with from it. */
  get known() {
    const { channels, place } = this.#book;
    return place === undefined ? { channels } : { channels, place };
  }

  /**
   * Watches these channels, and no others, by the watch that this gives; this one has ended when it returns, and only then is
   * the server asked. What was told of channels that stay is known to the new one, unless it is said what is.
   */
  replace(channels) {
    this.#mustGoOn();
    const heritage = { book: this.#book.replacedBy(channels), isDoubted: this.#isDoubted };
    this.#end("replaced");
    return new Watch(this.#options, heritage);
  }

  /** Ends the watch: this one at once, and then the server's. When that is not reached, its lease ends it. */
  async unwatch() {
    this.#mustGoOn();
    this.#end("unwatched");
    await this.#api.call("DELETE", this.#path);
  }

  /** Ends this one and says nothing to the server, which keeps the watch until its lease ends. */
  close() {
    this.#end("closed");
  }

  /** Asks once, now. Resolved when all that had changed by now is told; rejected when the server could not be asked. */
  async check() {
    for (;;) {
      this.#mustGoOn();
      const setting = this.#setting;
      if (!setting) {
        this.#nap.abort();
        await this.#attempt.promise;
        continue;
      }
      if (setting.isDue) {
        this.#drop(setting);
        continue;
      }
      try {
        // From the beginning, wherever the reader stands: so it makes up for what was lost before.
        const page = await look({ api: this.#api, path: this.#path, signal: setting.signal });
        if (this.#setting !== setting) continue;
        if (page.epoch !== setting.epoch) throw new Problem(409, { code: "watch_replaced" });
        this.#hear(setting, page.changed, page.next);
        setting.tell("caught_up", {});
        return;
      } catch (error) {
        // Meanwhile it is over, or another setting is in force.
        if (this.#setting !== setting) continue;
        if (isLost(error)) {
          this.#drop(setting);
          this.#isDoubted = true;
          continue;
        }
        if (error instanceof Problem && !error.isForNow) this.#refuse(error);
        throw error;
      }
    }
  }

  async #run() {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let pause;
      try {
        if (!this.#setting) await this.#set(signal);
        this.#attempt.resolve();
        // Whoever was told may have done anything by now.
        pause = this.#setting ? await this.#read(this.#setting, signal) : { atOnce: true };
      } catch (error) {
        if (signal.aborted) return;
        pause = this.#fail(error);
      }
      if (signal.aborted) return;
      if (pause.atOnce) continue;
      const failures = pause.isContest ? (this.#contests += 1) : (this.#failures += 1);
      const ms = waitMs(failures, pause.hintMs);
      this.#setStatus("waiting", { ms, error: pause.error });
      this.#nap = new AbortController();
      await sleep(ms, AbortSignal.any([signal, this.#nap.signal])).catch(() => {});
      if (!signal.aborted) this.#setStatus("connecting");
    }
  }

  /** Sets the watch. Only now, when nothing of the old setting is left. */
  async #set(signal) {
    const { maxDelayMs, leaseMs, anewEveryMs, transport } = this.#options;
    const lease_s = leaseMs === undefined ? undefined : Math.floor(leaseMs / 1000);
    for (;;) {
      const { place } = this.#book;
      const body = { watch: this.#book.channels, max_delay_ms: maxDelayMs, lease_s };
      const answer = await this.#api.call("PUT", this.#path, { body, signal });
      // After the watch is set and before it is read: a server that has begun anew meanwhile, with another log, does not know
      // the watch when it is to be read.
      const isOther = this.#isDoubted && place && (await compare({ api: this.#api, place, signal }));
      if (signal.aborted) throw signal.reason;
      this.#isDoubted = false;
      const reason = isOther || this.#book.contradicted(answer.status);
      if (!reason) {
        const forwarder = new Forwarder((type, detail) => this.#tell(type, detail));
        const ms = reliedUponMs(Math.max(anewEveryMs, ANEW_LEAST_MS));
        const setting = new Setting(answer, forwarder, ms, (due) => this.#isOver(due));
        this.#setting = setting;
        if (transport === "manual") setting.isRead = true;
        return this.#hear(setting, changesOf(answer.status));
      }
      // Set without what was known, it says how everything stands.
      this.#book.forget();
      this.#tell("elsewhere", { reason });
      if (signal.aborted) throw signal.reason;
    }
  }

  /** A setting was left alone for its time. By hand it is taken back when somebody asks. */
  #isOver(setting) {
    this.#contests = 0;
    if (this.#options.transport !== "manual") this.#drop(setting);
  }

  /** One connection, from its beginning to its end. Says how long to wait before the next. */
  async #read(setting, signal) {
    const { transport } = this.#options;
    if (transport === "manual") {
      this.#setStatus("live");
      setting.tell("caught_up", {});
      await setting.dropped;
      return { atOnce: true };
    }
    const hangUp = new AbortController();
    const how = {
      api: this.#api,
      path: this.#path,
      after: setting.after,
      maxDelayMs: setting.maxDelayMs,
      signal: AbortSignal.any([signal, setting.signal, hangUp.signal]),
    };
    const signs =
      transport === "sse" ? withoutSilence(stream(how), setting.heartbeat, () => hangUp.abort()) : polls(how);
    let hintMs;
    try {
      for (;;) {
        const step = await Promise.race([signs.next(), setting.dropped]);
        if (!step || this.#setting !== setting) return { atOnce: true };
        if (step.done) throw new Error("the stream has ended");
        const sign = step.value;
        switch (sign.kind) {
          case "hello":
            if (sign.epoch !== setting.epoch) return this.#lose(setting);
            setting.isRead = true;
            this.#isDoubted = false;
            this.#failures = 0;
            break;
          case "changed":
            // Else it is a straggler of another setting.
            if (sign.epoch === setting.epoch) this.#hear(setting, sign.changes, sign.place);
            break;
          case "stands":
            this.#standAt(setting, sign.place);
            break;
          case "caught_up":
            this.#setStatus("live");
            setting.tell("caught_up", {});
            break;
          case "retry":
            hintMs = sign.ms;
            break;
          case "bye":
            if (sign.code === "unauthenticated") throw new Problem(401, { code: sign.code });
            if (sign.reason === "replaced" || sign.reason === "unwatched") return this.#lose(setting);
            throw new Error(`the server has ended the stream: ${sign.reason}`);
        }
      }
    } catch (error) {
      throw hinted(error, hintMs);
    } finally {
      hangUp.abort();
      // What it still throws is of no interest.
      signs.return().catch(() => {});
    }
  }

  /** Tells what is news of these. */
  #hear(setting, changes, place) {
    // What cannot be told must not be known.
    if (this.#setting !== setting) return;
    const changed = this.#book.tellChanged(changes);
    this.#standAt(setting, place);
    if (changed.length > 0) setting.tell("changed", { channels: changed });
    // Whoever was told may have replaced this watch by now: then these are the new one's to tell.
    if (this.#setting !== setting) return;
    const gone = this.#book.tellGone(changes);
    if (gone.length > 0) setting.tell("gone", { channels: gone });
  }

  #standAt(setting, place) {
    this.#book.place = setting.standAt(place) ?? this.#book.place;
  }

  /** What a request has failed with: how to go on, if it is not the end. */
  #fail(error) {
    const setting = this.#setting;
    this.#attempt.reject(error);
    this.#attempt = attempt();
    if (!(error instanceof Problem) || error.isForNow) {
      this.#isDoubted = true;
      return { error, hintMs: error?.retryMs };
    }
    if (error.code === "watch_replaced") return this.#lose(setting);
    if (isLost(error) && setting) {
      this.#drop(setting);
      this.#isDoubted = true;
      // The server has begun anew, or the lease has ended. One that never knows what was set is not asked over and over.
      return setting.isRead ? { atOnce: true } : { error };
    }
    this.#refuse(error);
    return { error };
  }

  /** It is no use to go on. */
  #refuse(error) {
    this.#end(error.isUnauthenticated ? "unauthenticated" : "refused", error);
  }

  /**
   * Somebody else has set the watch, or ended it: another program under the same name, or a request of our own that was given
   * up and has come late. Whoever it was, what is watched is not what this one wants.
   */
  #lose(setting) {
    this.#drop(setting);
    return { isContest: true, error: new Error("somebody else has set the watch, or ended it") };
  }

  #drop(setting) {
    if (!setting || this.#setting !== setting) return;
    this.#setting = undefined;
    this.#attempt = attempt();
    setting.drop();
  }

  #end(reason, error) {
    if (this.endReason) return;
    this.endReason = reason;
    // From here on nothing is told of any channel, whatever comes.
    this.#drop(this.#setting);
    const why = error ?? new Error(`the watch has ended: ${reason}`);
    this.#stop.abort(why);
    this.#attempt.reject(why);
    this.#setStatus("ended");
    this.dispatchEvent(new CustomEvent("end", { detail: error ? { reason, error } : { reason } }));
  }

  #mustGoOn() {
    if (this.endReason) throw new Error(`the watch has ended: ${this.endReason}`);
  }

  #setStatus(status, more = {}) {
    if (this.status === "ended" || (this.status === status && status !== "waiting")) return;
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: { status, ...more } }));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What a watch begins with that comes after no other: a log that it was told of may not be the server's. */
const beginning = ({ channels = [], place }) => ({ book: new Book(channels, place), isDoubted: place !== undefined });

/** Whether the setting that was asked for is not there any more. */
const isLost = (error) => error instanceof Problem && ["unknown_watch", "watch_replaced"].includes(error.code);

function attempt() {
  let settle;
  const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
  // Nobody need wait for it.
  promise.catch(() => {});
  return { promise, ...settle };
}
