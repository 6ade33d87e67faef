// Taking events into a state, with what some of them ask to be fetched. All of a batch or nothing: when a fetch fails, the
// state and its token stay as they were, and the batch comes again.

import { fold, foldHistory, needOf } from "./fold.js";

const PAGE = 500;

/** The state after these events; nothing if it must be read anew (see {@link needOf}). */
export async function take(api, state, events, token, signal) {
  let rest = events.filter((event) => event.offset > state.offset);
  for (;;) {
    const place = rest.findIndex((event) => needOf(state.user, event));
    if (place < 0) return fold(state, rest, token);
    const need = needOf(state.user, rest[place]);
    if (need.kind === "boot") return undefined;
    const history = await historyOf(api, need, signal);
    state = foldHistory(fold(state, rest.slice(0, place + 1), state.token), history);
    rest = rest.slice(place + 1);
  }
}

/** The events of a channel between two offsets. None of those that come later: the stream brings them in their turn. */
async function historyOf(api, { channel, after, to }, signal) {
  const events = [];
  for (let place = String(after); Number.parseInt(place, 10) < to; ) {
    const query = `after=${place}&limit=${PAGE}&channel=${encodeURIComponent(channel)}`;
    const page = await api.call("GET", `/api/events/poll?${query}`, { signal });
    if (page.resume !== "ok") throw new Error(`the history of ${channel} cannot be read: ${page.resume}`);
    for (const event of page.events) {
      if (event.offset <= to) events.push(event);
    }
    place = page.next;
  }
  return events;
}
