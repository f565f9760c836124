"""The page to sign in, which is also that of the signed-in user. It needs no other file of the server.

Its texts are in ``locales/*/login.json``; the language is the first one that the browser asks for and that there is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

_LOCALES = Path(__file__).resolve().parents[1] / "locales"
_DEFAULT = "en"
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he"})
_MAX_HEADER = 1000  # characters of Accept-Language
_CHINESE = {"zh-tw": "zh-TW", "zh-hk": "zh-TW", "zh-hant": "zh-TW"}
_RANGE = re.compile(r"\s*([A-Za-z-]{1,20})\s*(?:;\s*q\s*=\s*([01](?:\.\d{1,3})?))?\s*", re.ASCII)


class LoginPage(NamedTuple):
    """The page, and its Content-Security-Policy."""

    html: str
    policy: str


_STYLE = """
:root { color-scheme: light dark; --fg: light-dark(#1f2328, #dddddd); --bg: light-dark(#f4f4f5, #1b1b1c);
  --card: light-dark(#ffffff, #262729); --line: light-dark(#8a9099, #6b6f76); --accent: light-dark(#0b57d0, #8ab4f8);
  --on-accent: light-dark(#ffffff, #10131a); --bad: light-dark(#b3261e, #f2b8b5); }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { display: grid; place-items: center; min-height: 100vh; min-height: 100dvh; margin: 0; padding: 1rem;
  color: var(--fg); background: var(--bg); font: 1rem/1.5 system-ui, sans-serif; }
main { width: min(24rem, 100%); padding: 1.5rem; background: var(--card); border-radius: .75rem;
  box-shadow: 0 1px 3px rgb(0 0 0 / .25); }
h1 { margin: 0 0 1rem; font-size: 1.25rem; overflow-wrap: anywhere; }
form, .actions { display: grid; gap: .75rem; }
.actions { margin-block-start: 1.25rem; }
label { display: grid; gap: .25rem; }
input, button, .button { width: 100%; min-height: 2.75rem; padding: .5rem .75rem; border-radius: .5rem; font: inherit;
  border: 1px solid var(--line); color: inherit; background: transparent; text-align: center; text-decoration: none; }
input { text-align: start; background: var(--bg); }
button { cursor: pointer; }
button.main { border-color: transparent; color: var(--on-accent); background: var(--accent); font-weight: 600; }
button:disabled { opacity: .6; cursor: progress; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
p { margin: 0; }
.note { font-size: .875rem; }
main > .note { margin-block-start: 1rem; }
.message { min-height: 1.5em; color: var(--bad); overflow-wrap: anywhere; }
.message.good { color: inherit; }
"""

_SCRIPT = """
"use strict";
const body = document.body, texts = JSON.parse(body.dataset.texts), root = body.dataset.root;
const message = document.getElementById("message");
const insecure = location.protocol === "http:" && !/^(localhost|127\\..*|\\[::1\\])$/.test(location.hostname);
document.getElementById("insecure").hidden = !insecure;

function show(text, good = false) {
  message.textContent = text;
  message.classList.toggle("good", good);
}

async function send(method, path, content) {
  const headers = content ? { "Content-Type": "application/json" } : {};
  const response = await fetch(root + path, {
    method, headers, body: content && JSON.stringify(content), credentials: "same-origin", cache: "no-store",
  });
  if (response.ok) return response.status === 204 ? true : await response.json();
  let answer = {};
  try {
    answer = await response.json();
  } catch {
    answer = {};
  }
  if (answer.code === "TOO_MANY_ATTEMPTS") show(texts.wait.replace("{seconds}", answer.details.retry_after));
  else if (answer.code === "PASSWORD_CHECK_UNAVAILABLE") show(texts.unchecked);
  else if (answer.code === "SIGN_IN_FAILED") show(path === "api/login" ? texts.wrong : texts.wrong_old);
  else show(answer.message || `${texts.failed} (${response.status})`);
  return false;
}

async function during(button, work) {
  button.disabled = true;
  show("");
  try {
    await work();
  } catch {
    show(texts.failed);
  } finally {
    button.disabled = false;
  }
}

// ComfyUI's page asks which of its users one is, unless it knows. The login has decided that already.
async function rememberUser(user) {
  try {
    const { users } = await (await fetch(root + "api/users", { cache: "no-store" })).json();
    const own = Object.entries(users ?? {}).find(([, name]) => name === user);
    if (own) [localStorage["Comfy.userId"], localStorage["Comfy.userName"]] = own;
  } catch {
    // The page asks, and offers this user alone.
  }
}

function leave() {
  // The page stands at the address that was asked for, except at its own.
  if (body.dataset.own) location.replace(root);
  else location.reload();
}

document.getElementById("sign-in")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, password } = event.target.elements;
  during(event.submitter ?? event.target.querySelector("button"), async () => {
    const signedIn = await send("POST", "api/login", { name: name.value, password: password.value });
    if (signedIn) {
      await rememberUser(signedIn.user);
      return leave();
    }
    password.value = "";
    password.focus();
  });
});

document.getElementById("password-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { old_password, new_password } = event.target.elements;
  during(event.submitter ?? event.target.querySelector("button"), async () => {
    const content = { old_password: old_password.value, new_password: new_password.value };
    if (!(await send("PUT", "api/login/password", content))) return;
    event.target.reset();
    show(texts.saved, true);
    document.getElementById("old").hidden = false;
  });
});

for (const id of ["allow", "refuse"]) {
  document.getElementById(id)?.addEventListener("click", (event) => {
    during(event.target, async () => {
      const query = Object.fromEntries(new URLSearchParams(location.search));
      const answer = await send("POST", "oauth/authorize", { query, allow: id === "allow" });
      if (answer) location.replace(answer.location);
    });
  });
}

