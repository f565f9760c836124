/** The line at the foot of the panel: what the library is busy with, pause and resume, and what went wrong. */

import { h, setChildren } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { fractionDone, isRunning, problems, statusText } from "./scan_progress.mjs";

const BUSY_MS = 1000;
const IDLE_MS = 15_000;

export class StatusBar {
  #context;
  #status = null;
  #timer = 0;

  constructor(context) {
    this.#context = context;
    const { t, page } = context;
    this.text = h("span", { class: "ca-status-text" });
    this.bar = h("progress", { max: "1", "aria-label": t("status.label") });
    this.pause = iconButton("pause", t("status.pause"), () => this.#post("pause"));
    this.resume = iconButton("play", t("status.resume"), () => this.#post("resume"));
    this.scan = iconButton("refresh", t("status.scan"), () => this.#post(""));
    this.problems = h("details", { class: "ca-problems" });
    const row = h("div", { class: "ca-status-row" }, this.text, this.problems, this.pause, this.resume, this.scan);
    this.element = h("div", { class: "ca-status", role: "group", "aria-label": t("status.label") }, this.bar, row);
    page.listen("assets.seed.started", () => this.refresh());
    page.listen("assets.seed.progress", (status) => this.#show(status));
    page.listen("assets.seed.completed", () => this.refresh());
    this.#show(null);
    this.text.textContent = "";
  }

  /** Ask how it is, and again after a while for as long as anybody looks. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      this.#show(await this.#context.client.get("/assets/seed/status"));
    } catch {
      this.#show(null); // what can be done about it the tabs say
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refreshIfVisible(), isRunning(this.#status) ? BUSY_MS : IDLE_MS);
  }

  #refreshIfVisible() {
    if (!this.element.isConnected) return; // asked again when the panel is shown
    if (document.hidden) this.#timer = setTimeout(() => this.#refreshIfVisible(), IDLE_MS);
    else this.refresh();
  }

  async #post(action) {
    try {
      await this.#context.client.post(`/assets/seed${action && `/${action}`}`, {});
    } catch (error) {
      this.#context.notifications.error(this.#context.t("status.changeFailed"), error);
    }
    this.refresh();
  }

  #show(status) {
    this.#status = status;
    const running = isRunning(status);
    this.text.textContent = statusText(status, this.#context);
    this.text.title = this.text.textContent;
    this.pause.hidden = status === null || status.on_hold;
    this.resume.hidden = !status?.on_hold;
    this.scan.hidden = status === null || running;
    this.bar.hidden = !running;
    const done = running ? fractionDone(status) : null;
    if (done === null) this.bar.removeAttribute("value");
    else this.bar.value = done;
    this.#showProblems(problems(status));
  }

  #showProblems(found) {
    const { t } = this.#context;
    this.problems.hidden = found.length === 0;
    const summary = h("summary", {}, icon("warning"), t("status.problems", { count: found.length }));
    const list = h("ul", {}, found.map((problem) => h("li", {}, problem)));
    if (this.problems.textContent !== summary.textContent + list.textContent) setChildren(this.problems, summary, list);
  }
}
