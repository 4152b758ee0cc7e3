// Pages work without this. With it they stay up to date: the server says when something has changed, and what is shown
// is fetched anew and put in the place of what was there. When the node that serves the page is lost, it looks for
// another one and goes on there.

const main = document.querySelector("main");
const strip = document.querySelector(".strip");
const lost = document.querySelector("#lost");
const old = document.querySelector("#old");
const others = JSON.parse(document.body.dataset.nodes || "[]");
// A node that says nothing for so long is looked into; it says something every 2 s.
const SILENCE = 6000;
// Another node may need so long to answer before one more is tried.
const JUMP = 15000;
let held = false;
let fetching = false;
let again = false;
let fetched = Date.now();
let stream = null;
let heard = Date.now();
let looking = false;
let pause = 500;

const two = (n) => String(n).padStart(2, "0");

// Times as the reader's clock shows them.
function localise(page) {
  for (const time of page.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    // A time that may be of another day has its day only then.
    const isToday = time.dataset.day === "past" && at.toDateString() === new Date().toDateString();
    time.textContent = "day" in time.dataset && !isToday ? `${day} ${clock}` : clock;
    time.title = time.dateTime;
  }
  const zone = page.querySelector("[data-zone]");
  if (zone) zone.textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
}

const isTouched = (form) => "touched" in form.dataset || form.contains(document.activeElement);

// Whether somebody types into it, or is about to press one of its buttons.
function isBusy(element) {
  if (element.nodeType !== Node.ELEMENT_NODE) return false;
  return element.matches("form") ? isTouched(element) : [...element.querySelectorAll("form")].some(isTouched);
}

// What a form says by itself, but for what each page says anew.
const fixed = ({ name, value }) => (/^(word|key|was\..*)$/.test(name) ? "" : `${name}=${value} `);

// By what an element is known again, wherever it stands; nothing where its place alone says what it is.
function keyOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return null;
  if (node.id) return `#${node.id}`;
  const word = (selector) => node.querySelector(selector)?.textContent.trim();
  switch (node.nodeName) {
    case "FORM":
      return `form ${node.getAttribute("action")} ${[...node.querySelectorAll("input[type=hidden]")].map(fixed).join("")}`;
    case "SECTION":
    case "DETAILS":
      return `${node.nodeName} ${word("h2, summary")}`;
    case "TR":
      return `row ${word("td, th")}`;
    case "P":
      return node.className ? `p ${node.className}` : null;
    default:
      return null;
  }
}

// Has `shown` look like `fresh`, and leaves alone what somebody is typing into or has opened.
function become(shown, fresh) {
  if (shown.isEqualNode(fresh)) return;
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.nodeValue = fresh.nodeValue;
    return;
  }
  if (shown.matches("form, tr") && isBusy(shown)) return;
  for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  const keyed = new Map();
  const plain = [];
  for (const child of shown.childNodes) {
    const key = keyOf(child);
    if (key === null) plain.push(child);
    else if (!keyed.has(key)) keyed.set(key, child);
  }
  // What goes, goes first, with the blank behind it: what stays then keeps its place, and the focus in it.
  const wants = new Set([...fresh.childNodes].map(keyOf));
  for (const [key, child] of keyed) {
    if (wants.has(key) || isBusy(child)) continue;
    const blank = child.nextSibling;
    keyed.delete(key);
    child.remove();
    if (blank && plain.includes(blank) && blank.nodeType === Node.TEXT_NODE && !blank.data.trim()) {
      plain.splice(plain.indexOf(blank), 1);
      blank.remove();
    }
  }
  let at = shown.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    let child = key === null ? plain[0] : keyed.get(key);
    if (child && child.nodeName !== wanted.nodeName) child = null;
    if (!child) {
      shown.insertBefore(wanted, at);
      continue;
    }
    if (key === null) plain.shift();
    else keyed.delete(key);
    // What is left out by now may stand in between; moving the others keeps what has the focus in its place.
    while (at && at !== child && !keep(at, keyed, plain)) at = removed(at);
    if (at === child) at = at.nextSibling;
    else shown.insertBefore(child, at);
    become(child, wanted);
  }
  while (at) at = isBusy(at) ? at.nextSibling : removed(at);
}

