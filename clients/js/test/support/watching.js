// A server that keeps watches as the real one does, and misbehaves as a test says: as a `fetch` for the library. Its streams
// do not care whether they are hung up on: what is put into them comes.

import { afterEach } from "node:test";

import { control, json, problem } from "./fake.js";

/** Beyond every offset that its log has. */
export const NEVER = 1_000_000;

export class Watching {
  requests = [];
  /** How each channel stands. */
  newest;
  head;
  /** The newest epoch given, and that of the setting in force. */
  epoch = 0;
  set;
  /** Those that were opened, the oldest first. */
  streams = [];
  /** Whether it never tells of anything that changes. */
  isMute = false;
  /** How often it says that it gives signs of life, in seconds. */
  heartbeat = 15;
  /** What is said of a resume point of the log's events. */
  resume = "ok";
  /** Called with each request before it is answered; an answer that it gives is taken. */
  before = () => undefined;

  constructor(newest) {
    this.newest = newest;
    this.head = Math.max(0, ...Object.values(newest));
  }

  fetch = async (url, init) => {
    const { pathname: path, searchParams: query } = new URL(url);
    const request = { path, query, ...init, body: init.body && JSON.parse(init.body) };
    this.requests.push(request);
    // No answer comes in the turn of its question.
    await new Promise((resolve) => setImmediate(resolve));
    return (await this.before(request)) ?? this.#answer(request);
  };

  /** What was asked with this method. */
  asked(method, end = "") {
    return this.requests.filter((request) => request.method === method && request.path.endsWith(end));
  }

  /** A record of this channel. Whoever reads the watch is told, if the server is good. */
  change(channel) {
    this.newest[channel] = this.head += 1;
    if (!this.isMute) this.tell(this.set, [{ id: channel, offset: this.head }]);
    return this.head;
  }

  /** A notice under this epoch on all of these streams, if not said otherwise all that ever were. */
  tell(epoch, changed, streams = this.streams) {
    const head = Math.max(0, ...changed.map(({ offset }) => offset ?? 0));
    const data = JSON.stringify({ type: "changed", epoch, changed, head });
    for (const stream of streams) stream.say(`id: ${epoch}.${head}-00000000\nevent: changed\ndata: ${data}\n\n`);
  }

  /** It forgets what it has in memory, as after `kill -9`. */
  restart() {
    this.set = undefined;
    for (const stream of this.streams) stream.end();
    this.streams = [];
  }

  #answer(request) {
    const { method, path } = request;
    if (path === "/api/events/poll") return json({ resume: this.resume, events: [], next: "1-00000000", head: 1 });
    if (method === "DELETE") {
      this.set = undefined;
      return new Response(null, { status: 204 });
    }
    if (method === "PUT") return this.#setAnew(request.body);
    if (!this.set) return problem(404, "unknown_watch");
    return path.endsWith("/events") ? this.#open() : this.#poll(request);
  }

  #setAnew({ watch, max_delay_ms = 250 }) {
    this.set = this.epoch += 1;
    const status = {};
    for (const { id, since } of watch) {
      const offset = this.newest[id];
      if (offset === undefined) status[id] = { ok: false, code: "not_found" };
      else status[id] = since > this.head ? { ok: false, code: "ahead" } : { ok: true, offset };
    }
    return json({ name: "w", epoch: this.epoch, head: this.head, max_delay_ms, lease_s: 300, left_s: 300, heartbeat: this.heartbeat, status });
  }

  #open() {
    let controller;
    const body = new ReadableStream({ start: (given) => (controller = given) });
    const stream = {
      say: (text) => controller.enqueue(new TextEncoder().encode(text)),
      end: () => controller.close(),
      break: () => controller.error(new TypeError("terminated")),
    };
    stream.say("retry: 1000\n" + control({ type: "hello", epoch: this.set, head: this.head }));
    stream.say(control({ type: "caught_up", offset: this.head }));
    this.streams.push(stream);
    return new Response(body);
  }

  async #poll({ query, signal }) {
    const epoch = this.set;
    const after = Number.parseInt(query.get("after")?.split(".")[1] ?? "0", 10);
    for (let turns = Number(query.get("wait")) * TURNS_A_SECOND; ; turns = signal.aborted ? 0 : turns - 1) {
      if (this.set !== epoch) return problem(this.set ? 409 : 404, this.set ? "watch_replaced" : "unknown_watch");
      const newer = Object.entries(this.newest).filter(([, offset]) => offset > after && !this.isMute);
      if (newer.length > 0 || turns <= 0) {
        const changed = newer.map(([id, offset]) => ({ id, offset }));
        return json({ epoch, changed, head: this.head, next: `${epoch}.${this.head}-00000000` });
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 / TURNS_A_SECOND));
    }
  }
}

const TURNS_A_SECOND = 50;

/** A watch of `server`, and all that it tells. */
export function watched(watch, server, options) {
  const told = [];
  const list = watch({ url: "http://chat.example", token: "t", name: "w", fetch: server.fetch, ...options });
  listen(list, told);
  servers.push(server);
  return { list, told };
}

/** What a test has made. */
const servers = [];
const lists = [];

// A watch that a test has left, and a stream that nobody ends, would keep the program waiting for minutes.
afterEach(() => {
  for (const list of lists.splice(0)) list.close();
  for (const server of servers.splice(0)) server.restart();
});

export function listen(list, told) {
  lists.push(list);
  for (const type of ["changed", "gone"]) {
    list.addEventListener(type, ({ detail }) => {
      for (const { channel, offset, why } of detail.channels) told.push(`${channel} ${offset ?? why}`);
    });
  }
  list.addEventListener("caught_up", () => told.push("caught up"));
  list.addEventListener("elsewhere", ({ detail }) => told.push(detail.reason));
}
