// The fold: a state and the events after it give the next state. Pure, so that it can be tested against the server's own
// answer: a fold of an older boot and the events since is a fresh boot.
//
// A state is never changed once it was given out. What an event does not touch is shared with the state before, and one
// call copies a channel's list at most once, however many events it brings: catching up stays linear.

/** The state that an answer of `GET /api/boot` describes. */
export function fromBoot(answer) {
  const channels = new Map(answer.channels.map((channel) => [channel.id, channel]));
  const messages = new Map(answer.channels.map((channel) => [channel.id, []]));
  // Already in the order of (at, offset). One that was deleted while the answer was made has no text; its deletion follows.
  for (const message of answer.messages) {
    if (!message.deleted_at) messages.get(message.channel)?.push(message);
  }
  return {
    user: answer.user,
    users: new Map(answer.users.map((user) => [user.id, user])),
    channels,
    messages,
    offset: answer.resume_point,
    token: answer.resume_token,
    heartbeat: answer.heartbeat,
    truncated: answer.truncated,
  };
}

/**
 * The state after these events, which must be in the order of their offsets. Those that are in the state already are
 * passed over: a stream that broke may repeat them.
 */
export function fold(state, events, token = state.token) {
  const draft = draftOf(state);
  for (const event of events) {
    if (event.offset <= draft.state.offset) continue;
    apply(draft, event);
    draft.state.offset = event.offset;
  }
  draft.state.token = token;
  return draft.state;
}

/**
 * The state with a channel's history, which the reader was not shown when it happened: the events of the channel up to
 * the one that made the reader a member, which is the newest in the state. Memberships among them are of the past.
 */
export function foldHistory(state, events) {
  const draft = draftOf(state);
  for (const event of events) {
    if (event.type !== "member" && event.offset <= state.offset) apply(draft, event);
  }
  // The channel is older than some that were there before it.
  const inOrder = [...draft.state.channels].sort(([, one], [, other]) => one.offset - other.offset);
  draft.state.channels = new Map(inOrder);
  return draft.state;
}

/**
 * What the reader must fetch, because an event changes what they may see of the past: the history of a private channel
 * that they have joined, or everything anew when they became owner (who sees all channels) or are one no more; else null.
 */
export function needOf(user, event) {
  if (event.type === "user" && event.id === user.id) {
    const isOther = (event.role === "owner") !== (user.role === "owner");
    return isOther ? { kind: "boot" } : null;
  }
  const joins = event.type === "member" && event.event === "added" && event.user === user.id;
  if (!joins || user.role === "owner") return null;
  return { kind: "history", channel: event.channel, after: event.history_after, to: event.offset };
}

/** A state under construction: the maps are its own from the start, a channel's list from its first change on. */
function draftOf(state) {
  const [users, channels, messages] = [new Map(state.users), new Map(state.channels), new Map(state.messages)];
  return { state: { ...state, users, channels, messages }, own: new Set() };
}

function apply(draft, event) {
  const { state } = draft;
  switch (`${event.type} ${event.event}`) {
    case "user created":
    case "user changed":
      return putUser(state, event);
    case "channel created":
      return createChannel(draft, event);
    case "channel deleted":
      return dropChannel(draft, event.id);
    case "message sent":
      return putMessage(draft, event);
    case "message deleted":
      return dropMessage(draft, event);
    case "member removed":
      // Owners see private channels without being members.
      if (event.user === state.user.id && state.user.role !== "owner") dropChannel(draft, event.channel);
  }
}

function putUser(state, { id, name, role }) {
  const user = { id, name, role };
  state.users.set(id, user);
  if (id === state.user.id) state.user = user;
}

function createChannel({ state, own }, event) {
  // Without its name, its deletion follows.
  if (event.deleted_at) return;
  const { id, name, at, private: hidden, creator, offset } = event;
  state.channels.set(id, { id, name, at, private: hidden, creator, last_offset: offset, offset });
  state.messages.set(id, []);
  own.add(id);
}

function dropChannel({ state }, id) {
  state.channels.delete(id);
  state.messages.delete(id);
}

function putMessage(draft, event) {
  const list = touched(draft, event);
  // Without its text, its deletion follows.
  if (!list || event.deleted_at) return;
  const { type, event: kind, ...message } = event;
  list.splice(placeOf(list, message), 0, message);
}

function dropMessage(draft, event) {
  const list = touched(draft, event);
  const place = list ? list.findIndex((message) => message.id === event.id) : -1;
  if (place >= 0) list.splice(place, 1);
}

/** Notes that a channel has a newer record; gives its list of messages to be changed, or nothing for an unknown channel. */
function touched({ state, own }, { channel: id, offset }) {
  const channel = state.channels.get(id);
  if (!channel) return undefined;
  if (!own.has(id)) {
    state.messages.set(id, [...state.messages.get(id)]);
    own.add(id);
  }
  state.channels.set(id, { ...channel, last_offset: offset });
  return state.messages.get(id);
}

/** Where a message belongs by time, then offset: nearly always at the end, elsewhere if it was imported. */
function placeOf(list, message) {
  if (list.length === 0 || isBefore(list.at(-1), message)) return list.length;
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(list[middle], message)) low = middle + 1;
    else high = middle;
  }
  return low;
}

const isBefore = (one, other) => one.at < other.at || (one.at === other.at && one.offset < other.offset);
