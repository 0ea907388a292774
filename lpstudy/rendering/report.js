"use strict";
// Sorts and filters the page's tables, which are complete without it.
addControls();

function addControls() {
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 2 || table.tHead.hidden) continue;
    addSorting(table, body);
    if (body.rows.length > 4) addFilter(table, body);
  }
}

function addSorting(table, body) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const rows = [...body.rows].map((row) => [keyOf(row.cells[column], head), row]);
      rows.sort(([a], [b]) => compare(a, b, order === "ascending" ? 1 : -1));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function keyOf(cell, head) {
  if (!head.classList.contains("number")) return cell.textContent;
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

// Cells without a number come last in either order.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function addFilter(table, body) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  input.setAttribute("aria-label", `Filter the rows of ${table.getAttribute("aria-label")}`);
  label.className = "filter";
  label.append("Filter rows", input, count);
  table.parentElement.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = input.value ? `${shown} of ${body.rows.length} rows` : "";
  });
}
