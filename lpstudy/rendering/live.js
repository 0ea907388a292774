// Shows the page's next version as soon as there is one, with order, filters, focus and place as they are.
const PAUSE = 3000; // milliseconds between two questions
let version = null;
setTimeout(renew, PAUSE);

async function renew() {
  try {
    if (!document.hidden) await ask();
  } catch {
    version = null; // so that the next answer is shown, whatever it is
    document.querySelector(".live").textContent = "No answer: lpstudy watch has ended. This is the page that it showed last.";
  }
  setTimeout(renew, PAUSE);
}

async function ask() {
  const headers = version === null ? {} : { "If-None-Match": version };
  const answer = await fetch(location.pathname, { cache: "no-store", headers });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(answer.statusText);
  replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
  version = answer.headers.get("ETag");
}

function replace(next) {
  const tables = new Map(namedTables().map(([name, table]) => [name, stateOf(table)]));
  const focus = focusedPlace();
  const place = visibleHeading();
  for (const part of ["main", "nav", ".live"]) {
    document.querySelector(part).replaceWith(document.adoptNode(next.querySelector(part)));
  }
  addControls();
  for (const [name, table] of namedTables()) {
    if (tables.has(name)) restore(table, tables.get(name));
  }
  const control = focus && controlsOf(new Map(namedTables()).get(focus.name))[focus.index];
  if (control) {
    control.focus({ preventScroll: true });
    if (focus.selection) control.setSelectionRange(...focus.selection);
  }
  const heading = place && document.getElementById(place.id);
  if (heading) window.scrollBy(0, heading.getBoundingClientRect().top - place.top);
}

// The name of a table within the page: its section's title and its number in there.
function namedTables() {
  const counts = {};
  return [...document.querySelectorAll("table")].map((table) => {
    const title = table.getAttribute("aria-label");
    counts[title] = (counts[title] ?? 0) + 1;
    return [`${title} ${counts[title]}`, table];
  });
}

function controlsOf(table) {
  if (!table) return [];
  const filter = filterOf(table);
  return [...table.querySelectorAll("th button"), ...(filter ? [filter] : [])];
}

function filterOf(table) {
  const label = table.parentElement.previousElementSibling;
  return label?.matches(".filter") ? label.querySelector("input") : null;
}

function stateOf(table) {
  const head = table.querySelector("th[aria-sort]");
  return {
    column: head && head.textContent,
    order: head && head.getAttribute("aria-sort"),
    words: filterOf(table)?.value ?? "",
    left: table.parentElement.scrollLeft,
  };
}

function restore(table, { column, order, words, left }) {
  const head = [...table.tHead.rows[0].cells].find((one) => one.textContent === column);
  for (let clicks = 0; head && clicks < 2 && head.getAttribute("aria-sort") !== order; clicks += 1) {
    head.querySelector("button")?.click();
  }
  const filter = filterOf(table);
  if (filter && words) {
    filter.value = words;
    filter.dispatchEvent(new Event("input"));
  }
  table.parentElement.scrollLeft = left;
}

function focusedPlace() {
  const focused = document.activeElement;
  for (const [name, table] of namedTables()) {
    const index = controlsOf(table).indexOf(focused);
    if (index < 0) continue;
    const selection = focused.matches("input") ? [focused.selectionStart, focused.selectionEnd] : null;
    return { name, index, selection };
  }
  return null;
}

// The last heading that is above the window's middle: where it stands now, it stands afterwards.
function visibleHeading() {
  const above = [...document.querySelectorAll("h2[id]")].filter(
    (one) => one.getBoundingClientRect().top < window.innerHeight / 2
  );
  const heading = above.at(-1);
  return window.scrollY && heading ? { id: heading.id, top: heading.getBoundingClientRect().top } : null;
}
