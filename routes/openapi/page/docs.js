"use strict";

// Texts of the document are inserted as text, never as markup.

const METHODS = ["get", "head", "post", "put", "patch", "delete"];
const MAX_DEPTH = 6;
const MAX_SHOWN = 200000;
const HANDLERS = { host: "handled by the host", either: "handled by the host if it has it" };
let apiDocument = null;

function element(name, attributes = {}, ...children) {
  const made = window.document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ""));
  return made;
}

const byId = (id) => window.document.getElementById(id);
const named = (reference) => reference.slice(reference.lastIndexOf("/") + 1);
const schemaNamed = (name) => apiDocument.components.schemas[name] || {};

/** Convert a text with `code`, **bold** and empty lines to elements. */
function prose(text, className) {
  return (text || "").split(/\n\s*\n/).filter((part) => part.trim()).map((part) => {
    const pieces = part.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((piece) => {
      if (piece.startsWith("`")) return element("code", {}, piece.slice(1, -1));
      return piece.startsWith("**") ? element("strong", {}, piece.slice(2, -2)) : piece;
    });
    return element("p", { class: className }, pieces);
  });
}

/** Describe a schema's type in a few words, with a link if it is a component. */
function kind(schema) {
  if (!schema || typeof schema !== "object") return ["anything"];
  if (schema.$ref) return [element("a", { href: `#schema-${named(schema.$ref)}` }, named(schema.$ref))];
  if (schema.allOf && schema.allOf.length === 1) return kind(schema.allOf[0]);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.flatMap((choice, index) => (index ? [" or ", ...kind(choice)] : kind(choice)));
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  if (schema.type === "array") return ["list of ", ...kind(schema.items)];
  if (schema.contentMediaType === "application/octet-stream") return ["bytes"];
  const type = [].concat(schema.type || "anything").join(" or ");
  const limits = [];
  if (schema.format) limits.push(schema.format);
  if (schema.pattern) limits.push(schema.pattern);
  if (schema.minimum != null || schema.maximum != null) limits.push(`${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`);
  if (schema.maxLength != null) limits.push(`up to ${schema.maxLength} characters`);
  if (schema.default !== undefined) limits.push(`default ${JSON.stringify(schema.default)}`);
  return [limits.length ? `${type} (${limits.join(", ")})` : type];
}

/** List the members of an object, level by level, down to links to components. */
function membersOf(schema, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > MAX_DEPTH) return null;
  if (schema.type === "array") return membersOf(schema.items, depth);
  const extra = schema.additionalProperties;
  const entries = Object.entries(schema.properties || {});
  if (!entries.length) return extra && typeof extra === "object" ? membersOf(extra, depth + 1) : null;
  return element("ul", { class: "members" }, entries.map(([name, member]) => element("li", {},
    element("code", {}, name), " ",
    element("span", { class: "kind" }, kind(member)),
    (schema.required || []).includes(name) ? element("span", { class: "required" }, " always") : null,
    member.description ? element("span", { class: "about" }, ` — ${member.description}`) : null,
    member.$ref ? null : membersOf(member, depth + 1))));
}

function describeSchema(schema) {
  const target = schema && schema.$ref ? schemaNamed(named(schema.$ref)) : schema;
  return [element("p", { class: "kind" }, kind(schema)), ...prose(target && target.description, "about"), membersOf(target)];
}

/** A value that the schema allows, to begin with. */
function sample(schema, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > MAX_DEPTH) return null;
  if (schema.$ref) return sample(schemaNamed(named(schema.$ref)), depth + 1);
  if (schema.allOf) return sample(schema.allOf[0], depth + 1);
  if (schema.anyOf) return sample(schema.anyOf[0], depth + 1);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const required = schema.required || [];
  switch ([].concat(schema.type)[0]) {
    case "object":
      return Object.fromEntries(Object.entries(schema.properties || {})
        .filter(([name]) => required.includes(name))
        .map(([name, member]) => [name, sample(member, depth + 1)]));
    case "array": return [];
    case "integer": case "number": return schema.minimum ?? 0;
    case "boolean": return false;
    case "string": return "";
    default: return null;
  }
}

const contentOf = (part) => Object.entries((part && part.content) || {})[0] || [null, {}];

function parametersOf(operation) {
  if (!operation.parameters) return null;
  const rows = operation.parameters.map((parameter) => element("tr", {},
    element("th", { scope: "row" }, element("code", {}, parameter.name),
      parameter.required ? element("div", { class: "required" }, "required") : null),
    element("td", {}, parameter.in),
    element("td", {}, prose(parameter.description), element("div", { class: "kind" }, kind(parameter.schema)))));
  return [element("h4", {}, "Parameters"), element("table", {}, element("tbody", {}, rows))];
}