const keep = (node, keyed, plain) => isBusy(node) || plain.includes(node) || keyed.get(keyOf(node)) === node;

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// Whether the newest line of a log is in view.
const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

// Whoever reads further up in a log, marks something to copy it, or has asked for it, is not disturbed.
function isHeld() {
  const log = main.querySelector(".lines");
  const isMarking = !getSelection().isCollapsed && main.contains(getSelection().anchorNode);
  return held || isMarking || (log && !isAtEnd(log));
}

async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  again = false;
  try {
    const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(10000) });
    // Signed out, or no longer for this reader to see.
    if (answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status)) return location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    localise(page);
    const log = main.querySelector(".lines");
    const atEnd = log && isAtEnd(log);
    if (!isHeld()) become(main, page.querySelector("main"));
    become(strip, page.querySelector(".strip"));
    if (atEnd) log.scrollTop = log.scrollHeight;
    old.hidden = true;
  } catch {
    old.hidden = false;
    setTimeout(refresh, 2000);
  } finally {
    fetching = false;
    fetched = Date.now();
    if (again) refresh();
  }
}

// A node that answers, or nothing.
async function answers(origin) {
  await fetch(`${origin}/health`, { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(2000) });
  return origin;
}

// Where nothing is heard: goes on here if the node answers, and at another one if it does not.
async function look() {
  if (looking) return;
  looking = true;
  let rest = 0;
  try {
    await answers(location.origin);
    const isSilent = Date.now() - heard > SILENCE;
    heard = Date.now();
    lost.hidden = true;
    if (isSilent || stream.readyState === EventSource.CLOSED) {
      // A session that has ended leads to the page to sign in.
      await refresh();
      rest = pause;
      pause = Math.min(pause * 2, 30000);
      setTimeout(listen, rest);
    }
  } catch {
    lost.hidden = false;
    // What is half typed would be lost.
    const isTyping = [...document.querySelectorAll("form")].some((form) => "touched" in form.dataset);
    const origin = isTyping ? null : await Promise.any(others.map(answers)).catch(() => null);
    if (origin) {
      rest = JUMP;
      location.href = origin + location.pathname + location.search;
    }
  } finally {
    setTimeout(() => (looking = false), rest);
  }
}

function listen() {
  stream?.close();
  stream = new EventSource(`/live?after=${strip.dataset.index}`);
  stream.addEventListener("open", () => {
    heard = Date.now();
    lost.hidden = true;
  });
  stream.addEventListener("here", (event) => {
    heard = Date.now();
    pause = 500;
    // A page that cannot be had now is tried again anyway.
    if (event.data !== strip.dataset.now && old.hidden) refresh();
  });
  stream.addEventListener("changed", () => {
    heard = Date.now();
    refresh();
  });
  stream.addEventListener("error", look);
}

// Counters and log lines are not in the log of the cluster, so nobody says that they have moved.
function poll() {
  const every = Number(main.dataset.every || 0) * 1000;
  if (every && !fetching && !document.hidden && Date.now() - fetched >= every) refresh();
}

localise(document);
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  // Without scripts the server asks.
  if (button?.name !== "ask") return;
  if (confirm(`${button.value}?`)) {
    button.removeAttribute("name");
    // The form has been read by then; the next press asks again.
    setTimeout(() => (button.name = "ask"));
  } else {
    event.preventDefault();
  }
});
if (main.dataset.live !== undefined) {
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form");
    if (form) form.dataset.touched = "";
  });
  const log = main.querySelector(".lines");
  if (log) log.scrollTop = log.scrollHeight;
  const hold = document.querySelector("#hold");
  hold.hidden = false;
  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", String(held));
    if (!held) refresh();
  });
  listen();
  window.addEventListener("pagehide", () => stream.close());
  // A page that comes back from where it was put aside.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    listen();
    refresh();
  });
  setInterval(() => Date.now() - heard > SILENCE && look(), 1000);
  setInterval(poll, 500);
}
