/**
 * Downloads of many assets as one ZIP file, which the server makes first: a row with progress for each. They go on after
 * the page was loaded again.
 */

/** @import { PanelContext } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";
import { RequestError } from "../shared/client.mjs";
import { h } from "../shared/dom.mjs";
import { saveUrl } from "../shared/save_file.mjs";

const POLL_MS = 500;
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
      const body = { ...source, naming_strategy: "preserve" };
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
    const { client, notifications, t } = this.#context;
    const bar = h("progress", { max: "1", value: "0", "aria-label": name });
    const state = h("span", {}, t("zip.preparing"));
    const cancel = iconButton("close", t("zip.cancel", { name }), () => {
      client.request("DELETE", `/tasks/${task}`).catch((error) => notifications.error(t("zip.cancelFailed"), error));
    });
    const row = h("li", { class: "ca-upload" }, h("span", { class: "ca-upload-name" }, name), state, cancel, bar);
    this.element.append(row);
    try {
      const { status, result, error_message: reason } = await this.#end(task, (share) => {
        bar.value = share;
        if (share > 0) state.textContent = `${Math.round(share * 100)} %`;
      });
      forget(task);
      if (status === "cancelled") return row.remove();
      if (status === "failed" || !result?.export_name) throw new Error(reason ?? "");
      const { url } = await client.get(`/assets/exports/${result.export_name}`);
      saveUrl(this.#context.page.url(url.replace(/^\/api/, "")), `${fileName(name)}.zip`);
      const left = result.assets_failed ?? 0;
      state.textContent = left > 0 ? t("zip.incomplete", { count: left }) : t("upload.done");
      bar.value = 1;
      setTimeout(() => row.remove(), DONE_VISIBLE_MS);
    } catch (error) {
      row.remove();
      if (error instanceof RequestError && error.kind === "refused") forget(task);
      throw error;
    }
  }

  /**
   * Wait for the end of a task.
   *
   * @param {string} id
   * @param {(share: number) => void} onProgress
   */
  async #end(id, onProgress) {
    for (;;) {
      const task = await this.#context.client.get(`/tasks/${id}`);
      onProgress(task.result?.progress ?? 0);
      if (task.status !== "created" && task.status !== "running") return task;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
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