function bodyOf(operation) {
  if (!operation.requestBody) return null;
  const [media, content] = contentOf(operation.requestBody);
  const example = content.example;
  return [
    element("h4", {}, "Body"),
    element("p", { class: "kind" }, media, operation.requestBody.required ? "" : ", optional"),
    describeSchema(content.schema),
    example === undefined ? null : element("pre", {}, JSON.stringify(example, null, 2)),
  ];
}

function responsesOf(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const [media, content] = contentOf(response);
    const isError = Number(status) >= 400;
    return element("tr", {},
      element("th", { scope: "row" }, status),
      element("td", {}, prose(response.description),
        Object.entries(response.headers || {}).map(([name, header]) =>
          element("div", { class: "kind" }, `${name}: ${header.description}`)),
        media ? element("div", { class: "kind" }, media) : null,
        media && isError ? element("div", { class: "kind" }, kind(content.schema)) : null,
        media && !isError ? describeSchema(content.schema) : null));
  });
  return [element("h4", {}, "Responses"), element("table", {}, element("tbody", {}, rows))];
}

/** The path of the server: a proxy may serve it, and so this page at /api/docs, below a path of its own. */
function root() {
  return window.location.pathname.replace(/\/api\/docs\/?$/, "");
}

function fieldsOf(operation, prefix) {
  return (operation.parameters || []).map((parameter) => {
    const id = `${prefix}-${parameter.in}-${parameter.name}`;
    const input = element("input", {
      id, name: parameter.name, "data-in": parameter.in, required: parameter.required, autocomplete: "off",
      placeholder: parameter.schema.default === undefined ? null : String(parameter.schema.default),
    });
    return element("label", { for: id }, parameter.name, input);
  });
}

function bodyFieldsOf(operation, prefix) {
  if (!operation.requestBody) return [];
  const [media, content] = contentOf(operation.requestBody);
  if (media === "multipart/form-data") {
    return Object.entries(content.schema.properties).map(([name, member]) => {
      const id = `${prefix}-part-${name}`;
      const isFile = member.contentMediaType === "application/octet-stream";
      return element("label", { for: id }, name,
        element("input", { id, name, type: isFile ? "file" : "text", "data-in": "part", autocomplete: "off" }));
    });
  }
  const id = `${prefix}-body`;
  if (media !== "application/json") {
    return [element("label", { for: id }, "Body", element("input", { id, type: "file", "data-in": "bytes" }))];
  }
  const example = content.example === undefined ? sample(content.schema) : content.example;
  const area = element("textarea", { id, "data-in": "json", spellcheck: "false" });
  area.value = JSON.stringify(example, null, 2);
  return [element("label", { for: id }, "Body", area)];
}

/** Build the request from the fields of a form. */
function requestOf(form, path, method) {
  const query = new URLSearchParams();
  const options = { method: method.toUpperCase(), headers: {} };
  const parts = new FormData();
  let target = path;
  for (const field of form.querySelectorAll("[data-in]")) {
    const value = field.type === "file" ? field.files[0] : field.value;
    if (field.dataset.in === "path") target = target.replace(`{${field.name}}`, encodeURIComponent(value));
    else if (!value) continue;
    else if (field.dataset.in === "query") query.append(field.name, value);
    else if (field.dataset.in === "header") options.headers[field.name] = value;
    else if (field.dataset.in === "user") options.headers["comfy-user"] = value;
    else if (field.dataset.in === "part") parts.append(field.name, value);
    else options.body = value;
    if (field.dataset.in === "json" && value) options.headers["Content-Type"] = "application/json";
  }
  if (form.querySelector('[data-in="part"]')) options.body = parts;
  return [root() + target + (query.size ? `?${query}` : ""), options];
}

