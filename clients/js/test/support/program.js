// A program that watches: it keeps what it is told, and does with its watch what a step of a scenario asks. The same in Node
// and in a page.

/** @param {(known: object) => import("../../index.js").Watch} make makes a watch that goes on from what is known. */
export function programOf(make, known) {
  return new Program(make, make(known));
}

class Program {
  #make;
  #list;
  #told = {};
  #gone = {};
  #caughtUps = 0;
  #elsewhere = [];

  constructor(make, list) {
    this.#make = make;
    this.#listen(list);
  }

  #listen(list) {
    this.#list = list;
    list.addEventListener("changed", ({ detail }) => {
      for (const { channel, offset } of detail.channels) (this.#told[channel] ??= []).push(offset);
    });
    list.addEventListener("gone", ({ detail }) => {
      for (const { channel, why } of detail.channels) this.#gone[channel] = why;
    });
    list.addEventListener("caught_up", () => (this.#caughtUps += 1));
    list.addEventListener("elsewhere", ({ detail }) => this.#elsewhere.push(detail.reason));
  }

  /** What was told of each channel, all of it; and the rest. */
  look() {
    const [told, gone, caughtUps, elsewhere] = [this.#told, this.#gone, this.#caughtUps, this.#elsewhere];
    return { told, gone, caughtUps, elsewhere, endReason: this.#list.endReason };
  }

  /** Whether it was answered. */
  check() {
    return this.#list.check().then(
      () => true,
      () => false,
    );
  }

  /** Another program, which has the watch of these channels from now on. */
  replace(channels) {
    return new Program(this.#make, this.#list.replace(channels));
  }

  unwatch() {
    return this.#list.unwatch();
  }

  leave() {
    this.#list.close();
  }

  /** Goes on from what it knew, by way of a disk. */
  comeBack() {
    this.#listen(this.#make(JSON.parse(JSON.stringify(this.#list.known))));
  }
}
