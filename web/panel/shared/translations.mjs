/** The panel's texts, from the pack's locales through the server. */

import { LANGUAGE } from "../settings.mjs";

const NAMESPACE = "comfyAssets";

export class Translations {
  #texts = {};
  #english = {};
  #plurals = new Intl.PluralRules("en");

  language = "en";

  /** Fetch the texts. Where they cannot be had, the keys are readable enough to go on with. */
  async load(page, client) {
    const all = (await client.get("/i18n", { timeout: 4000 })) ?? {};
    this.#english = all.en?.[NAMESPACE] ?? {};
    const wanted = page.setting(LANGUAGE) ?? "page";
    const language = wanted === "page" ? page.locale() : wanted;
    const known = all[language]?.[NAMESPACE];
    this.language = known ? language : "en";
    this.#texts = known ?? this.#english;
    this.#plurals = new Intl.PluralRules(this.language);
  }

  /** The text for "library.empty", with `{name}` replaced. `count` chooses between the forms of a plural. */
  t = (key, values = {}) => {
    const found = find(this.#texts, key) ?? find(this.#english, key) ?? readable(key);
    const text = typeof found === "string" ? found : (found[this.#plurals.select(values.count)] ?? found.other);
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  };
}

function find(texts, key) {
  return key.split(".").reduce((branch, name) => branch?.[name], texts);
}

function readable(key) {
  const words = key.slice(key.lastIndexOf(".") + 1).replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}
