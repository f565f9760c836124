/** The bar at the foot of the panel: what the server does for the library, pause and resume, and problems. */

/** @import { SeedStatus } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h, setChildren } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { mayPass } from "../shared/client.mjs";
import { errorText } from "../shared/error_text.mjs";
import { icon } from "../shared/icons.mjs";
import { fractionDone, isRunning, problems, statusText } from "./scan_progress.mjs";

const BUSY_POLL_MS = 1000;
const IDLE_POLL_MS = 15_000;

export class StatusBar {
  #context;
  /** @type {SeedStatus | null} */
  #status = null;
  #timer = 0;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t, page } = context;
    this.text = h("span", { class: "ca-status-text" });
    this.bar = h("progress", { max: "1", "aria-label": t("status.label") });
    this.pause = iconButton("pause", t("status.pause"), () => this.#post("/assets/seed/pause"));
    this.resume = iconButton("play", t("status.resume"), () => this.#post("/assets/seed/resume"));
    this.scan = iconButton("refresh", t("status.scan"), () => this.#post("/assets/seed"));
    this.problemCount = h("summary");
    this.problemList = h("ul");
    this.problems = h("details", { class: "ca-problems" }, this.problemCount, this.problemList);
    this.#closeLikeAMenu();
    const row = h("div", { class: "ca-status-row" }, this.text, this.problems, this.pause, this.resume, this.scan);
    this.element = h("div", { class: "ca-status", role: "group", "aria-label": t("status.label") }, this.bar, row);
    for (const type of /** @type {const} */ (["assets.seed.started", "reconnecting", "reconnected"])) {
      page.listen(type, () => this.refresh());
    }
    page.listen("assets.seed.progress", (status) => this.#show(status));
    page.listen("assets.seed.completed", (shown) => {
      if (shown?.source !== "changes") this.refresh();
    });
    this.#show(null);
    this.text.textContent = ""; // nothing is known before the first response
  }

  /** Have Escape and a press outside close the list of problems, which covers what is above the bar. */
  #closeLikeAMenu() {
    /** @param {PointerEvent} event */
    const onPress = ({ target }) => {
      if (!(target instanceof Node && this.problems.contains(target))) this.problems.open = false;
    };
    this.problems.addEventListener("toggle", () => {
      if (this.problems.open) document.addEventListener("pointerdown", onPress, true);
      else document.removeEventListener("pointerdown", onPress, true);
    });
    this.problems.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.problems.open) return;
      event.preventDefault();
      event.stopPropagation();
      this.problems.open = false;
      this.problemCount.focus();
    });
  }

  /** Load the state, now and from time to time as long as the panel is visible. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      this.#show(await this.#context.client.get("/assets/seed/status"));
    } catch (error) {
      this.#show(null);
      const { t } = this.#context;
      if (mayPass(error)) this.text.textContent = this.text.title = errorText(t, error);
    }
    clearTimeout(this.#timer); // another call may have set it during the request
    this.#timer = setTimeout(() => this.#refreshIfVisible(), isRunning(this.#status) ? BUSY_POLL_MS : IDLE_POLL_MS);
  }

  #refreshIfVisible() {
    if (!this.element.isConnected) return; // mounting the panel refreshes it
    if (document.hidden) this.#timer = setTimeout(() => this.#refreshIfVisible(), IDLE_POLL_MS);
    else this.refresh();
  }

  /** @param {string} path */
  async #post(path) {
    const { client, notifications, t } = this.#context;
    try {
      await client.post(path, {});
    } catch (error) {
      notifications.error(t("status.changeFailed"), error);
    }
    this.refresh();
  }

  /** @param {SeedStatus | null} status */
  #show(status) {
    this.#status = status;
    const running = isRunning(status);
    this.text.textContent = statusText(status, this.#context);
    this.text.title = this.text.textContent;
    this.pause.hidden = status === null || status.on_hold;
    this.resume.hidden = !status?.on_hold;
    this.scan.hidden = status === null || running;
    this.bar.hidden = !running;
    const fraction = status !== null && running ? fractionDone(status) : null;
    if (fraction === null) this.bar.removeAttribute("value");
    else this.bar.value = fraction;
    const found = problems(status, this.#context);
    if (!running || found.count > 0) this.#showProblems(found); // a scan starts without: those before it stay until it ends
  }

  /** @param {{ count: number, texts: string[] }} found */
  #showProblems({ count, texts }) {
    const { t } = this.#context;
    this.problems.hidden = count === 0;
    const title = t("status.problems", { count });
    // What is unchanged stays, as the user may be selecting it, and so does the summary, which may have the focus.
    if (this.problemCount.textContent !== title) setChildren(this.problemCount, icon("warning"), title);
    const shown = [...this.problemList.children].map((item) => item.textContent);
    if (shown.join("\n") !== texts.join("\n")) {
      setChildren(this.problemList, texts.map((text) => h("li", {}, text)));
    }
  }
}
