// How long to wait before the next try. Doubling, so that a server that is gone is not asked in vain too often; at
// random, so that many clients do not come back in one moment.

/** The longest wait before the second try, in milliseconds. */
export const FIRST_MS = 500;
/** The longest wait before any try. */
export const MAX_MS = 30_000;
/** What the server may ask for at most: a wrong hint must not park a client for ever. */
export const HINT_MAX_MS = 120_000;

/** The wait before try `failures + 1`: at least what the server asked for, else between half and all of the back-off. */
export function waitMs(failures, hintMs = 0, random = Math.random) {
  const longest = Math.min(MAX_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
  return Math.max(Math.min(hintMs, HINT_MAX_MS), longest * (0.5 + random() / 2));
}

/** What has gone wrong, with how long the server had asked to stay away before it did. */
export function hinted(thrown, hintMs) {
  // What a program's own `fetch` or `token` throws may be anything.
  const error = thrown instanceof Error && Object.isExtensible(thrown) ? thrown : new Error(String(thrown), { cause: thrown });
  error.retryMs ??= hintMs;
  return error;
}

/** Sleeps, or throws the signal's reason as soon as it is aborted. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
