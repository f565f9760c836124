/** The panel's texts, which the server takes from the pack's `locales` folder. */

/** @import { Texts } from "../api.d.ts" */
/** @import { HostPage, Translate } from "../types.d.ts" */
/** @import { Client } from "./client.mjs" */

import { LANGUAGE } from "../settings.mjs";

const NAMESPACE = "comfyAssets";
const TIMEOUT_MS = 4000; // the panel is not shown before

export class Translations {
  /** @type {Texts | undefined} */
  #texts = {};
  /** @type {Texts | undefined} */
  #english = {};
  #plurals = new Intl.PluralRules("en");

  language = "en";

  /**
   * Fetch the texts. Before that, and if it fails, `t` returns words derived from the keys.
   *
   * @param {HostPage} page
   * @param {Client} client
   */
  async load(page, client) {
    const all = (await client.get("/i18n", { timeout: TIMEOUT_MS })) ?? {};
    this.#english = namespace(all.en);
    const setting = page.setting(LANGUAGE) ?? "page";
    const language = setting === "page" ? page.locale() : String(setting);
    const texts = namespace(all[language]);
    this.language = texts ? language : "en";
    this.#texts = texts ?? this.#english;
    this.#plurals = new Intl.PluralRules(this.language);
  }

  /** @type {Translate} */
  t = (key, values = {}) => {
    const found = find(this.#texts, key) ?? find(this.#english, key) ?? readable(key);
    const text = typeof found === "string" ? found : this.#pluralForm(found, Number(values.count));
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  };

  /**
   * @param {Texts} forms
   * @param {number} count
   */
  #pluralForm(forms, count) {
    return String(forms[this.#plurals.select(count)] ?? forms.other);
  }
}

/** @param {Record<string, Texts> | undefined} packs */
function namespace(packs) {
  return packs?.[NAMESPACE];
}

/**
 * @param {Texts | undefined} texts
 * @param {string} key such as "library.empty"
 */
function find(texts, key) {
  /** @type {string | Texts | undefined} */
  let found = texts;
  for (const name of key.split(".")) found = typeof found === "object" ? found[name] : undefined;
  return found;
}

/**
 * Return the last part of a key as words: "Nothing found hint" for "library.nothingFoundHint".
 *
 * @param {string} key
 */
function readable(key) {
  const words = key.slice(key.lastIndexOf(".") + 1).replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}
