// What tests ask of a page. Chromedriver wraps it around every script, so nothing of it stays in the page.

const text = (selector) => document.querySelector(selector).textContent;
const all = (selector) => [...document.querySelectorAll(selector)];
const state = () => text("#state");
const alarms = () => text(".alarms");
const figure = (title) => all("dt").find((each) => each.textContent === title).nextSibling.textContent;
const rows = (table) => Object.fromEntries(all(`${table} tbody tr`).map(
  ({ cells: [name, ...cells] }) => [name.textContent, cells.map((cell) => cell.textContent)]));
const polls = () => performance.getEntriesByType("resource").length;
const focused = () => [document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle];

// How many words there are, and those that WCAG AA would not pass.
function contrast() {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const paper = (element) => {
    const [red, green, blue, opaque = 1] = parts(getComputedStyle(element).backgroundColor);
    return opaque ? [red, green, blue] : paper(element.parentElement);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), poor = [];
  let node, seen = 0;
  while ((node = walk.nextNode())) {
    const around = node.parentElement;
    if (!node.data.trim() || around.closest("script, noscript") || !around.checkVisibility()) continue;
    const inks = [luminance(parts(getComputedStyle(around).color)), luminance(paper(around))];
    const ratio = (Math.max(...inks) + 0.05) / (Math.min(...inks) + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.data}`);
  }
  return [seen, poor];
}

// What is cut off at the right; a table's head is for screen readers only where rows are drawn as cards.
const outside = () => all("body *")
  .filter((each) => !each.closest("thead") && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200));

// Be a reader in the middle of the page, and notice whatever would disturb one.
function watch() {
  window.same = document.querySelector(".pools tbody tr");
  [window.shifts, window.said] = [[], []];
  new PerformanceObserver((list) => shifts.push(...list.getEntries().map((each) => each.value))).observe({ type: "layout-shift" });
  for (const live of all("[role=status]"))
    new MutationObserver(() => said.push(live.textContent)).observe(live, { subtree: true, childList: true, characterData: true });
  const details = all("details")[1];
  details.open = true;
  details.querySelector("summary").focus({ preventScroll: true });
  scrollTo(0, 400);
}

const kept = () => [
  same === document.querySelector(".pools tbody tr"), all("details")[1].open, document.activeElement.textContent, scrollY,
  performance.getEntriesByType("navigation").length, said, shifts.reduce((sum, value) => sum + value, 0),
];
