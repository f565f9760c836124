/** The panel's texts, which the server takes from the pack's `locales` folder. */

/** @import { Texts } from "../api.d.ts" */
/** @import { HostPage, Translate } from "../types.d.ts" */

import { LANGUAGE } from "../settings.mjs";
import { Client } from "./client.mjs";
import { isolated, isRightToLeft } from "./format.mjs";

const NAMESPACE = "comfyAssets";
const TIMEOUT_MS = 4000; // the panel is not shown before
const ENGLISH_PLURALS = new Intl.PluralRules("en");

export class Translations {
  /** @type {Texts | undefined} */
  #texts = {};
  /** @type {Texts | undefined} */
  #english = {};
  #plurals = ENGLISH_PLURALS;

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
    const wanted = setting === "page" ? page.languages() : [String(setting)];
    this.language = closestLanguage(wanted, Object.keys(all).filter((language) => namespace(all[language])));
    this.#texts = namespace(all[this.language]);
    this.#plurals = new Intl.PluralRules(this.language);
  }

  /** The direction of the writing, which the panel sets itself: ComfyUI's page has one for all languages. */
  get direction() {
    return isRightToLeft(this.language) ? "rtl" : "ltr";
  }

  /** @type {Translate} */
  t = (key, values = {}) => {
    const own = find(this.#texts, key);
    const found = own ?? find(this.#english, key) ?? readable(key);
    const plurals = own === undefined ? ENGLISH_PLURALS : this.#plurals;
    const text = typeof found === "string" ? found : pluralForm(found, plurals, Number(values.count));
    const valueOf = (/** @type {string} */ name) => isolated(String(values[name]), this.language);
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? valueOf(name) : whole));
  };
}

/** @type {Promise<Translations> | null} */
let loaded = null;

/**
 * Return the texts in the language of the page. All parts of the page share them; after a failure the next call tries
 * again.
 *
 * @param {HostPage} page
 * @returns {Promise<Translations>}
 */
export function loadTranslations(page) {
  loaded ??= (async () => {
    const translations = new Translations();
    try {
      await translations.load(page, new Client(page));
    } catch (error) {
      loaded = null;
      console.warn("comfy-assets: no translations.", error);
    }
    return translations;
  })();
  return loaded;
}

/**
 * Select the form for exactly this number, such as "1", before that of its category: in some languages the category
 * "one" has more numbers, such as 0 or 21, and in others one asset has no form of its own.
 *
 * @param {Texts} forms
 * @param {Intl.PluralRules} plurals
 * @param {number} count
 */
function pluralForm(forms, plurals, count) {
  return String(forms[String(count)] ?? forms[plurals.select(count)] ?? forms.other);
}

/**
 * Return the language that comes closest to those wanted: the same one, or one of the same script: "pt-BR" for "pt",
 * "zh-TW" for "zh-HK". English if there is none.
 *
 * @param {readonly string[]} wanted BCP 47 tags, best first
 * @param {string[]} available
 */
export function closestLanguage(wanted, available) {
  for (const tag of wanted) {
    const same = available.find((language) => language.toLowerCase() === tag.toLowerCase());
    const close = same ?? available.find((language) => written(language) === written(tag));
    if (close !== undefined) return close;
  }
  return "en";
}

/**
 * Return a language with its script: "zh-Hant" for "zh-TW".
 *
 * @param {string} tag
 */
function written(tag) {
  try {
    const { language, script } = new Intl.Locale(tag).maximize();
    return `${language}-${script}`;
  } catch {
    return tag; // not a tag: the browser throws a RangeError
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
