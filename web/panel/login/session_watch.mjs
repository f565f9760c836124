/**
 * Notices that the session of an open page has ended, by refused requests of anything in the page and by the lost
 * connection, and asks to sign in again over the page. Nothing is loaded again, so that unsaved work stays.
 */

/** @import { HostPage } from "../types.d.ts" */
/** @import { SignInAgain } from "./sign_in_again.mjs" */

import { isOtherOwner, rememberOwner } from "./own_drafts.mjs";

/** By which responses of the login are told from those of other packs, and of ComfyUI itself. */
const REALM = 'realm="comfy-assets"';
const SNOOZE_MS = 30_000; // after the dialog was closed without signing in
/** Of the document, once the user has signed in again. */
export const SIGNED_IN_AGAIN = "comfy-assets:signed-in";

/** @typedef {{ user: string, has_password: boolean }} SignedIn */

export class SessionWatch {
  #page;
  #fetch = globalThis.fetch;
  /** @type {SignedIn | null} the user of this page */
  #login = null;
  /** @type {Promise<SignInAgain> | null} */
  #dialog = null;
  #isAsking = false;
  #quietUntil = 0;

  /** @param {HostPage} page */
  constructor(page) {
    this.#page = page;
  }

  /** Watch the page from now on. While the login is off, this asks for nothing more. */
  start() {
    globalThis.fetch = async (...request) => {
      const response = await this.#fetch.apply(globalThis, request);
      if (isRefusedByLogin(response)) this.#ended();
      return response;
    };
    this.#page.listen("reconnecting", () => this.check());
    globalThis.addEventListener("pageshow", (event) => event.persisted && this.check());
    globalThis.addEventListener("storage", (event) => {
      if (this.#login !== null && isOtherOwner(event, this.#login.user)) this.#ended();
    });
    this.#learn();
  }

  /** Learn who is signed in, and load what asks them again: once the session has ended, it could not be loaded. */
  async #learn() {
    try {
      const features = await this.#page.fetch("/features");
      if (!features.ok || !(await features.json()).login_enabled) return;
      const dialog = this.#load();
      const login = await this.who();
      if (login === null) return;
      this.#login = login;
      rememberOwner(login.user);
      await dialog;
    } catch (error) {
      console.warn("comfy-assets: who is signed in is not known.", error);
    }
  }

  #load() {
    this.#dialog ??= import("./sign_in_again.mjs").then(({ SignInAgain }) => SignInAgain.create(this.#page, this));
    this.#dialog.catch(() => (this.#dialog = null)); // the next call tries again
    return this.#dialog;
  }

  /** Ask whether the session is valid, after something that may mean that it is not. */
  async check() {
    try {
      const response = await this.#ask();
      if (isRefusedByLogin(response)) return this.#ended();
      if (this.#login === null || !response.ok) return;
      if ((await response.json()).user !== this.#login.user) this.#ended();
    } catch {
      // The server cannot be reached, which the page shows.
    }
  }

  /**
   * Return who is signed in now, null if nobody is, or the login is off.
   *
   * @returns {Promise<SignedIn | null>}
   */
  async who() {
    const response = await this.#ask();
    return response.ok ? await response.json() : null;
  }

  #ask() {
    return this.#fetch.call(globalThis, this.#page.url("/login"), { cache: "no-store" });
  }

  /** Ask to sign in, unless that is being done, or was put off. */
  async #ended() {
    if (this.#isAsking || Date.now() < this.#quietUntil) return;
    this.#isAsking = true;
    try {
      const dialog = await this.#load();
      if (await dialog.ask(this.#login)) {
        this.#login ??= await this.who();
        document.dispatchEvent(new CustomEvent(SIGNED_IN_AGAIN));
      } else this.#quietUntil = Date.now() + SNOOZE_MS;
    } catch {
      // The login was turned on after the page was loaded, and refuses the dialog as well.
      this.#page.toast("warn", "Sign in", "The session has ended. Sign in in another tab, then go on here.");
      this.#quietUntil = Date.now() + SNOOZE_MS;
    } finally {
      this.#isAsking = false;
    }
  }
}

/** @param {Response} response */
function isRefusedByLogin(response) {
  return response.status === 401 && (response.headers.get("WWW-Authenticate") ?? "").includes(REALM);
}
