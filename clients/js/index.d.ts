/** A client of Scrollback. docs/clients.md has an example; docs/api.md says what the fields mean. */

export type Transport = "sse" | "poll" | "ws";

export interface Options {
  /** Where the server is, like `https://chat.example`. In a page, its own origin if not given. */
  url?: string;
  /** A bearer token, or what gives the one of the moment. Without one the page's cookie is the identity. */
  token?: string | (() => string | Promise<string>);
  /** By which way events come; `sse` if not given. A browser's WebSocket sends no token: `ws` wants a cookie there. */
  transport?: Transport;
  /** How many of the newest messages of each channel a boot brings: 0 to 500, 50 if not given. */
  messages?: number;
  /** Instead of the global ones. */
  fetch?: typeof globalThis.fetch;
  WebSocket?: typeof globalThis.WebSocket;
}

export interface User {
  id: string;
  name: string;
  role: "owner" | "moderator" | "member";
}

export interface Channel {
  id: string;
  name: string;
  at: string;
  private: boolean;
  creator: string | null;
  last_offset: number;
  offset: number;
}

export interface Message {
  id: string;
  at: string;
  channel: string;
  /** Null for an imported message, which has a `sender_name`. */
  sender: string | null;
  sender_name?: string;
  recorded_at?: string;
  body: string;
  offset: number;
}

/** An event of the log; docs/api.md has the fields of each type. */
export interface LogEvent {
  offset: number;
  at: string;
  type: "user" | "channel" | "message" | "member";
  event: "created" | "changed" | "deleted" | "sent" | "added" | "removed";
  [field: string]: unknown;
}

/** What the user may see, as it was right after the record at `offset`. Never changed once it was given out. */
export interface State {
  readonly user: User;
  readonly users: ReadonlyMap<string, User>;
  /** The oldest first. */
  readonly channels: ReadonlyMap<string, Channel>;
  /** By channel, in the order of (`at`, `offset`). From the boot's messages on; older ones are not in it. */
  readonly messages: ReadonlyMap<string, readonly Message[]>;
  /** The newest record that is in this state. */
  readonly offset: number;
  /** Where a stream goes on from this state; may lie before `offset`. */
  readonly token: string;
  /** Seconds. */
  readonly heartbeat: number;
  /** Whether the boot brought fewer messages than it was asked for. */
  readonly truncated: boolean;
}

/**
 * Why a state was read anew: `first`; `other_history` or `ahead` (the server's log is not the one that the client knew: a
 * backup was restored); `rights` (the user became owner, or is one no more, or another user has logged in).
 */
export type BootReason = "first" | "other_history" | "ahead" | "rights";

export type Status = "connecting" | "live" | "waiting" | "ended";

export type EndReason = "closed" | "unauthenticated";

