// Server-Sent Events from bytes that are cut anywhere. Read from `fetch`: an EventSource cannot send a token, and hides
// what it was refused with.

/** A frame that is larger than anything the server sends: this is no stream of ours. */
const FRAME_CHARS_MAX = 4 << 20;

/** Takes the text of a stream piece by piece and gives the frames that are whole. What is never finished is never given. */
export class SseParser {
  #decoder = new TextDecoder();
  #rest = "";
  #frame = {};

  /** @returns {{event?: string, data?: string, id?: string, retry?: number}[]} */
  push(bytes) {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    const frames = [];
    let from = 0;
    for (;;) {
      const line = nextLine(text, from);
      if (!line) break;
      this.#take(text.slice(from, line.end), frames);
      from = line.next;
    }
    this.#rest = text.slice(from);
    if (this.#rest.length + (this.#frame.data?.length ?? 0) > FRAME_CHARS_MAX) {
      throw new Error("a frame without an end");
    }
    return frames;
  }

  #take(line, frames) {
    if (line === "") {
      if (Object.keys(this.#frame).length > 0) frames.push(this.#frame);
      this.#frame = {};
      return;
    }
    const colon = line.indexOf(":");
    // A comment is a field without a name, so nothing takes it.
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const frame = this.#frame;
    if (name === "data") frame.data = frame.data === undefined ? value : `${frame.data}\n${value}`;
    if (name === "event") frame.event = value;
    if (name === "id" && !value.includes("\0")) frame.id = value;
    if (name === "retry" && /^\d+$/.test(value)) frame.retry = Number(value);
  }
}

/** What a stream at this path says: each time the frames that came together, none if there was only a sign of life. */
export async function* framesOf({ api, path, signal }) {
  const response = await api.open("GET", path, { signal, headers: { accept: "text/event-stream" } });
  const parser = new SseParser();
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield parser.push(value);
  }
}

/** The end of the line that begins at `from`, and the begin of the one after; nothing if it may go on. */
function nextLine(text, from) {
  for (let end = from; end < text.length; end += 1) {
    if (text[end] === "\n") return { end, next: end + 1 };
    if (text[end] !== "\r") continue;
    // A carriage return at the cut: whether a line feed belongs to it is not known yet.
    if (end + 1 === text.length) return undefined;
    return { end, next: text[end + 1] === "\n" ? end + 2 : end + 1 };
  }
  return undefined;
}
