// Pages work without this. With it they stay up to date: the server says when something has changed, and what is shown
// is fetched anew and put in the place of what was there. When the node that serves the page is lost, it looks for
// another one and goes on there.

const main = document.querySelector("main");
const strip = document.querySelector(".strip");
const banner = document.querySelector("#lost");
const others = JSON.parse(document.body.dataset.nodes || "[]");
// A node that says nothing for so long is looked into; it says something every 2 s.
const SILENCE = 6000;
let fetching = false;
let again = false;
let stream = null;
let heard = Date.now();
let leaving = false;

const two = (n) => String(n).padStart(2, "0");

// Times as the reader's clock shows them.
function localise(page) {
  for (const time of page.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    time.textContent = "day" in time.dataset ? `${day} ${clock}` : clock;
    time.title = time.dateTime;
  }
  const zone = page.querySelector("[data-zone]");
  if (zone) zone.textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
}

function isBusy(element) {
  return element.matches("form") && (element.contains(document.activeElement) || element.dataset.touched);
}

// Has `old` look like `fresh`, and leaves alone what somebody is typing into or has opened.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  if (isBusy(old)) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const left = [...old.childNodes];
  const right = [...fresh.childNodes];
  right.forEach((child, at) => (at < left.length ? become(left[at], child) : old.append(child)));
  left.slice(right.length).forEach((child) => child.remove());
}

async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(10000) });
    if (answer.type === "opaqueredirect") return location.reload();
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      localise(page);
      const log = main.querySelector(".lines");
      const atEnd = log && log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      become(main, page.querySelector("main"));
      become(strip, page.querySelector(".strip"));
      if (atEnd) log.scrollTop = log.scrollHeight;
    }
  } catch {
    // The stream notices it, too.
  } finally {
    fetching = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

// A node that answers, or nothing.
async function answers(origin) {
  await fetch(`${origin}/health`, { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(2000) });
  return origin;
}

// Goes on at another node where this one does not answer.
async function look() {
  if (leaving) return;
  leaving = true;
  try {
    await answers(location.origin);
    banner.hidden = true;
    if (stream.readyState === EventSource.CLOSED) listen();
    heard = Date.now();
  } catch {
    banner.hidden = false;
    const origin = await Promise.any(others.map(answers)).catch(() => null);
    if (origin) location.href = origin + location.pathname + location.search;
  } finally {
    leaving = false;
  }
}

function listen() {
  stream?.close();
  stream = new EventSource(`/live?after=${strip.dataset.index}`);
  stream.addEventListener("open", () => {
    heard = Date.now();
    banner.hidden = true;
  });
  stream.addEventListener("here", () => (heard = Date.now()));
  stream.addEventListener("changed", () => {
    heard = Date.now();
    refresh();
  });
  stream.addEventListener("error", look);
}

localise(document);
if (main.dataset.live !== undefined) {
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form");
    if (form) form.dataset.touched = "1";
  });
  const log = main.querySelector(".lines");
  if (log) log.scrollTop = log.scrollHeight;
  listen();
  window.addEventListener("pagehide", () => stream.close());
  setInterval(() => Date.now() - heard > SILENCE && look(), 1000);
  // Counters and log lines are not in the log of the cluster, so nobody says that they have moved.
  const every = Number(main.dataset.every || 0);
  if (every) setInterval(() => document.hidden || refresh(), every * 1000);
}
