/** Files that are dropped or chosen become assets; a row for each says how far it is. */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";

const CONCURRENCY = 2;
const DONE_VISIBLE_MS = 4000;

export class Uploads {
  #context;
  #uploaded;
  #queue = [];
  #running = 0;

  /** `uploaded()` is called when some are done. */
  constructor(context, uploaded) {
    this.#context = context;
    this.#uploaded = uploaded;
    this.element = h("ul", { class: "ca-uploads", "aria-label": context.t("upload.title") });
    this.input = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#chosen() });
  }

  /** Let the user choose files. */
  choose() {
    this.input.click();
  }

  /** Take files that are dropped on an element. Assets of the panel itself are no files. */
  acceptDrops(element) {
    let depth = 0;
    const isFiles = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (isOver) => element.classList.toggle("ca-drop-target", isOver);
    const on = (type, action) =>
      element.addEventListener(type, (event) => {
        if (!isFiles(event)) return;
        event.preventDefault();
        event.stopPropagation(); // the page would open the file
        action(event);
      });
    on("dragenter", () => mark((depth += 1) > 0));
    on("dragover", () => {});
    on("dragleave", () => mark((depth -= 1) > 0));
    on("drop", (event) => {
      mark((depth = 0) > 0);
      this.add([...event.dataTransfer.files]);
    });
  }

  add(files) {
    for (const file of files) this.#queue.push(this.#row(file));
    this.#startNext();
  }

  #chosen() {
    this.add([...this.input.files]);
    this.input.value = "";
  }

  #row(file) {
    const { t } = this.#context;
    const upload = { file, bar: h("progress", { max: "1", value: "0", "aria-label": file.name }) };
    upload.text = h("span", {}, t("upload.waiting"));
    const cancel = iconButton("close", t("upload.cancel", { name: file.name }), () => this.#cancel(upload));
    upload.row = h(
      "li",
      { class: "ca-upload" },
      h("span", { class: "ca-upload-name" }, file.name),
      upload.text,
      cancel,
      upload.bar,
    );
    this.element.append(upload.row);
    return upload;
  }

  #startNext() {
    while (this.#running < CONCURRENCY && this.#queue.length > 0) this.#send(this.#queue.shift());
  }

  #cancel(upload) {
    upload.request?.abort();
    this.#queue = this.#queue.filter((each) => each !== upload);
    upload.row.remove();
  }

  /** Only the older kind of request tells how much has been sent. */
  #send(upload) {
    const { page, t } = this.#context;
    const request = (upload.request = new XMLHttpRequest());
    this.#running += 1;
    request.open("POST", page.url("/assets"));
    for (const [name, value] of Object.entries(page.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      upload.bar.value = total > 0 ? loaded / total : 0;
      upload.text.textContent = `${Math.round(upload.bar.value * 100)} %`;
    });
    request.addEventListener("loadend", () => {
      this.#running -= 1;
      if (request.status === 200 || request.status === 201) this.#succeeded(upload, request.status === 201);
      else this.#failed(upload, errorMessage(request) ?? t("failure.unreachable"));
      this.#startNext();
    });
    const form = new FormData();
    form.append("tags", JSON.stringify(["input"]));
    form.append("file", upload.file);
    request.send(form);
  }

  #succeeded(upload, isNew) {
    upload.bar.value = 1;
    upload.text.textContent = this.#context.t(isNew ? "upload.done" : "upload.exists");
    setTimeout(() => upload.row.remove(), DONE_VISIBLE_MS);
    this.#uploaded();
  }

  #failed(upload, reason) {
    upload.bar.remove();
    upload.row.classList.add("ca-failure");
    upload.row.setAttribute("role", "alert");
    upload.text.textContent = reason;
  }
}

function errorMessage(request) {
  try {
    return JSON.parse(request.responseText).message;
  } catch {
    return null;
  }
}
