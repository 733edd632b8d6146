// Keeps the page up to date while somebody looks at it: asks again and again, and changes what has changed.
"use strict";

/** Pause between an answer and the next question. */
const EVERY_MS = 2000;

/** Longest wait for an answer. */
const PATIENCE_MS = 5000;

const state = document.getElementById("state");
const stale = document.getElementById("stale");
let answeredAt = Date.now();
let timer;

/** Makes the children and attributes of one element those of another; elements that stay keep focus and selection. */
function follow(now, next) {
  for (const { name } of [...now.attributes]) {
    // An opened row stays open.
    if (!next.hasAttribute(name) && name !== "open") now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  const keyOf = (node) => (node.dataset ? node.dataset.key : undefined);
  const keyed = new Map([...now.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let index = 0;
  for (const wanted of next.childNodes) {
    const here = now.childNodes[index];
    const key = keyOf(wanted);
    let child = key === undefined ? here : keyed.get(key);
    if (!child || child.nodeName !== wanted.nodeName || keyOf(child) !== key) {
      child = document.importNode(wanted, true);
    } else if (child.nodeType === Node.ELEMENT_NODE) {
      follow(child, wanted);
    } else if (child.data !== wanted.data) {
      child.data = wanted.data;
    }
    if (child !== here) now.insertBefore(child, here || null);
    index += 1;
  }
  while (now.childNodes.length > index) now.lastChild.remove();
}

async function ask() {
  clearTimeout(timer);
  try {
    // Of the origin and path alone: a page that was asked for with a password in its address may not ask with it.
    const url = new URL("status.json", location.origin + location.pathname);
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
    const status = await answer.json();
    const next = new DOMParser().parseFromString(`<main>${status.html}</main>`, "text/html");
    follow(state, Object.assign(next.querySelector("main"), { id: "state" }));
    if (document.title !== status.title) document.title = status.title;
    answeredAt = Date.now();
    stale.hidden = true;
  } catch {
    const seconds = Math.round((Date.now() - answeredAt) / 1000);
    const since = new Date(answeredAt).toISOString().slice(11, 19);
    stale.textContent = `STALE since ${since} UTC, for ${seconds} s: the appliance does not answer; asking again`;
    stale.hidden = false;
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) ask();
});
if (!document.hidden) timer = setTimeout(ask, EVERY_MS);
