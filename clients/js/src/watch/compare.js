// Whether a server's log is the one that was known.

/**
 * Whether the server's log is the one of which `place` is a resume token: that is what any page of events says. Of one event,
 * for it is not wanted, and what lies behind may be much. `other_history` or `ahead`, or nothing if it is.
 */
export async function compare({ api, place, signal }) {
  const path = `/api/events/poll?after=${encodeURIComponent(place)}&limit=1`;
  const { resume } = await api.call("GET", path, { signal });
  return resume === "ok" ? undefined : resume;
}
