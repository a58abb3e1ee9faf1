"use strict";
// Everything here is a convenience: without it the page shows all views one below the other.
// What runs measured lies beside the page, if it is here at all; see report/measured.py.
globalThis.measured = (parts) => {
  for (const place of document.querySelectorAll("[data-measured]"))
    place.innerHTML = parts[place.dataset.measured];
  sortable();
};
if (document.documentElement.dataset.measuredBy) {
  const beside = document.createElement("script");
  beside.src = document.documentElement.dataset.measuredBy;
  document.head.append(beside);
}

for (const views of document.querySelectorAll(".views")) {
  const panes = [...views.querySelectorAll(":scope > .view")];
  const bar = document.createElement("div");
  bar.className = "tabs";
  bar.setAttribute("role", "tablist");
  const buttons = panes.map((pane) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.textContent = pane.dataset.label;
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-label", pane.dataset.label);
    bar.append(button);
    return button;
  });
  const show = (chosen) => panes.forEach((pane, n) => {
    pane.hidden = n !== chosen;
    buttons[n].setAttribute("aria-selected", n === chosen);
    buttons[n].tabIndex = n === chosen ? 0 : -1;
  });
  buttons.forEach((button, n) => {
    button.addEventListener("click", () => show(n));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (n + step + panes.length) % panes.length;
      show(next);
      buttons[next].focus();
    });
  });
  views.prepend(bar);
  views.classList.add("tabbed");
  show(0);
}

const sortable = () => document.querySelectorAll("table.sortable:not([data-ready])").forEach((table) => {
  table.dataset.ready = "";
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const key = ({ cells: { [column]: cell } }) =>
        (cell.dataset.order === undefined ? cell.querySelector("[data-order]") : cell)?.dataset.order
        ?? cell.textContent;
      const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // missing numbers stay last
        const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
});
sortable();

const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
const marks = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
const mark = () => {
  let here = marks[0];
  for (const item of marks) if (item.getBoundingClientRect().top < 140) here = item;
  for (const [id, link] of links) link.classList.toggle("here", here && id === here.id);
};
addEventListener("scroll", mark, { passive: true });
mark();

const toggle = document.querySelector(".theme");
const root = document.documentElement;
const dark = () => root.dataset.theme
  ? root.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
const name = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
toggle.hidden = false;
toggle.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
name();
