/** Uploads of files that were dropped or chosen, with a progress row for each. */

/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";

const CONCURRENCY = 2;
const DONE_VISIBLE_MS = 4000;

/** A file with the elements of its row. `request` is set once it is being sent. */
class Upload {
  /** @type {XMLHttpRequest | null} */
  request = null;

  /**
   * @param {File} file
   * @param {string} state
   * @param {string} cancelLabel
   * @param {(upload: Upload) => void} cancel
   */
  constructor(file, state, cancelLabel, cancel) {
    this.file = file;
    this.bar = h("progress", { max: "1", value: "0", "aria-label": file.name });
    this.state = h("span", {}, state);
    const name = h("span", { class: "ca-upload-name" }, file.name);
    const cancelButton = iconButton("close", cancelLabel, () => cancel(this));
    this.row = h("li", { class: "ca-upload" }, name, this.state, cancelButton, this.bar);
  }
}

export class Uploads {
  #context;
  #onUploaded;
  /** @type {Upload[]} */
  #queue = [];
  #running = 0;

  /**
   * @param {PanelContext} context
   * @param {() => void} onUploaded
   */
  constructor(context, onUploaded) {
    this.#context = context;
    this.#onUploaded = onUploaded;
    this.element = h("ul", { class: "ca-uploads", "aria-label": context.t("upload.title") });
    this.input = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#addChosen() });
  }

  /** Let the user choose files. */
  choose() {
    this.input.click();
  }

  /**
   * Accept files that are dropped on an element, but not the panel's own assets, which are dragged without files.
   *
   * @param {HTMLElement} element
   */
  acceptDrops(element) {
    let depth = 0; // of entered elements: a drag enters a child before it leaves the parent
    /** @param {number} value */
    const setDepth = (value) => {
      depth = value;
      element.classList.toggle("ca-drop-target", depth > 0);
    };
    /**
     * @param {"dragenter" | "dragover" | "dragleave" | "drop"} type
     * @param {(files: FileList) => void} action
     */
    const on = (type, action) =>
      element.addEventListener(type, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        event.stopPropagation(); // the page would open the file on the canvas
        action(event.dataTransfer.files);
      });
    on("dragenter", () => setDepth(depth + 1));
    on("dragover", () => {}); // must be cancelled for a drop to be possible
    on("dragleave", () => setDepth(depth - 1));
    on("drop", (files) => {
      setDepth(0);
      this.add([...files]);
    });
  }

  /** @param {File[]} files */
  add(files) {
    const { t } = this.#context;
    for (const file of files) {
      const cancelLabel = t("upload.cancel", { name: file.name });
      const upload = new Upload(file, t("upload.waiting"), cancelLabel, (each) => this.#cancel(each));
      this.element.append(upload.row);
      this.#queue.push(upload);
    }
    this.#startNext();
  }

  #addChosen() {
    this.add([...(this.input.files ?? [])]);
    this.input.value = ""; // or choosing the same file again would fire no event
  }

  #startNext() {
    while (this.#running < CONCURRENCY) {
      const upload = this.#queue.shift();
      if (upload === undefined) return;
      this.#send(upload);
    }
  }

  /** @param {Upload} upload */
  #cancel(upload) {
    upload.request?.abort();
    this.#queue = this.#queue.filter((each) => each !== upload);
    upload.row.remove();
  }

  /**
   * Send a file, by XMLHttpRequest: fetch does not report how much has been sent.
   *
   * @param {Upload} upload
   */
  #send(upload) {
    const { page, t } = this.#context;
    const request = new XMLHttpRequest();
    upload.request = request;
    this.#running += 1;
    request.open("POST", page.url("/assets"));
    for (const [name, value] of Object.entries(page.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      upload.bar.value = total > 0 ? loaded / total : 0;
      upload.state.textContent = `${Math.round(upload.bar.value * 100)} %`;
    });
    request.addEventListener("loadend", () => {
      this.#running -= 1;
      if (request.status === 200 || request.status === 201) this.#succeeded(upload, request.status === 201);
      else this.#failed(upload, errorMessage(request) ?? t("failure.unreachable"));
      this.#startNext();
    });
    const form = new FormData();
    form.append("tags", JSON.stringify(["input"])); // before the file: they say which folder it goes to
    form.append("file", upload.file);
    request.send(form);
  }

  /**
   * @param {Upload} upload
   * @param {boolean} isNew false for content that the library had already
   */
  #succeeded(upload, isNew) {
    upload.bar.value = 1;
    upload.state.textContent = this.#context.t(isNew ? "upload.done" : "upload.exists");
    setTimeout(() => upload.row.remove(), DONE_VISIBLE_MS);
    this.#onUploaded();
  }

  /**
   * @param {Upload} upload
   * @param {string} reason
   */
  #failed(upload, reason) {
    upload.bar.remove();
    upload.row.classList.add("ca-failure");
    upload.row.setAttribute("role", "alert");
    upload.state.textContent = reason;
  }
}

/**
 * Return the message of an error of the API, or null for a response in another form.
 *
 * @param {XMLHttpRequest} request
 * @returns {string | null}
 */
function errorMessage(request) {
  try {
    return JSON.parse(request.responseText).message;
  } catch {
    return null;
  }
}
