// A program that reads the tail of a log: it keeps what it is told, and does with its tail what a step of a scenario asks. The
// same in Node and in a page.

/**
 * @param {(start: object) => import("../../index.js").Tail} make makes a tail that begins there.
 * @param {object} start
 */
export function tailProgramOf(make, start) {
  const shown = [];
  let [caughtUps, log] = [0];
  const read = (start) => {
    log = make(start);
    log.addEventListener("events", ({ detail }) => shown.push(...detail.events.map(wordsOf)));
    log.addEventListener("caught_up", () => (caughtUps += 1));
  };
  read(start);
  return {
    look: () => ({ shown, caughtUps, endReason: log.endReason }),
    /** Goes on from where it stood, by way of a disk. */
    comeBack: () => read(JSON.parse(JSON.stringify(log.start))),
    leave: () => log.close(),
  };
}

/** An event as scenarios write it. */
const wordsOf = ({ type, event, body }) => (type === "message" && event === "sent" ? body : `${type} ${event}`);
