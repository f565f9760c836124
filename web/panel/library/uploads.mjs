/** Uploads of files that were dropped or chosen, with a progress row for each. Models and workflows wait for a choice. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { Destination } from "./upload_destination.mjs" */

import { h } from "../shared/dom.mjs";
import { button, iconButton, select } from "../shared/buttons.mjs";
import { RequestError, responseError } from "../shared/client.mjs";
import { errorText } from "../shared/error_text.mjs";
import { acceptFiles } from "../shared/file_drops.mjs";
import { PROVIDER } from "../workflows/workflow_actions.mjs";
import { destinationOf } from "./upload_destination.mjs";

const CONCURRENCY = 2;
const DONE_VISIBLE_MS = 4000;

/** A file with the elements of its row. `request` is set once it is being sent. */
class Upload {
  /** @type {XMLHttpRequest | null} */
  request = null;
  isCancelled = false;
  /** @type {Destination} */
  destination = { kind: "input" };

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
  /** @type {Set<Upload>} that wait for a choice */
  #asking = new Set();
  #running = 0;
  /** @type {Promise<string[]> | null} of models, once they were asked for */
  #categories = null;

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
    acceptFiles(element, (files) => this.add(files));
  }

  /** @param {File[]} files */
  add(files) {
    const { t } = this.#context;
    for (const file of files) {
      const cancelLabel = t("upload.cancel", { name: file.name });
      const upload = new Upload(file, t("upload.waiting"), cancelLabel, (each) => this.#cancel(each));
      this.element.append(upload.row);
      this.#prepare(upload);
    }
  }

  /**
   * Find out where a file belongs. Unless it is the input folder, the user decides.
   *
   * @param {Upload} upload
   */
  async #prepare(upload) {
    try {
      upload.destination = await destinationOf(upload.file);
      const { kind } = upload.destination;
      const categories = kind === "model" ? await (this.#categories ??= this.#context.client.get("/models")) : [];
      if (upload.isCancelled) return;
      if (kind !== "input") return this.#ask(upload, categories);
    } catch (error) {
      console.warn("comfy-assets:", error); // the file may still be of use as an input
      this.#categories = null;
      upload.destination = { kind: "input" };
    }
    this.#start([upload]);
  }

  /**
   * Let the user choose a destination, with the likely one selected.
   *
   * @param {Upload} upload
   * @param {string[]} categories of models
   */
  #ask(upload, categories) {
    const { t } = this.#context;
    const likely = upload.destination;
    const inputs = /** @type {const} */ (["input", t("upload.toInput")]);
    const others = likely.kind === "workflow"
      ? [/** @type {const} */ (["workflow", t("upload.toWorkflows")])]
      : categories.map((name) => /** @type {const} */ ([`models/${name}`, `models/${name}`]));
    const value = likely.kind === "model" ? `models/${likely.category}` : "workflow";
    const isOffered = others.some(([name]) => name === value);
    const choice = select(
      t("upload.destination", { name: upload.file.name }),
      [...others, inputs],
      isOffered ? value : "input",
      (chosen) => {
        if (chosen === "input") upload.destination = { kind: "input" };
        else if (chosen === "workflow") upload.destination = likely;
        else upload.destination = { kind: "model", category: chosen.slice("models/".length) };
      },
    );
    if (!isOffered) upload.destination = { kind: "input" };
    const start = button("upload", t("upload.start"), () => this.#start([...this.#asking]), { kind: "ca-primary" });
    upload.state.replaceChildren(choice, start);
    upload.row.classList.add("ca-upload-asking");
    this.#asking.add(upload);
  }

  /**
   * Put uploads into the queue: all that wait for a choice begin together, each with its own.
   *
   * @param {Upload[]} uploads
   */
  #start(uploads) {
    for (const upload of uploads) {
      this.#asking.delete(upload);
      upload.row.classList.remove("ca-upload-asking");
      upload.state.textContent = this.#context.t("upload.waiting");
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
      if (upload.destination.kind === "workflow") this.#saveWorkflow(upload, upload.destination.graph);
      else this.#send(upload);
    }
  }

  /**
   * @param {Upload} upload
   * @param {import("../api.d.ts").Graph} graph
   */
  async #saveWorkflow(upload, graph) {
    const { client, t } = this.#context;
    this.#running += 1;
    try {
      const body = { name: upload.file.name.replace(/\.json$/i, ""), workflow_json: graph };
      await client.request("POST", "/workflows", { query: PROVIDER, body });
      this.#succeeded(upload, t("upload.done"));
    } catch (error) {
      this.#failed(upload, errorText(t, error));
    }
    this.#running -= 1;
    this.#startNext();
  }

  /** @param {Upload} upload */
  #cancel(upload) {
    upload.isCancelled = true;
    upload.request?.abort();
    this.#asking.delete(upload);
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
      if (request.status === 201) this.#succeeded(upload, t("upload.done"));
      else if (request.status === 200) this.#succeeded(upload, t("upload.exists", { path: pathIn(request) }));
      else this.#failed(upload, errorText(t, failureOf(request)));
      this.#startNext();
    });
    const form = new FormData();
    const { destination } = upload;
    const tags = destination.kind === "model" ? ["models", `model_type:${destination.category}`] : ["input"];
    form.append("tags", JSON.stringify(tags)); // before the file: they say which folder it goes to
    form.append("file", upload.file);
    request.send(form);
  }

  /**
   * @param {Upload} upload
   * @param {string} text
   */
  #succeeded(upload, text) {
    upload.bar.value = 1;
    upload.state.textContent = text;
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

/** @param {XMLHttpRequest} request that has failed, with a response or without one */
function failureOf({ status, responseText }) {
  return status === 0
    ? new RequestError("unreachable", "The server cannot be reached.")
    : responseError(status, responseText);
}

/**
 * Return where the library has the content that was uploaded again.
 *
 * @param {XMLHttpRequest} request
 * @returns {string}
 */
function pathIn(request) {
  const { file_path: path, name } = JSON.parse(request.responseText);
  return path ?? name;
}
