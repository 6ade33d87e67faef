// A connection can be dead without anybody saying so. The server says something at every heartbeat; who hears nothing for
// several of them hangs up.

/** The least silence that means something: a heartbeat can be short, and its whole seconds are rounded. */
const SILENCE_LEAST_MS = 2000;
/** The greatest that is waited for, however seldom a server says that it lives. */
const SILENCE_MOST_MS = 3_600_000;

/** Heartbeats that may be missed. */
const HEARTBEATS = 3;
/** How many seconds lie between two, as long as the server has not said it: as many as where nothing else was set. */
export const HEARTBEAT = 15;

/**
 * The signs that an iterator gives, with a bound on the silence before each; it is aborted and this throws when it was too
 * long. Once a sign says what the heartbeat is, it is by that.
 */
export async function* withoutSilence(source, heartbeatSeconds, abort) {
  let longest = longestMs(heartbeatSeconds);
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
      if (value.heartbeat) longest = longestMs(value.heartbeat);
      yield value;
    }
  } finally {
    abort();
    source.return().catch(() => {});
  }
}

const longestMs = (heartbeatSeconds) => Math.min(Math.max(HEARTBEATS * heartbeatSeconds * 1000, SILENCE_LEAST_MS), SILENCE_MOST_MS);