/** What both kinds of targets have in common: listeners know what they are given. No such class is there to be imported. */
declare class Tells<Events> extends EventTarget {
  addEventListener<K extends keyof Events & string>(
    type: K,
    listener: (event: Events[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof Events & string>(
    type: K,
    listener: (event: Events[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
// Else everything that is declared here could be imported.
export {};

export interface ClientEvents {
  boot: CustomEvent<{ state: State; reason: BootReason }>;
  change: CustomEvent<{ state: State; events: LogEvent[] }>;
  /** While `waiting`: for how many milliseconds, and what went wrong, if that is known. */
  status: CustomEvent<{ status: Status; ms?: number; error?: unknown }>;
  end: CustomEvent<{ reason: EndReason }>;
}

export interface SendOptions {
  /** The idempotency key; a new one if not given. */
  key?: string;
  /** For how long to repeat the send while nobody answers; a minute if not given. */
  patienceMs?: number;
}

export class Client extends Tells<ClientEvents> {
  /** Undefined until the first boot. */
  readonly state: State | undefined;
  readonly status: Status;
  readonly boots: number;
  readonly endReason: EndReason | undefined;
  /** Resolved with the first state; rejected when the client ends before there is one. */
  readonly ready: Promise<State>;

  /**
   * Sends a message, repeated under one key until the server answers. Throws a {@link Problem} when it is refused and
   * {@link Unanswered} when nobody answers. Sends that run at once may come in any order; await one before the next.
   */
  send(channel: string, body: string, options?: SendOptions): Promise<Message>;
  /** Any other call of the HTTP interface. Not repeated. */
  call(method: string, path: string, body?: unknown): Promise<any>;
  close(): void;
  /**
   * Goes on where it ended, after a new log-in: by the page's new cookie, or by this token. `ready` is another promise
   * then. If it was another user who logged in, the state is read anew.
   */
  renew(token?: string): void;
}

/** Connects, and stays connected until it is closed or the identity is no longer valid. */
export function connect(options?: Options): Client;

/** One state, once. */
export function boot(options?: Options & { signal?: AbortSignal }): Promise<State>;

/** What a client does with events, for whoever brings their own connection. */
export function fromBoot(answer: unknown): State;
export function fold(state: State, events: LogEvent[], token?: string): State;
export function foldHistory(state: State, events: LogEvent[]): State;
export function needOf(
  user: User,
  event: LogEvent,
): { kind: "boot" } | { kind: "history"; channel: string; after: number; to: number } | null;

/** `[attribute, operator, operand]`; docs/api.md has what there are. */
export type Condition = readonly [attribute: string, operator: string, operand: unknown];

/** Where a tail begins: at most one of these, and from now on without any. */
export interface TailStart {
  /** Behind an offset, or a resume token, which also proves that the log is the one that was read before; 0: everything. */
  after?: string | number;
  /** With the newest so many that the filters choose, 1 to 1000. */
  last?: number;
  /** With the first that was recorded at this time (RFC 3339) or later. */
  since?: string;
}

export interface TailOptions extends TailStart {
  /** As of {@link Options}. */
  url?: string;
  token?: string | (() => string | Promise<string>);
  transport?: Transport;
  fetch?: typeof globalThis.fetch;
  WebSocket?: typeof globalThis.WebSocket;
  /** All conditions of one of these must hold; every event if there are none. */
  filters?: readonly (readonly Condition[])[];
}

/**
 * Why a tail has ended: `other_history` or `ahead`: the server's log is not the one that it began in; `refused`: the server
 * does not take what it asks for.
 */
export type TailEndReason = "closed" | "unauthenticated" | "other_history" | "ahead" | "refused";

export interface TailEvents {
  /** All that came together, as the server shows them. */
  events: CustomEvent<{ events: LogEvent[] }>;
  /** Everything that there was is told. */
  caught_up: CustomEvent<{}>;
  /** While `waiting`: for how many milliseconds, and what went wrong, if that is known. */
  status: CustomEvent<{ status: Status; ms?: number; error?: unknown }>;
  /** It is over. `error` if it was for one. */
  end: CustomEvent<{ reason: TailEndReason; error?: unknown }>;
}

export class Tail extends Tells<TailEvents> {
  readonly status: Status;
  readonly endReason: TailEndReason | undefined;
  /** Behind what was told: from here another {@link tail} goes on. A resume token as soon as one is known. */
  readonly start: TailStart;
  close(): void;
}

/** Reads the log itself, without a state: each event once, in the order of the log, until it is no use to go on. */
export function tail(options?: TailOptions): Tail;

/** A channel to be watched: its id, or with the offset up to which it is known; of the others all is news. */
export type Watched = string | { id: string; since?: number };

export interface WatchOptions {
  /** As of {@link Options}. */
  url?: string;
  token?: string | (() => string | Promise<string>);
  fetch?: typeof globalThis.fetch;
  channels: readonly Watched[];
  /** A resume token of the log that the offsets are of: so the server can tell whether its log is still that one. */
  place?: string;
  /** By which way notices come: `sse` if not given; `manual`: only by {@link Watch.check}. */
  transport?: WatchTransport;
  /** 1 to 64 of `A-Za-z0-9_-`: a watch that the user has under this name is replaced. One that nobody has if not given. */
  name?: string;
  /** From one notice to the next it is at least that long; 250 if not given, 60,000 at most. */
  maxDelayMs?: number;
  /** How long the server keeps it while nobody reads it, in whole seconds; 5 minutes if not given. */
  leaseMs?: number;
  /** How long it is relied upon until it is set anew, a second at least; 5 minutes if not given. */
  anewEveryMs?: number;
}

export type WatchTransport = "sse" | "poll" | "manual";

/** Why a channel is not watched, or no more. */
export type GoneReason = "deleted" | "forbidden" | "not_found" | "bad_id";

/** Why a watch has ended. */
export type WatchEndReason = "replaced" | "unwatched" | "closed" | "unauthenticated" | "refused";

export interface WatchEvents {
  /** The newest record of each of these channels; of one channel offsets only grow. Read them now. */
  changed: CustomEvent<{ channels: { channel: string; offset: number }[] }>;
  /** These are not watched, or no more, and this is the last that is told of them. */
  gone: CustomEvent<{ channels: { channel: string; why: GoneReason }[] }>;
  /** Everything that there was is told. */
  caught_up: CustomEvent<{}>;
  /** The server's log is not the one that the offsets were of: all channels are told anew. */
  elsewhere: CustomEvent<{ reason: "other_history" | "ahead" }>;
  /** While `waiting`: for how many milliseconds, and what went wrong. */
  status: CustomEvent<{ status: Status; ms?: number; error?: unknown }>;
  /** It is over. `error` if it was for one. */
  end: CustomEvent<{ reason: WatchEndReason; error?: unknown }>;
}

export class Watch extends Tells<WatchEvents> {
  readonly name: string;
  readonly status: Status;
  readonly endReason: WatchEndReason | undefined;
  /** What was told: with it another {@link watch} goes on from here. */
  readonly known: { channels: { id: string; since?: number }[]; place?: string };

  /**
   * Watches these channels and no others, by the watch that this gives. When it returns this one has ended, and nothing more is
   * told by it whatever the server does. What was told of channels that stay is known to the new one, if no `since` is given.
   */
  replace(channels: readonly Watched[]): Watch;
  /** Ends it at once, and then the server's. Rejected when that is not reached: then its lease ends it. */
  unwatch(): Promise<void>;
  /** Ends it at once, and lets the server find out. */
  close(): void;
  /** Asks now. Resolved when all that had changed by now is told; rejected when the server could not be asked. */
  check(): Promise<void>;
}

/** Tells that channels have changed, for whoever reads them by other calls. Nothing has to be read before. */
export function watch(options: WatchOptions): Watch;

/** A refusal by the server. */
export class Problem extends Error {
  readonly status: number;
  /** Stable; docs/api.md has the table. */
  readonly code: string;
  readonly retryMs: number | undefined;
  readonly isUnauthenticated: boolean;
  readonly isForNow: boolean;
}

/** A send that nobody answered: whether the message is there is unknown. Send again under `key` to find out. */
export class Unanswered extends Error {
  readonly key: string;
}
