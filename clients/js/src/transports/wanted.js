// What of the log is wanted, as each transport says it.

/**
 * @typedef {{after: string | number} | {last: number} | {since: string} | {}} Start behind a place; at one of the newest; at
 *   a time; or from now on.
 * @typedef {{start: Start, filters?: readonly object[]}} Wanted of several filters one must hold; without any everything does.
 */

/** As a query, in which a resume point is called `point`. */
export function queryOf({ start, filters = [] }, point) {
  const [name, value] = parameterOf(start, point);
  const parameters = [[name, value], ...filters.map((filter) => ["filter", JSON.stringify(filter)])];
  return parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
}

/** As the fields of a message. */
export function fieldsOf({ start, filters = [] }) {
  const [name, value] = parameterOf(start, "resume_point");
  return { [name]: value, ...(filters.length > 0 && { filters }) };
}

function parameterOf({ after = "now", last, since }, point) {
  if (last !== undefined) return ["last", last];
  if (since !== undefined) return ["since", since];
  return [point, after];
}
