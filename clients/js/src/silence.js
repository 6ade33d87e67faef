// A connection can be dead without anybody saying so. The server says something at every heartbeat; who hears nothing for
// several of them hangs up.

/** Heartbeats that may be missed. */
export const HEARTBEATS = 3;

/** What an iterator gives, with a bound on the silence before each; it is aborted and this throws when it was too long. */
export async function* withoutSilence(source, heartbeatSeconds, abort) {
  const longest = HEARTBEATS * heartbeatSeconds * 1000;
  try {
    for (;;) {
      let timer;
      const silent = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("the server was silent for too long")), longest);
      });
      const step = source.next();
      // When silence wins, what the source still throws is of no interest.
      step.catch(() => {});
      const { value, done } = await Promise.race([step, silent]).finally(() => clearTimeout(timer));
      if (done) return;
      yield value;
    }
  } finally {
    abort();
    source.return().catch(() => {});
  }
}
