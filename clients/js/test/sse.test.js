import assert from "node:assert/strict";
import { test } from "node:test";

import { SseParser } from "../src/sse.js";
import { random } from "./support/random.js";

const STREAM = [
  'retry: 7339\nevent: hello\ndata: {"type":"hello"}\n\n',
  'id: 6-2d395880\nevent: message\ndata: {"body":"grüße 😀"}\n\n',
  ": a comment\n\n",
  "data: one\r\ndata:two\r\ndata\r\ndata:  three\r\n\r\n",
  "event: bare\rid: 7\rdata: x\r\r",
  "unknown: field\nretry: soon\n\n",
  "data: never finished\n",
].join("");

const FRAMES = [
  { retry: 7339, event: "hello", data: '{"type":"hello"}' },
  { id: "6-2d395880", event: "message", data: '{"body":"grüße 😀"}' },
  { data: "one\ntwo\n\n three" },
  { event: "bare", id: "7", data: "x" },
];

const BYTES = new TextEncoder().encode(STREAM);

/** What comes when the bytes are cut at these places. */
function parse(cuts) {
  const parser = new SseParser();
  const places = [0, ...cuts, BYTES.length];
  return places.slice(1).flatMap((to, n) => parser.push(BYTES.subarray(places[n], to)));
}

test("a stream in one piece gives its frames, and not the one without an end", () => {
  assert.deepEqual(parse([]), FRAMES);
});

test("every cut of the bytes in two gives the same frames", () => {
  for (let cut = 0; cut <= BYTES.length; cut += 1) assert.deepEqual(parse([cut]), FRAMES, `cut at ${cut}`);
});

test("byte by byte the frames are the same", () => {
  assert.deepEqual(parse([...BYTES.keys()]), FRAMES);
});

test("any cuts of the bytes give the same frames", () => {
  const dice = random(1);
  for (let round = 0; round < 500; round += 1) {
    const cuts = Array.from({ length: dice(12) }, () => dice(BYTES.length)).sort((one, other) => one - other);
    assert.deepEqual(parse(cuts), FRAMES, `cut at ${cuts}`);
  }
});

test("a frame is given as soon as its last byte has come", () => {
  const parser = new SseParser();
  const push = (text) => parser.push(new TextEncoder().encode(text)).length;
  assert.deepEqual(["data: x", "\n", "\n"].map(push), [0, 0, 1]);
});

test("a frame that never ends is refused before it fills the memory", () => {
  const parser = new SseParser();
  const piece = new TextEncoder().encode("data: " + "x".repeat(1 << 20));
  assert.throws(() => {
    for (let n = 0; n < 10; n += 1) parser.push(piece);
  }, /without an end/);
});
