/** Sizes, times and numbers as people read them. */

/** Formatters are dear to make, and a list asks for the same ones all the time. */
const formatters = new Map();

function formatter(kind, language, options) {
  const key = `${kind.name} ${language} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new kind(language, options));
  return formatters.get(key);
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** `12.3 MB`. */
export function bytes(count, language) {
  const power = Math.min(Math.max(Math.floor(Math.log(Math.max(count, 1)) / Math.log(1000)), 0), UNITS.length - 1);
  const value = count / 1000 ** power;
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${formatter(Intl.NumberFormat, language, { maximumFractionDigits: digits }).format(value)} ${UNITS[power]}`;
}

/** `100,000`. */
export function number(count, language) {
  return formatter(Intl.NumberFormat, language, {}).format(count);
}

/** A day and a time; `when` is an ISO time or milliseconds. */
export function time(when, language) {
  return formatter(Intl.DateTimeFormat, language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(when));
}

/** A day. */
export function day(when, language) {
  return formatter(Intl.DateTimeFormat, language, { dateStyle: "medium" }).format(new Date(when));
}

/** `0.8 s`, `2 min 05 s`, `1 h 20 min`. */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}
