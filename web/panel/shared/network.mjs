/** The place of the server in its network: its addresses for other machines, and whether it is this machine. */

/** @import { NetworkPlace } from "../api.d.ts" */
/** @import { Client } from "./client.mjs" */

export class Network {
  #client;
  /** @type {NetworkPlace | null} null until the server has told it */
  place = null;

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
    // Without it, the panel offers less; requests that fail for a reason show it elsewhere.
    this.ready = this.#load().catch(() => {});
  }

  async #load() {
    this.place = await this.#client.get("/network");
  }
}

/**
 * Return whether a name leads to the own machine from every machine.
 *
 * @param {string} hostname as in `location`
 */
export function isLocalName(hostname) {
  return hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname) || hostname.endsWith(".localhost");
}

/**
 * Return an address of this page's server for each address that other machines reach it by. None if the page is open
 * under such an address already, or through a proxy with a port of its own.
 *
 * @param {string} href an address of this server, as this page reaches it
 * @param {NetworkPlace | null} place
 * @returns {string[]}
 */
export function addressesForOthers(href, place) {
  const url = new URL(href);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  if (place === null || !isLocalName(url.hostname) || port !== String(place.port)) return [];
  return place.addresses.map((address) => {
    const other = new URL(url);
    other.hostname = address.includes(":") ? `[${address}]` : address;
    return other.href;
  });
}
