/**
 * Downloads of many assets as one ZIP file, which the server makes first: a row with progress for each. They go on after
 * the page was loaded again.
 */

/** @import { Task } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { saveUrl } from "../shared/save_file.mjs";
import { cancelTask, untilReached, watchTask } from "../shared/tasks.mjs";

const DONE_VISIBLE_MS = 4000;
const STORED = "comfy-assets.zips"; // in this tab alone: another one would download them again

/** An archive that the server makes. @typedef {{ task: string, name: string }} Made */

/** The assets of an archive. @typedef {{ asset_ids: string[] } | { collection_id: string } | { filter: object }} ZipSource */

export class ZipExports {
  #context;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    this.element = h("ul", { class: "ca-uploads", "aria-label": context.t("zip.title") });
    for (const made of stored()) this.#tell(() => this.#follow(made));
  }

  /**
   * Make an archive, and download it when it is complete.
   *
   * @param {ZipSource} source
   * @param {string} name for the row and the file
   */
  start(source, name) {
    return this.#tell(async () => {
      // Not announced: ComfyUI's page would download it as well, in each of its tabs.
      const body = { ...source, naming_strategy: "preserve", announce: false };
      const { task_id: task } = await this.#context.client.post("/assets/export", body);
      store([...stored().filter((each) => each.task !== task), { task, name }]);
      await this.#follow({ task, name });
    });
  }

  /** @param {() => Promise<unknown>} action that shows what fails */
  async #tell(action) {
    const { notifications, t } = this.#context;
    try {
      await action();
    } catch (error) {
      notifications.error(t("zip.failed"), error);
    }
  }

  /** @param {Made} made */
  async #follow({ task, name }) {
    const { client, t } = this.#context;
    let isCancelled = false;
    const bar = h("progress", { max: "1", value: "0", "aria-label": name });
    const state = h("span", {}, t("zip.preparing"));
    const cancel = iconButton("close", t("zip.cancel", { name }), async () => {
      isCancelled = true; // at once: the task may end before the response
      isCancelled = await cancelTask(this.#context, task, t("zip.cancelFailed"));
    });
    const onTrouble = (/** @type {unknown} */ error) => (state.textContent = errorText(t, error));
    const onProgress = (/** @type {Task} */ { result }) => {
      bar.value = result?.progress ?? 0;
      state.textContent = bar.value > 0 ? `${Math.round(bar.value * 100)} %` : t("zip.preparing");
    };
    const row = h("li", { class: "ca-upload" }, h("span", { class: "ca-upload-name" }, name), state, cancel, bar);
    this.element.append(row);
    try {
      const { status, result, error_message: reason } = await watchTask(client, task, { onProgress, onTrouble });
      if (status === "cancelled" || isCancelled) {
        forget(task);
        return row.remove();
      }
      const file = result?.export_name;
      if (status === "failed" || !file) throw new Error(reason ?? "");
      const { url } = await untilReached(() => client.get(`/assets/exports/${file}`), onTrouble);
      forget(task);
      saveUrl(this.#context.page.url(url.replace(/^\/api/, "")), `${fileName(name)}.zip`);
      const left = result.assets_failed ?? 0;
      state.textContent = left > 0 ? t("zip.incomplete", { count: left }) : t("upload.done");
      bar.value = 1;
      setTimeout(() => row.remove(), DONE_VISIBLE_MS);
    } catch (error) {
      row.remove();
      forget(task);
      throw error;
    }
  }
}

/**
 * Return the archives that were being made when the page was loaded.
 *
 * @returns {Made[]}
 */
function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
  } catch {
    return []; // storage is switched off
  }
}

/** @param {Made[]} made */
function store(made) {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(made));
  } catch {
    // Storage is switched off: a reload forgets them.
  }
}

/** @param {string} task */
function forget(task) {
  store(stored().filter((each) => each.task !== task));
}

/**
 * Return a name without characters that file systems do not take.
 *
 * @param {string} name
 */
function fileName(name) {
  return name.replace(/[\\/:*?"<>|\p{Cc}]+/gu, "_").slice(0, 100);
}
