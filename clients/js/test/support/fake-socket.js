// A WebSocket for the library whose other end is a test.

/** Those that were made, the oldest first, are in `made`. */
export class FakeSocket {
  static made = [];
  OPEN = 1;
  readyState = 1;
  said = [];
  constructor(url, init) {
    Object.assign(this, { url, init });
    FakeSocket.made.push(this);
  }
  send(text) {
    this.said.push(JSON.parse(text));
  }
  hear(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  close(code) {
    if (this.readyState !== this.OPEN) return;
    this.readyState = 3;
    this.onclose({ code });
  }
}
