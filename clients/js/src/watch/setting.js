// A setting of a watch: what one PUT has made. Everything by which it could bring a notice hangs on this object, so that it
// can be taken back in one step.

/** A setting is relied upon for the interval, less at most this part of it: clients that began together do not stay so. */
const JITTER = 0.25;

/** The longest that one is: beyond it a timer of JavaScript would ring at once. */
const RELIED_UPON_MAX_MS = 2 ** 31 - 1;

/** For how many milliseconds a setting is relied upon. */
export const reliedUponMs = (intervalMs, random = Math.random) =>
  Math.min(intervalMs, RELIED_UPON_MAX_MS) * (1 - JITTER * random());

/**
 * The only way from a connection to whoever listens. What was given one can tell only through it; once it is revoked nothing
 * passes any more, whatever still comes and whoever sends it.
 */
export class Forwarder {
  #forward;

  constructor(forward) {
    this.#forward = forward;
  }

  tell(...notice) {
    this.#forward?.(...notice);
  }

  revoke() {
    this.#forward = undefined;
  }
}

export class Setting {
  /** Where a reader of it stands: `EPOCH.TOKEN`. */
  after;
  /** Whether a reader of it was let in. */
  isRead = false;
  /** Whether it is relied upon no more. */
  isDue = false;
  /** Resolved when it is over. */
  dropped;

  #forwarder;
  #hangUp = new AbortController();
  #timer;
  #settle;

  /**
   * @param {{epoch: number, max_delay_ms: number, heartbeat: number}} answer
   * @param {Forwarder} forwarder
   * @param {number} ms for how long it is relied upon.
   * @param {(setting: Setting) => void} whenDue
   */
  constructor({ epoch, max_delay_ms: maxDelayMs, heartbeat }, forwarder, ms, whenDue) {
    Object.assign(this, { epoch, maxDelayMs, heartbeat });
    this.#forwarder = forwarder;
    this.dropped = new Promise((resolve) => (this.#settle = resolve));
    this.#timer = setTimeout(() => {
      this.isDue = true;
      whenDue(this);
    }, ms);
  }

  /** Aborted when it is over. */
  get signal() {
    return this.#hangUp.signal;
  }

  tell(...notice) {
    this.#forwarder.tell(...notice);
  }

  /** Notes where a reader of this setting stands; gives the resume token in it, nothing if it is of another one. */
  standAt(place) {
    const [epoch, token] = place?.split(".") ?? [];
    if (!token || Number(epoch) !== this.epoch) return undefined;
    this.after = place;
    return token;
  }

  /** Takes it back: when this returns nothing can come of it any more. */
  drop() {
    this.#forwarder.revoke();
    clearTimeout(this.#timer);
    this.#hangUp.abort(new Error("the watch is not what it was"));
    this.#settle();
  }
}
