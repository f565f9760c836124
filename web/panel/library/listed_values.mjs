/** Lists of values in a parameter of the API: "image,video". A comma within a name has a backslash before it. */

/** Parameters whose values are names that may have commas. */
const OF_NAMES = new Set(["base_model"]);
const PART = /(?:[^\\,]|\\.|\\$)+/gs;

/**
 * Return the values of a parameter.
 *
 * @param {string} name of the parameter
 * @param {string | readonly string[]} value
 */
export function valuesOf(name, value) {
  const parts = [value].flat().flatMap((each) => OF_NAMES.has(name) ? each.match(PART) ?? [] : each.split(","));
  const values = parts.map((part) => OF_NAMES.has(name) ? part.trim().replace(/\\([\\,])/g, "$1") : part.trim());
  return values.filter((each) => each !== "");
}

/**
 * Return values as a parameter has them.
 *
 * @param {string} name of the parameter
 * @param {readonly string[]} values
 */
export function joined(name, values) {
  return values.map((value) => OF_NAMES.has(name) ? value.replace(/[\\,]/g, "\\$&") : value).join(",");
}
