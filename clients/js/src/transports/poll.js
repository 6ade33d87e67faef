// Events by long polls, for where nothing may stay open.

const LIMIT = 500;

export async function* poll({ api, token, heartbeat, signal }) {
  let [place, wait, isLive] = [token, 0, false];
  for (;;) {
    const path = `/api/events/poll?after=${encodeURIComponent(place)}&wait=${wait}&limit=${LIMIT}`;
    const answer = await api.call("GET", path, { signal });
    yield { kind: "hello", resume: answer.resume };
    if (answer.resume !== "ok") return;
    yield { kind: "events", events: answer.events, token: answer.next };
    place = answer.next;
    if (!isLive && Number.parseInt(place, 10) >= answer.head) {
      isLive = true;
      // From now on an empty answer is this transport's heartbeat.
      wait = Math.max(1, Math.min(heartbeat, 20));
      yield { kind: "caught_up" };
    }
  }
}
