// A connection can be dead without anybody saying so. The server says something at every heartbeat; who hears nothing for
// several of them hangs up.

/** The least silence that means something: a heartbeat can be short, and its whole seconds are rounded. */
const SILENCE_LEAST_MS = 2000;

/** Heartbeats that may be missed. */
export const HEARTBEATS = 3;

/** What an iterator gives, with a bound on the silence before each; it is aborted and this throws when it was too long. */
export async function* withoutSilence(source, heartbeatSeconds, abort) {
  const longest = Math.max(HEARTBEATS * heartbeatSeconds * 1000, SILENCE_LEAST_MS);
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
