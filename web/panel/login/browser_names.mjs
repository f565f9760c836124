/** Names of browsers, from how they name themselves in requests. */

/** @import { Translate } from "../types.d.ts" */

// In this order: most browsers name others as well, whose pages they want to be treated like.
const BROWSERS = /** @type {const} */ ([
  ["Edg", "Edge"],
  ["OPR", "Opera"],
  ["SamsungBrowser", "Samsung Internet"],
  ["Vivaldi", "Vivaldi"],
  ["Firefox", "Firefox"],
  ["FxiOS", "Firefox"],
  ["HeadlessChrome", "Chrome"],
  ["CriOS", "Chrome"],
  ["Chrome", "Chrome"],
  ["Safari", "Safari"],
]);
const SYSTEMS = /** @type {const} */ ([
  ["iPhone", "iPhone"],
  ["iPad", "iPad"],
  ["Android", "Android"],
  ["CrOS", "ChromeOS"],
  ["Windows", "Windows"],
  ["Mac OS X", "macOS"],
  ["Linux", "Linux"],
]);
const LONGEST = 60; // characters of what is no browser known here

/**
 * Return the name of a browser and its system, such as "Firefox on Linux"; of a program, what it calls itself.
 *
 * @param {Translate} t
 * @param {string} userAgent
 */
export function browserName(t, userAgent) {
  const browser = BROWSERS.find(([mark]) => userAgent.includes(`${mark}/`) || userAgent.includes(`${mark}A/`))?.[1];
  const system = SYSTEMS.find(([mark]) => userAgent.includes(mark))?.[1];
  if (browser !== undefined && system !== undefined) return t("account.browserOn", { browser, system });
  return browser ?? (userAgent.slice(0, LONGEST) || t("account.unknownBrowser"));
}
