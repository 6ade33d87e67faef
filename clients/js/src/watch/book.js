// What is known of each watched channel, and what follows for the program from what the server says. No connection, no
// clock.
//
// A notice says nothing but an offset, so it is worth telling only if it is newer than what the program was told last,
// and it is all the same whether it came by a stream, by a poll, or in the status of a watch that was set anew. So nothing
// has to be kept of notices, those that come twice do no harm, and one that was lost is made up for by any later look.

/** @typedef {{known?: number, seen?: number}} Entry
 * `known`: up to where the program knows the channel, because it said so or was told. `seen`: the newest record that the
 * server has told of. `known` may be the offset of a whole state; `seen` is that of a record of this channel, and in one log
 * it never goes back. */

export class Book {
  /** @type {Map<string, Entry>} */
  #entries;
  /** A resume token of the log that all this is of. */
  place;

  /** @param {(string | {id: string, since?: number})[]} channels */
  constructor(channels, place = undefined, before = new Map()) {
    this.place = place;
    this.#entries = new Map();
    for (const channel of channels) {
      const { id, since } = typeof channel === "string" ? { id: channel } : channel;
      const entry = before.get(id) ?? {};
      this.#entries.set(id, { ...entry, known: since ?? entry.known });
    }
  }

  /** One with these channels and no others. What the program says of them counts; else what it was told. */
  replacedBy(channels) {
    return new Book(channels, this.place, this.#entries);
  }

  /** The channels and what is known of them, for the server or to go on from. */
  get channels() {
    return Array.from(this.#entries, ([id, { known }]) => (known === undefined ? { id } : { id, since: known }));
  }

  /** Why this cannot be how channels stand in the log that this book is of; nothing if it can. */
  contradicted(status) {
    for (const [id, { ok, offset, code }] of Object.entries(status)) {
      const entry = this.#entries.get(id);
      if (ok && entry?.seen > offset) return "other_history";
      // Of a channel of which nothing was said to be known it makes no sense, and is a refusal like any other.
      if (code === "ahead" && entry?.known !== undefined) return "ahead";
    }
    return undefined;
  }

  /** All that was known was of another log. */
  forget() {
    this.place = undefined;
    for (const id of this.#entries.keys()) this.#entries.set(id, {});
  }

  /** Those of the changes that are news, which are known from now on. */
  tellChanged(changes) {
    const news = [];
    for (const { id, offset, gone } of changes) {
      const entry = this.#entries.get(id);
      if (!entry || gone || !Number.isSafeInteger(offset)) continue;
      entry.seen = Math.max(entry.seen ?? 0, offset);
      if (offset <= entry.known) continue;
      entry.known = offset;
      news.push({ channel: id, offset });
    }
    return news;
  }

  /** Those of the channels that are gone which were watched; they are not, from now on. */
  tellGone(changes) {
    const gone = changes.filter((change) => change.gone && this.#entries.delete(change.id));
    return gone.map((change) => ({ channel: change.id, why: change.gone }));
  }
}

/** The status of a watch as changes. */
export const changesOf = (status) =>
  Object.entries(status).map(([id, { ok, offset, code }]) => (ok ? { id, offset } : { id, gone: code }));
