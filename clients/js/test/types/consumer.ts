// A program in TypeScript that uses all that the library exports. It is checked and never run.

import {
  Client,
  Problem,
  Tail,
  Unanswered,
  Watch,
  boot,
  connect,
  fold,
  foldHistory,
  fromBoot,
  needOf,
  tail,
  watch,
  type BootReason,
  type Channel,
  type ClientEvents,
  type Condition,
  type EndReason,
  type GoneReason,
  type LogEvent,
  type Message,
  type Options,
  type SendOptions,
  type State,
  type Status,
  type TailEndReason,
  type TailEvents,
  type TailOptions,
  type TailStart,
  type Transport,
  type User,
  type WatchEndReason,
  type WatchEvents,
  type WatchOptions,
  type WatchTransport,
  type Watched,
} from "../../index.js";

/** Takes what is of this type, and nothing else. */
const is = <T>(value: T): T => value;

const transports: Transport[] = ["sse", "poll", "ws"];
const options: Options = { url: "http://chat.example", token: async () => "t", transport: transports[0], messages: 50 };

async function follow(): Promise<void> {
  const client: Client = connect(options);
  client.addEventListener("boot", ({ detail }) => {
    is<BootReason>(detail.reason);
    is<State>(detail.state);
  });
  const changed = (event: ClientEvents["change"]): void => is<LogEvent[]>(event.detail.events).forEach(print);
  client.addEventListener("change", changed, { once: true });
  client.removeEventListener("change", changed);
  client.addEventListener("status", ({ detail }) => is<Status>(detail.status));
  client.addEventListener("end", ({ detail }) => is<EndReason>(detail.reason));
  // @ts-expect-error: a boot has a reason, and no offset.
  client.addEventListener("boot", ({ detail }) => print(detail.offset));
  is<EventTarget>(client);
  const state: State = await client.ready;
  const users: User[] = [...state.users.values()];
  const channels: Channel[] = [...state.channels.values()];
  const messages: readonly Message[] = state.messages.get(channels[0].id) ?? [];
  // @ts-expect-error: a state that was given out is not changed.
  state.messages.get(channels[0].id)?.push(messages[0]);
  const how: SendOptions = { key: "k", patienceMs: 1000 };
  try {
    is<Message>(await client.send(channels[0].id, `hello, ${users[0].name}`, how));
  } catch (error) {
    if (error instanceof Problem && error.isForNow) print(error.status, error.code, error.retryMs, error.isUnauthenticated);
    if (error instanceof Unanswered) print(error.key);
  }
  print(await client.call("GET", "/api/channels"), client.status, client.boots, client.endReason);
  client.close();
  client.renew("t2");
}

async function foldByHand(events: LogEvent[]): Promise<State> {
  const { signal } = new AbortController();
  const state = await boot({ ...options, signal });
  const need = needOf(state.user, events[0]);
  if (need?.kind === "history") return foldHistory(fromBoot({}), events.slice(need.after, need.to));
  return fold(state, events, "7-00000000");
}

function readTheLog(filters: Condition[][]): void {
  const all: TailOptions = { url: "http://chat.example", token: "t", fetch, WebSocket, transport: "ws", filters };
  const log: Tail = tail({ ...all, last: 10 });
  const read = (event: TailEvents["events"]): void => is<LogEvent[]>(event.detail.events).forEach(print);
  log.addEventListener("events", read);
  log.removeEventListener("events", read);
  log.addEventListener("caught_up", () => print(log.status));
  log.addEventListener("status", ({ detail }) => print(is<Status>(detail.status), detail.ms, detail.error));
  log.addEventListener("end", ({ detail }) => print(is<TailEndReason>(detail.reason), detail.error));
  // @ts-expect-error: a tail makes nothing of what it reads.
  print(log.state);
  // @ts-expect-error: a condition is not a filter.
  tail({ filters: [["type", "=", "message"]] });
  const place: TailStart = log.start;
  log.close();
  tail({ ...all, ...place, filters: [[["type", "=", "message"], ["channel", "in", ["C1"]]], []] }).close();
  tail({ since: "2026-11-29T09:00:00Z" }).close();
  tail({ after: 0 }).close();
  tail();
  print(is<TailEndReason | undefined>(log.endReason));
}

async function watchChannels(): Promise<void> {
  const channels: Watched[] = ["C1", { id: "C2", since: 7 }, { id: "C3" }];
  const transport: WatchTransport = "manual";
  const all: WatchOptions = {
    ...{ url: "http://chat.example", token: "t", fetch, channels, place: "7-00000000", transport, name: "list" },
    ...{ maxDelayMs: 0, leaseMs: 60_000, anewEveryMs: 300_000 },
  };
  const list: Watch = watch(all);
  list.addEventListener("changed", ({ detail }) => {
    for (const { channel, offset } of detail.channels) print(is<string>(channel), is<number>(offset));
  });
  const gone = (event: WatchEvents["gone"]): void => {
    for (const { why } of event.detail.channels) is<GoneReason>(why);
  };
  list.addEventListener("gone", gone);
  list.removeEventListener("gone", gone);
  list.addEventListener("caught_up", () => print(list.status, list.name));
  list.addEventListener("elsewhere", ({ detail }) => is<"other_history" | "ahead">(detail.reason));
  list.addEventListener("status", ({ detail }) => is<Status>(detail.status));
  list.addEventListener("end", ({ detail }) => is<WatchEndReason>(detail.reason));
  // @ts-expect-error: of a watch there is no state.
  print(list.state);
  // @ts-expect-error: nor is there a watch over WebSocket in this library yet.
  watch({ channels, transport: "ws" });
  // @ts-expect-error: what is not said to be watched is not.
  watch({ url: "http://chat.example" });
  await list.check();
  const next = list.replace(["C1"]);
  await next.unwatch();
  const later = watch({ url: "http://chat.example", ...next.known });
  later.close();
  print(is<WatchEndReason | undefined>(later.endReason));
}

declare function print(...values: unknown[]): void;

export default [follow, foldByHand, readTheLog, watchChannels];