async function describeResponse(response) {
  const media = response.headers.get("Content-Type") || "";
  if (media.startsWith("image/")) {
    return element("img", { class: "response", alt: "Image in the response", src: URL.createObjectURL(await response.blob()) });
  }
  if (!/json|text|xml|javascript/.test(media)) return element("pre", {}, `${(await response.blob()).size} bytes of ${media || "no type"}`);
  let text = await response.text();
  if (media.includes("json")) {
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
  }
  return element("pre", { tabindex: "0" }, text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}\n…` : text);
}

function tryIt(operation, path, method) {
  const prefix = `try-${operation.operationId}`;
  const result = element("div", { role: "status" });
  const user = element("input", { id: `${prefix}-user`, "data-in": "user", autocomplete: "off" });
  const form = element("form", {},
    element("h4", {}, "Try it"),
    fieldsOf(operation, prefix),
    bodyFieldsOf(operation, prefix),
    element("label", { for: user.id }, "User (on servers for several users)", user),
    element("p", {}, element("button", { type: "submit" }, `Send ${method.toUpperCase()}`)),
    result);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [url, options] = requestOf(form, path, method);
    const started = performance.now();
    result.replaceChildren("…");
    try {
      const response = await fetch(url, options);
      const took = Math.round(performance.now() - started);
      result.replaceChildren(
        element("p", {}, element("strong", {}, `${response.status} ${response.statusText}`), ` in ${took} ms — `,
          element("code", {}, `${options.method} ${url}`)),
        await describeResponse(response));
    } catch (error) {
      result.replaceChildren(element("p", {}, `The request failed: ${error.message}`));
    }
  });
  return form;
}

function operationElement({ operation, path, method }) {
  const inside = element("div");
  const made = element("details", { class: "operation", id: `operation-${operation.operationId}` },
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "about" }, operation.summary),
      operation["x-answered-by"] === "project" ? null : element("span", { class: "badge" }, HANDLERS[operation["x-answered-by"]])),
    inside);
  made.addEventListener("toggle", () => {
    if (!made.open || inside.childElementCount) return;
    inside.append(...[
      element("p", { class: "kind" }, operation.operationId), prose(operation.description),
      parametersOf(operation), bodyOf(operation), responsesOf(operation), tryIt(operation, path, method),
    ].flat(2).filter(Boolean));
  });
  return made;
}

function operationsOf(item) {
  const found = [];
  for (const [path, methods] of Object.entries(item.paths)) {
    for (const method of METHODS) {
      if (methods[method]) found.push({ operation: methods[method], path, method });
    }
  }
  return found;
}

function show(operations) {
  const list = byId("list");
  const index = byId("index");
  for (const tag of apiDocument.tags) {
    const members = operations.filter(({ operation }) => operation.tags.includes(tag.name));
    if (!members.length) continue;
    const id = `tag-${tag.name}`;
    list.append(element("section", { "aria-labelledby": id },
      element("h2", { id }, tag.name), prose(tag.description, "about"), members.map(operationElement)));
    index.append(element("section", {}, element("h2", {}, tag.name),
      element("ul", {}, members.map(({ operation }) => element("li", {},
        element("a", { href: `#operation-${operation.operationId}` }, operation.operationId))))));
  }
}

function showSchemas() {
  const section = byId("schemas");
  for (const [name, schema] of Object.entries(apiDocument.components.schemas)) {
    const inside = element("div", {}, prose(schema.description, "about"));
    const made = element("details", { class: "operation", id: `schema-${name}` }, element("summary", {}, name), inside);
    made.addEventListener("toggle", () => {
      const members = made.open && inside.querySelector(".members") === null ? membersOf(schema) : null;
      if (members) inside.append(members);
    });
    section.append(made);
  }
  section.hidden = false;
}

/** Open and show the element in the address. */
function follow() {
  const target = window.location.hash ? byId(decodeURIComponent(window.location.hash.slice(1))) : null;
  if (target instanceof HTMLDetailsElement) target.open = true;
  if (target) target.scrollIntoView();
}

function filter(operations, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { operation, path, method } of operations) {
    const searched = [operation.operationId, path, method, operation.summary, operation.description || "", ...operation.tags]
      .join(" ").toLowerCase();
    const isHidden = !words.every((word) => searched.includes(word));
    const shown = byId(`operation-${operation.operationId}`);
    shown.hidden = isHidden;
    const link = window.document.querySelector(`nav a[href="#operation-${operation.operationId}"]`);
    link.parentElement.hidden = isHidden;
  }
  for (const section of window.document.querySelectorAll("#list > section, #index > section")) {
    section.hidden = !section.querySelector("details:not([hidden]), li:not([hidden])");
  }
  const count = window.document.querySelectorAll("#list details:not([hidden])").length;
  byId("state").textContent = words.length ? `${count} operations` : "";
}

/** The documents that the page can show. The second one is there unless the server has that API from elsewhere. */
const DOCUMENTS = [
  { name: "Comfy Assets", address: "/api/openapi.json", query: "" },
  { name: "Comfy API v2", address: "/api/v2/openapi.json", query: "?v2" },
];

/** Show a link to the other document if the server has it. */
async function showOther(other) {
  const response = await fetch(root() + other.address, { method: "HEAD" });
  byId("other-link").textContent = `The other API of this server: ${other.name}`;
  byId("other-link").href = `${root()}/api/docs${other.query}`;
  byId("other").hidden = !response.ok;
}

async function start() {
  const isSecond = new URLSearchParams(window.location.search).has("v2");
  const [shown, other] = isSecond ? [...DOCUMENTS].reverse() : DOCUMENTS;
  const source = root() + shown.address;
  byId("source").href = source;
  try {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`status ${response.status}`);
    apiDocument = await response.json();
  } catch (error) {
    byId("state").textContent = `The document could not be loaded: ${error.message}`;
    return;
  }
  const operations = operationsOf(apiDocument);
  byId("title").textContent = apiDocument.info.title;
  byId("version").textContent = `Version ${apiDocument.info.version}, ${operations.length} operations`;
  byId("about").append(...prose(apiDocument.info.description));
  byId("state").textContent = "";
  show(operations);
  showSchemas();
  byId("filter").addEventListener("input", (event) => filter(operations, event.target.value));
  window.addEventListener("hashchange", follow);
  follow();
  await showOther(other);
}

start();
