/** Export of a workflow as a bundle, and import of one: a dialog with the progress, the result and the problems. */

/** @import { BundleTask, Task, Workflow } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { button, iconButton } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { createDialog } from "../shared/dialog.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { saveUrl } from "../shared/save_file.mjs";
import { sendFile } from "../shared/send_file.mjs";
import { cancelTask, untilReached, watchTask } from "../shared/tasks.mjs";

const MAX_SHOWN = 20; // problems
export const BUNDLE_TYPE = "application/zip";

/**
 * Let the user export a workflow.
 *
 * @param {PanelContext} context
 * @param {Workflow} workflow
 */
export function exportBundle(context, workflow) {
  const { t } = context;
  const name = workflow.name ?? t("workflow.unnamed");
  new BundleDialog(context, t("bundle.exportTitle", { name })).askExport(workflow);
}

/**
 * Import a bundle that the user has chosen or dropped.
 *
 * @param {PanelContext} context
 * @param {File} file
 */
export function importBundle(context, file) {
  new BundleDialog(context, context.t("bundle.importTitle", { name: file.name })).import(file);
}

class BundleDialog {
  #context;
  #dialog;
  #body = h("div", { class: "ca-bundle-body", "aria-live": "polite" });
  #bar = h("progress", { max: "1", value: "0" });
  #state = h("p", {});
  #closing = new AbortController();
  /** @type {string | null} the running task */
  #task = null;

  /**
   * @param {PanelContext} context
   * @param {string} title
   */
  constructor(context, title) {
    this.#context = context;
    const close = iconButton("close", context.t("common.close"), () => this.#dialog.close());
    const header = h("div", { class: "ca-dialog-title" }, h("h3", {}, title), close);
    this.#dialog = createDialog("ca-bundle", title, header, this.#body);
    this.#bar.setAttribute("aria-label", title);
    this.#dialog.addEventListener("close", () => this.#stop());
    this.#dialog.showModal();
  }

  /** @param {Workflow} workflow */
  askExport(workflow) {
    const { t } = this.#context;
    const models = h("input", { type: "checkbox" });
    const start = button("download", t("bundle.export"), () => this.#export(workflow, models.checked), {
      kind: "ca-primary",
    });
    this.#show(
      h("p", {}, t("bundle.exportHint")),
      h("label", { class: "ca-bundle-choice" }, models, t("bundle.withModels")),
      h("div", { class: "ca-actions" }, start),
    );
    start.focus();
  }

  /**
   * @param {Workflow} workflow
   * @param {boolean} models
   */
  #export(workflow, models) {
    const { client, page, t } = this.#context;
    return this.#run(t("bundle.exportFailed"), async () => {
      this.#showProgress(t("bundle.collecting"));
      const task = await this.#watch(await client.post(`/workflows/${workflow.id}/export`, { models }));
      const { export_name: name = "", assets, included = 0, problems = [] } = task.result ?? {};
      const { signal } = this.#closing;
      const { url } = await untilReached(() => client.get(`/assets/exports/${name}`, { signal }), this.#onTrouble);
      saveUrl(page.url(url.replace(/^\/api(?=\/)/, "")), name);
      this.#show(
        h("p", {}, t("bundle.exported", { name })),
        h("p", { class: "ca-muted" }, t("bundle.included", { included, count: Number(assets ?? 0) })),
        this.#problems(problems.map(String)),
        this.#closeButton(),
      );
    });
  }

  /** @param {File} file */
  import(file) {
    const { page, t } = this.#context;
    return this.#run(t("bundle.importFailed"), async () => {
      this.#showProgress(t("bundle.sending"));
      const started = await sendFile(page, "/workflows/import", file, {
        type: BUNDLE_TYPE,
        onProgress: (share) => (this.#bar.value = share),
        signal: this.#closing.signal,
      });
      this.#showProgress(t("bundle.verifying"));
      const { result } = await this.#watch(/** @type {BundleTask} */ (started));
      this.#showImported(result ?? {});
    });
  }

  /** @param {NonNullable<Task["result"]>} result */
  #showImported(
    { workflow_id: id = "", workflow_name: name, is_new: isNew, have = 0, added = 0, missing = 0, assets },
  ) {
    const { t, openWorkflow } = this.#context;
    const title = name ?? t("workflow.unnamed");
    const open = button("graph", t("bundle.show"), () => {
      this.#dialog.close();
      openWorkflow(id);
    }, { kind: "ca-primary" });
    const problems = Array.isArray(assets) ? assets.filter((each) => each.outcome === "missing" || each.note) : [];
    this.#show(
      h("p", {}, t(isNew ? "bundle.imported" : "bundle.importedBefore", { name: title })),
      h("p", { class: "ca-muted" }, t("bundle.outcome", { have, added, missing })),
      this.#problems(problems.map(({ path, note }) => note ? `${path}: ${note}` : path)),
      h("div", { class: "ca-actions" }, open),
    );
    open.focus();
  }

  /** @param {string[]} problems */
  #problems(problems) {
    if (problems.length === 0) return null;
    const { t } = this.#context;
    const more = problems.length - MAX_SHOWN;
    return h(
      "ul",
      { class: "ca-bundle-problems" },
      problems.slice(0, MAX_SHOWN).map((text) => h("li", {}, text)),
      more > 0 && h("li", { class: "ca-muted" }, t("bundle.more", { count: more })),
    );
  }

  /** @param {string} text */
  #showProgress(text) {
    this.#state.textContent = text;
    this.#bar.removeAttribute("value"); // shows that it runs, but not how far it is
    const cancel = button("stop", this.#context.t("bundle.cancel"), () => this.#dialog.close());
    this.#show(this.#state, this.#bar, h("div", { class: "ca-actions" }, cancel));
    cancel.focus();
  }

  /** @param {...Child} content */
  #show(...content) {
    setChildren(this.#body, ...content);
  }

  #closeButton() {
    const close = button("check", this.#context.t("common.close"), () => this.#dialog.close());
    setTimeout(() => close.focus());
    return h("div", { class: "ca-actions" }, close);
  }

  /**
   * Wait for a task. Throws its message if it failed.
   *
   * @param {BundleTask} started
   */
  async #watch({ task_id: id }) {
    this.#task = id;
    const { client } = this.#context;
    const label = this.#state.textContent;
    const listener = {
      /** @param {Task} task */
      onProgress: ({ result }) => {
        this.#state.textContent = label;
        if (result?.progress) this.#bar.value = result.progress;
      },
      onTrouble: this.#onTrouble,
    };
    const task = await watchTask(client, id, listener, this.#closing.signal);
    this.#task = null;
    if (task.status !== "completed") throw new Error(task.error_message ?? task.status);
    return task;
  }

  #onTrouble = (/** @type {unknown} */ error) => {
    this.#state.textContent = errorText(this.#context.t, error);
  };

  /**
   * @param {string} failure the text above the reason
   * @param {() => Promise<void>} action
   */
  async #run(failure, action) {
    try {
      await action();
    } catch (error) {
      if (isAborted(error)) return; // the dialog is closed
      const reason = errorText(this.#context.t, error);
      this.#show(h("p", { role: "alert" }, failure), h("p", { class: "ca-text" }, reason), this.#closeButton());
    }
  }

  /** Stop what runs: the dialog was closed. */
  #stop() {
    this.#closing.abort();
    if (this.#task !== null) {
      cancelTask(this.#context, this.#task, this.#context.t("bundle.cancelFailed"));
      this.#task = null;
    }
  }
}
