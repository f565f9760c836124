/** What a user takes of their quotas, and a form that sets the quotas, for administrators. */

/** @import { LoginUser, QuotaLimit, UserUse } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button, select } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { bytes, number } from "../shared/format.mjs";
import { field, form, showLoaded } from "./account_parts.mjs";

const MB = 1e6;
const MAX_JOBS = 2 ** 32;
const MAX_MB = 1e9;

export class UserQuotas {
  #context;
  #user;
  #use = h("div", {});
  #isLoaded = false;
  #isUnused = false; // on a server for one user

  /**
   * @param {PanelContext} context
   * @param {LoginUser} user
   * @param {(change: { max_jobs: QuotaLimit, max_bytes: QuotaLimit }) => Promise<unknown>} save
   */
  constructor(context, user, save) {
    this.#context = context;
    this.#user = user;
    this.element = h("section", { class: "ca-account-block" }, h("h4", {}, context.t("account.quotas")), this.#use);
    this.element.hidden = true;
    // One's own quotas are for another administrator, as the role is.
    if (!user.is_current) this.element.append(this.#form(save));
  }

  /** Load the use, as soon as it is shown for the first time: the server counts files for it. */
  async show() {
    if (this.#isLoaded) return;
    this.#isLoaded = true;
    const { client } = this.#context;
    const load = () => client.get(`/login/users/${this.#user.id}/use`);
    await showLoaded(this.#context, this.#use, load, (use) => this.#facts(use));
    this.element.hidden = this.#isUnused;
  }

  /** @param {UserUse} use */
  #facts({ jobs, storage }) {
    const { language, t } = this.#context;
    this.#isUnused = jobs === null || storage === null;
    if (jobs === null || storage === null) return [];
    return [
      this.#fact(t("account.waitingJobs"), jobs, (count) => number(count, language)),
      this.#fact(t("account.space"), storage, (count) => bytes(count, language)),
    ];
  }

  /**
   * @param {string} label
   * @param {{ used: number, limit: number | null }} use
   * @param {(count: number) => string} format
   */
  #fact(label, { used, limit }, format) {
    const { t } = this.#context;
    const values = { used: format(used), limit: limit === null ? "" : format(limit) };
    const isFull = limit !== null && used >= limit;
    return h(
      "p",
      { class: isFull ? "ca-failure" : null },
      `${label}: ${t(limit === null ? "account.unlimitedUse" : "account.limitedUse", values)}`,
    );
  }

  /** @param {(change: { max_jobs: QuotaLimit, max_bytes: QuotaLimit }) => Promise<unknown>} save */
  #form(save) {
    const { t } = this.#context;
    const jobs = this.#limit(t("account.jobsLimit"), this.#user.max_jobs, 1, MAX_JOBS);
    const space = this.#limit(t("account.spaceLimit"), this.#user.max_bytes, MB, MAX_MB);
    return form(
      [jobs.element, space.element],
      button("check", t("account.setLimits"), () => {}),
      () => save({ max_jobs: jobs.value(), max_bytes: space.value() }),
      (error) => errorText(t, error),
    );
  }

  /**
   * Create the controls of a limit: which kind it is, and its number.
   *
   * @param {string} label
   * @param {QuotaLimit} limit
   * @param {number} unit of the number on display
   * @param {number} most
   */
  #limit(label, limit, unit, most) {
    const { t } = this.#context;
    const isNumber = typeof limit === "number";
    const amount = h("input", {
      class: "ca-input",
      type: "number",
      min: "0",
      max: String(most),
      step: unit === 1 ? "1" : "any",
      value: isNumber ? String(limit / unit) : "",
      "aria-label": label,
      required: true,
    });
    /** @param {string} kind */
    const showKind = (kind) => (amount.hidden = amount.disabled = kind !== "own");
    const kind = select(
      label,
      [["default", t("account.defaultLimit")], ["unlimited", t("account.noLimit")], ["own", t("account.ownLimit")]],
      isNumber ? "own" : limit,
      (value) => {
        showKind(value);
        if (value === "own") amount.focus();
      },
    );
    showKind(kind.value);
    const controls = h("div", { class: "ca-account-limit" }, kind, amount);
    return {
      element: field(label, controls),
      value:
        () => /** @type {QuotaLimit} */ (kind.value === "own" ? Math.round(amount.valueAsNumber * unit) : kind.value),
    };
  }
}
