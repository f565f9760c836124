/** What the library tab asks for: words, tags, kind, sort; and how the API wants that said. */

export const KINDS = ["all", "output", "input", "models"];

/** Each order by its name: what to sort by, and in which direction. */
export const SORTS = {
  newest: ["created_at", "desc"],
  oldest: ["created_at", "asc"],
  changed: ["updated_at", "desc"],
  name: ["name", "asc"],
  largest: ["size", "desc"],
};

export const DEFAULT_QUERY = Object.freeze({
  text: "",
  kind: "all",
  tags: Object.freeze([]),
  sort: "newest",
  favourites: false,
  missing: false,
});

/** The filters, which a list and the counts of its tags share. */
export function filterParams(query) {
  const wanted = [...(query.kind === "all" ? [] : [query.kind]), ...query.tags];
  const params = new URLSearchParams();
  if (query.text.trim()) params.set(isSearchable(query.text) ? "q" : "name_contains", query.text.trim());
  for (const tag of wanted) params.append("include_tags", tag);
  if (!query.missing) params.set("exclude_tags", "missing");
  if (query.favourites) params.set("metadata_filter", JSON.stringify({ favorite: true }));
  return params;
}

/** The parameters of a page of the list. */
export function pageParams(query, { offset, limit, cursor }) {
  const params = filterParams(query);
  const [sort, order] = SORTS[query.sort] ?? SORTS.newest;
  params.set("sort", sort);
  params.set("order", order);
  params.set("limit", limit);
  if (cursor) params.set("after", cursor);
  else if (offset > 0) params.set("offset", offset);
  return params;
}

/** Whether there is a letter or digit to search for; anything else can only be part of a name. */
function isSearchable(text) {
  return /[\p{L}\p{N}]/u.test(text);
}

/** Whether anything narrows the list. */
export function isFiltered(query) {
  return query.text.trim() !== "" || query.kind !== "all" || query.tags.length > 0 || query.favourites;
}

/** A query and a view, replaced as a whole, and those who want to hear of it. */
export class QueryStore {
  #state;
  #listeners = new Set();

  constructor(initial) {
    this.#state = Object.freeze({ ...initial });
  }

  get state() {
    return this.#state;
  }

  /** Change some members; listeners hear of it if any is different. */
  set(change) {
    const before = this.#state;
    if (Object.entries(change).every(([name, value]) => Object.is(before[name], value))) return;
    this.#state = Object.freeze({ ...before, ...change });
    for (const listener of [...this.#listeners]) listener(this.#state, before);
  }

  /** Call `listener(state, before)` on every change; answers a function that ends it. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
