/** Sizes, times and numbers for people. */

const RIGHT_TO_LEFT = ["ar", "fa", "he"];
const DAY_MS = 86_400_000;

/**
 * Return whether a language is written from right to left.
 *
 * @param {string} language
 */
export function isRightToLeft(language) {
  return RIGHT_TO_LEFT.includes(language);
}

/**
 * Keep a text together among texts of the other direction, by the invisible isolates of UAX 9: otherwise "2 min 05 s"
 * in an Arabic line begins with "min".
 *
 * @param {string} text
 * @param {string} language
 */
export function isolated(text, language) {
  return isRightToLeft(language) ? `\u2068${text}\u2069` : text;
}

/**
 * Remove what `isolated` adds, from a text that becomes a name.
 *
 * @param {string} text
 */
export function withoutIsolates(text) {
  return text.replace(/[\u2068\u2069]/g, "");
}

/**
 * Join facts to one line: `64 × 64 · 8 kB`. Empty ones are left out.
 *
 * @param {(string | null | false | undefined)[]} facts
 * @param {string} language
 */
export function line(facts, language) {
  return facts.flatMap((fact) => fact ? [isolated(fact, language)] : []).join(" · ");
}

/**
 * Formatters by kind, language and options: creating one takes longer than using it a hundred times.
 * @type {Map<string, Intl.NumberFormat | Intl.DateTimeFormat>}
 */
const formatters = new Map();

/**
 * @template {Intl.NumberFormat | Intl.DateTimeFormat} Formatter
 * @param {string} key
 * @param {() => Formatter} create
 */
function cached(key, create) {
  let formatter = /** @type {Formatter | undefined} */ (formatters.get(key));
  if (formatter === undefined) {
    formatter = create();
    formatters.set(key, formatter);
  }
  return formatter;
}

/**
 * @param {string} language
 * @param {number} [maximumFractionDigits]
 */
function numberFormat(language, maximumFractionDigits) {
  const create = () => new Intl.NumberFormat(language, { maximumFractionDigits });
  return cached(`number ${language} ${maximumFractionDigits}`, create);
}

/**
 * @param {string} language
 * @param {"short"} [timeStyle]
 */
function dateFormat(language, timeStyle) {
  const create = () => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle });
  return cached(`date ${language} ${timeStyle}`, create);
}

/**
 * Format a value with a unit in the usual abbreviation of the language. Some languages have only "byte" for bytes.
 *
 * @param {number} value
 * @param {string} unit
 * @param {string} language
 * @param {Intl.NumberFormatOptions} [options]
 */
function measure(value, unit, language, options = {}) {
  const unitDisplay = unit === "byte" ? "long" : "short";
  const create = () => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay, ...options });
  return cached(`${unit} ${language} ${JSON.stringify(options)}`, create).format(value);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/**
 * Format a size: `12.3 MB`, `812 bytes`.
 *
 * @param {number} count
 * @param {string} language
 */
export function bytes(count, language) {
  const power = Math.min(Math.max(Math.floor(Math.log(Math.max(count, 1)) / Math.log(1000)), 0), UNITS.length - 1);
  const value = count / 1000 ** power;
  return measure(value, UNITS[power], language, { maximumFractionDigits: power === 0 || value >= 100 ? 0 : 1 });
}

/**
 * Format a whole number: `100,000`.
 *
 * @param {number} count
 * @param {string} language
 */
export function number(count, language) {
  return numberFormat(language).format(count);
}

/**
 * Format a date with its time of day.
 *
 * @param {string | number} when an ISO 8601 time, or milliseconds since 1970
 * @param {string} language
 */
export function time(when, language) {
  return dateFormat(language, "short").format(new Date(when));
}

/**
 * Format a date.
 *
 * @param {string | number} when an ISO 8601 time, or milliseconds since 1970
 * @param {string} language
 */
export function day(when, language) {
  return dateFormat(language).format(new Date(when));
}

/**
 * Format a day as a heading: `Today`, `Yesterday`, `Sat, 21 November`, and with the year if it is another one.
 *
 * @param {string} date such as "2026-11-21"
 * @param {string} language
 */
export function dayHeading(date, language) {
  const day = new Date(`${date}T00:00`);
  const today = new Date();
  const ago = Math.round(
    (new Date(today.getFullYear(), today.getMonth(), today.getDate()).getTime() - day.getTime()) / DAY_MS,
  );
  if (ago === 0 || ago === 1) {
    return sentenceStart(new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-ago, "day"), language);
  }
  const year = day.getFullYear() === today.getFullYear() ? undefined : "numeric";
  const create = () => new Intl.DateTimeFormat(language, { weekday: "short", day: "numeric", month: "long", year });
  return sentenceStart(cached(`heading ${language} ${year}`, create).format(day), language);
}

/**
 * @param {string} text
 * @param {string} language
 */
function sentenceStart(text, language) {
  return text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
}

/**
 * Format the length of a video or a sound: `0:05`, `12:34`, `1:02:03`.
 *
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const shown = parts[0] > 0 ? parts : parts.slice(1);
  return shown.map((part, place) => place === 0 ? String(part) : String(part).padStart(2, "0")).join(":");
}

/**
 * Format a duration: `0.8 sec`, `2 min 05 sec`, `1 hr 20 min`.
 *
 * @param {number} milliseconds
 * @param {string} language
 */
export function duration(milliseconds, language) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) {
    return measure(seconds, "second", language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  }
  const whole = Math.round(seconds);
  if (whole < 60) return measure(whole, "second", language);
  const [large, small, each] = whole < 3600 ? ["minute", "second", 60] : ["hour", "minute", 3600];
  const rest = Math.floor((whole % each) / (each / 60));
  const units = [measure(Math.floor(whole / each), large, language)];
  return [...units, measure(rest, small, language, { minimumIntegerDigits: 2 })].join(" ");
}