document.getElementById("sign-out")?.addEventListener("click", (event) => {
  during(event.target, async () => {
    if (await send("DELETE", "api/login")) location.replace(root + "login");
  });
});
"""

_FORM = """<h1>{sign_in_title}</h1>
<form id="sign-in" method="post" action="{root}login">
<label>{name}<input name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required
 maxlength="1000" autofocus></label>
<label>{password}<input name="password" type="password" autocomplete="current-password" required
 maxlength="1024"></label>
<p id="message" class="message" role="alert">{message}</p>
<button class="main">{sign_in}</button>
</form>"""

_ACCOUNT = """<h1>{signed_in}</h1>
<form id="password-form" method="post" action="{root}login">
<input name="username" type="text" autocomplete="username" value="{user}" readonly hidden>
<label id="old"{hide_old}>{old_password}<input name="old_password" type="password" autocomplete="current-password"
 maxlength="1024"></label>
<label>{new_password}<input name="new_password" type="password" autocomplete="new-password" required
 minlength="8" maxlength="1024"></label>
<p class="note">{password_note}</p>
<p id="message" class="message" role="status">{message}</p>
<button class="main">{set_password}</button>
</form>
<div class="actions">
<a class="button" href="{root}">{open}</a>
<button id="sign-out" type="button">{sign_out}</button>
</div>"""

_CONSENT = """<h1>{allow_title}</h1>
<p>{allow_note}</p>
<p id="message" class="message" role="status"></p>
<div class="actions">
<button id="allow" type="button" class="main">{allow}</button>
<button id="refuse" type="button">{refuse}</button>
</div>"""

_MARKUP = """<!doctype html>
<html lang="{language}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>{sign_in_title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body data-root="{root}" data-own="{own}" data-texts="{texts}">
<main>
{content}
<noscript><p>{no_script}</p></noscript>
<p id="insecure" class="note" hidden>{insecure}</p>
</main>
<script>{script}</script>
</body>
</html>
"""
_IN_SCRIPT = ("wait", "wrong", "wrong_old", "unchecked", "failed", "saved")


def markup(
    *,
    root: str,
    languages: str,
    message: str = "",
    user: str | None = None,
    has_password: bool = True,
    own: bool = False,
) -> LoginPage:
    """Return the page to sign in, or that of a user who has.

    ``root`` leads from the page to the root of the server; ``languages`` is the header Accept-Language. ``message``
    is the name of a text to show, "" for none. ``own``: the page stands at its own address.
    """
    texts = _texts(chosen_language(languages))
    shown = {
        "user": user or "",
        "signed_in": texts["signed_in"].replace("{name}", user or ""),
        "message": texts[message] if message else "",
    }
    hide_old = {"hide_old": "" if has_password else " hidden"}
    return _page(_FORM if user is None else _ACCOUNT, root, languages, shown, hide_old, own=own)


def consent_markup(*, root: str, languages: str, user: str, client: str, days: int) -> LoginPage:
    """Return the page on which a signed-in user admits a program, which calls itself ``client``."""
    texts = _texts(chosen_language(languages))
    shown = {
        "allow_title": texts["allow_title"].replace("{client}", client),
        "allow_note": texts["allow_note"].replace("{name}", user).replace("{days}", str(days)),
    }
    return _page(_CONSENT, root, languages, shown, {})


def _page(
    template: str, root: str, languages: str, shown: Mapping[str, str], markup: Mapping[str, str], *, own: bool = False
) -> LoginPage:
    """Return a page with texts, which are escaped, and markup."""
    language = chosen_language(languages)
    texts = _texts(language)
    every = {
        **texts,
        **shown,
        "root": root,
        "texts": json.dumps({name: texts[name] for name in _IN_SCRIPT}, ensure_ascii=False),
        "own": "1" if own else "",
        "language": language,
        "direction": "rtl" if language in _RIGHT_TO_LEFT else "ltr",
    }
    escaped = {name: html.escape(text) for name, text in every.items()}
    content = template.format(**escaped, **markup)
    page = _MARKUP.format(**escaped, content=content, style=_STYLE, script=_SCRIPT)
    return LoginPage(page, _policy())


@cache
def _policy() -> str:
    return (
        f"default-src 'none'; script-src '{_source(_SCRIPT)}'; style-src '{_source(_STYLE)}'; img-src data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _source(text: str) -> str:
    """Return the source of an inline script or style in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def chosen_language(header: str) -> str:
    """Return the language of the page for an Accept-Language header (RFC 9110, 12.5.4)."""
    ranges = [match for part in header[:_MAX_HEADER].split(",") if (match := _RANGE.fullmatch(part))]
    for match in sorted(ranges, key=lambda match: -float(match[2] or 1)):
        if (found := _available(match[1])) is not None:
            return found
    return _DEFAULT


def _available(tag: str) -> str | None:
    """Return the language with texts that suits a tag such as ``de-AT``."""
    known = {name.lower(): name for name in _languages()}
    lower = tag.lower()
    if lower.startswith("pt"):
        return known.get("pt-br")
    for start, name in _CHINESE.items():
        if lower.startswith(start):
            return known.get(name.lower())
    return known.get(lower) or known.get(lower.partition("-")[0])


@cache
def _languages() -> tuple[str, ...]:
    return tuple(path.parent.name for path in _LOCALES.glob("*/login.json"))


@cache
def _texts(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((_LOCALES / language / "login.json").read_text(encoding="utf-8"))
    return texts
