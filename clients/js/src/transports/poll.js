// Events by long polls, for where nothing may stay open.

import { HEARTBEAT } from "../silence.js";
import { queryOf } from "./wanted.js";

const LIMIT = 500;

export async function* poll({ api, start, filters, signal }) {
  let [place, wait, isLive] = [start, 0, false];
  for (;;) {
    const path = `/api/events/poll?${queryOf({ start: place, filters }, "after")}&wait=${wait}&limit=${LIMIT}`;
    const answer = await api.call("GET", path, { signal });
    yield { kind: "hello", resume: answer.resume };
    if (answer.resume !== "ok") return;
    yield { kind: "events", events: answer.events, token: answer.next };
    place = { after: answer.next };
    if (!isLive && Number.parseInt(answer.next, 10) >= answer.head) {
      isLive = true;
      // From now on an empty answer is this transport's heartbeat.
      wait = HEARTBEAT;
      yield { kind: "caught_up" };
    }
  }
}
