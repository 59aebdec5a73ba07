"use strict";
// The server draws the page, numbers and charts alike. This fetches it anew and changes what differs, in place: focus,
// selection, scroll and a screen reader's cursor stay where they are. Its own part is what only a browser remembers: the
// last two minutes.
const EVERY_MS = 2000, SLOWEST_MS = 60000, PATIENCE_MS = 10000, PAST_MS = 120000;
const ADDRESS = location.origin + location.pathname; // location.href may hold a password, which fetch refuses
const ASKS = { "x-requested-with": "dashboard" }; // then a key that was changed is refused, and no window asks for another
const state = document.getElementById("state"), pause = document.getElementById("pause"), past = new Map();
let timer, asking = false, waitMs = EVERY_MS, heard = new Date();

function become(here, there) {
  if (here.nodeType === Node.TEXT_NODE) {
    if (here.data !== there.data) here.data = there.data;
    return;
  }
  for (const { name, value } of there.attributes) if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  for (const { name } of [...here.attributes]) if (name !== "open" && !there.hasAttribute(name)) here.removeAttribute(name);
  const old = [...here.childNodes], next = [...there.childNodes];
  next.forEach((child, n) => {
    if (!old[n]) here.append(child);
    else if (old[n].nodeName !== child.nodeName) old[n].replaceWith(child);
    else become(old[n], child);
  });
  old.slice(next.length).forEach((child) => child.remove());
}

function growth(seen) {
  return seen.slice(1).map(([at, ...values], n) => [at, ...values.map((value, i) => Math.max(0, value - seen[n][i + 1]))]);
}

function remember(chart, at) {
  const seen = [...(past.get(chart.id) || []), [at, ...chart.dataset.now.split(" ").map(Number)]];
  past.set(chart.id, seen.filter(([when]) => at - when <= PAST_MS));
  const points = "grows" in chart.dataset ? growth(past.get(chart.id)) : past.get(chart.id);
  const top = Math.max(1, ...points.flatMap(([, ...values]) => values)), most = [];
  chart.querySelectorAll("polyline").forEach((line, i) => {
    most.push(Math.max(0, ...points.map((point) => point[i + 1])));
    const place = (point) => `${100 - (100 * (at - point[0])) / PAST_MS},${19 - (18 * point[i + 1]) / top}`;
    line.setAttribute("points", points.map(place).join(" "));
  });
  chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}; at most ${most.join(" and ")} in the last two minutes`);
}

function rememberAll(main) {
  for (const chart of main.querySelectorAll("[data-now]")) remember(chart, Date.now());
  return main;
}

function say(text, bad = false) {
  if (state.textContent !== text) state.textContent = text; // said once, not every two seconds
  state.className = bad ? "bad" : "";
}

function watching() { return !document.hidden && pause.getAttribute("aria-pressed") === "false"; }

async function poll() {
  clearTimeout(timer);
  if (asking || !watching()) return;
  asking = true;
  try {
    const answer = await fetch(ADDRESS, { cache: "no-store", headers: ASKS, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401 || answer.status === 403) return say("The key is not accepted any more: reload the page.", true);
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    become(document.querySelector("main"), rememberAll(next.querySelector("main")));
    [waitMs, heard] = [EVERY_MS, new Date()];
    if (watching()) say("Live");
  } catch {
    waitMs = Math.min(2 * waitMs, SLOWEST_MS);
    say(`No answer since ${heard.toLocaleTimeString()}: trying again.`, true);
  } finally {
    asking = false;
  }
  timer = setTimeout(poll, waitMs);
}

pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") === "false";
  pause.setAttribute("aria-pressed", paused);
  if (paused) say("Paused");
  else poll();
});
document.addEventListener("visibilitychange", poll);

pause.hidden = false;
say("Live");
rememberAll(document);
timer = setTimeout(poll, EVERY_MS);
