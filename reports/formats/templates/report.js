// The list of scenarios and the keyboard of the matrix. All text enters the page as text nodes, never as markup.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [ID, EXPERIMENT, POINT, HIT, DEPTH, METHOD, VERDICT, EXPLANATION, FINDING, FAULT, STATE, REPLAY] = Array(12).keys();
  const PAGE = 100;
  const $ = (id) => document.getElementById(id);
  const list = $("list"), body = list.tBodies[0], fields = ["q", "verdict", "experiment", "finding"];
  const haystack = [];  // Made for each row when a search first needs it, so that a large report opens at once.
  const state = { q: "", verdict: "", experiment: "", finding: "", cell: null, sort: "", down: false, page: 0 };
  let shown = [];

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // Filter and order

  const plan = data.rows.map((_, number) => number);
  const worstFirst = [...plan].sort((a, b) => data.rows[b][VERDICT] - data.rows[a][VERDICT] || a - b);
  const keys = {
    verdict: (row) => row[VERDICT], id: (row) => row[ID], point: (row) => data.point[row[POINT]],
    hit: (row) => row[HIT], depth: (row) => row[DEPTH], explanation: (row) => data.explanation[row[EXPLANATION]],
  };

  function ordered() {
    if (!state.sort) return worstFirst;
    const key = keys[state.sort], values = data.rows.map(key), turn = state.down ? -1 : 1;
    return [...plan].sort((a, b) => turn * (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : 0) || a - b);
  }

  function searched(number) {
    const row = data.rows[number];
    return haystack[number] ??= [row[ID], data.point[row[POINT]], data.explanation[row[EXPLANATION]]].join("\n").toLowerCase();
  }

  function matches(number, words) {
    const row = data.rows[number], cell = state.cell;
    return (!state.verdict || data.verdicts[row[VERDICT]][0] === state.verdict)
      && (!state.experiment || data.experiment[row[EXPERIMENT]] === state.experiment)
      && (!state.finding || data.finding[row[FINDING]] === state.finding)
      && (!cell || (data.experiment[row[EXPERIMENT]] === cell.experiment && data.point[row[POINT]] === cell.point
        && row[HIT] >= cell.from && row[HIT] <= cell.to))
      && words.every((word) => searched(number).includes(word));
  }

  // Show

  function update() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const all = !words.length && !state.verdict && !state.experiment && !state.finding && !state.cell;
    shown = all ? ordered() : ordered().filter((number) => matches(number, words));
    state.page = Math.min(state.page, Math.max(0, Math.ceil(shown.length / PAGE) - 1));
    const from = state.page * PAGE, rows = shown.slice(from, from + PAGE);
    body.replaceChildren(...rows.map(rowOf));
    const count = (n) => n.toLocaleString("en");
    const total = `${count(data.rows.length)} ${data.rows.length === 1 ? "scenario" : "scenarios"}`;
    $("status").textContent = shown.length === data.rows.length ? total : `${count(shown.length)} of ${total}`;
    $("page").textContent = shown.length ? `${count(from + 1)} to ${count(from + rows.length)} of ${count(shown.length)}` : "none";
    $("previous").disabled = state.page === 0;
    $("next").disabled = from + PAGE >= shown.length;
    const cell = $("cell-filter");
    cell.hidden = !state.cell;
    if (state.cell) {
      cell.textContent = `${state.cell.point} @ ${state.cell.from}${state.cell.to > state.cell.from ? ` to ${state.cell.to}` : ""}`;
      cell.setAttribute("aria-label", `${cell.textContent}: remove this filter`);
    }
    for (const button of list.querySelectorAll("[data-sort]")) {
      const head = button.closest("th");
      if (button.dataset.sort === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    remember();
  }

  function rowOf(number) {
    const row = data.rows[number], [verdict, kind] = data.verdicts[row[VERDICT]];
    const open = element("button", { type: "button", class: "open", "aria-expanded": "false" }, row[ID]);
    open.addEventListener("click", () => toggle(open, row));
    const chip = element("span", { class: `chip ${kind}` }, element("span", { class: `sign ${kind}`, "aria-hidden": "true" }), verdict);
    const outcome = data.explanation[row[EXPLANATION]].split("\n")[0];
    return element("tr", { class: "row" },
      element("td", {}, chip), element("td", { class: "id" }, open, element("span", { class: "brief" }, outcome)),
      element("td", { class: "point" }, data.point[row[POINT]]),
      element("td", { class: "num" }, String(row[HIT])), element("td", { class: "num" }, String(row[DEPTH] || "")),
      element("td", { class: "what" }, outcome));
  }

  function toggle(button, row) {
    const here = button.closest("tr"), expand = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(expand));
    if (expand) here.after(detailsOf(row));
    else here.nextElementSibling.remove();
  }

  function detailsOf(row) {
    const [verdict, , meaning] = data.verdicts[row[VERDICT]];
    const fault = row[FAULT] || (row[ID].includes(":") ? row[ID].slice(row[ID].lastIndexOf(":") + 1) : "");
    const facts = {
      outcome: data.explanation[row[EXPLANATION]] || meaning,
      experiment: data.experiment[row[EXPERIMENT]], point: data.point[row[POINT]], hit: row[HIT],
      "crashes during recovery": row[DEPTH], method: data.method[row[METHOD]], fault,
      finding: data.finding[row[FINDING]], state: data.state[row[STATE]],
    };
    const rows = Object.entries(facts).filter(([, value]) => value !== "").map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(value))));
    const cell = element("td", { colspan: "6" }, element("dl", { class: "rows" }, ...rows));
    const command = data.replay[row[REPLAY]].replaceAll("\0", () => row[ID]);
    if (command) cell.append(element("div", { class: "command" }, element("code", {}, command),
      element("button", { type: "button", class: "copy" }, "Copy")));
    return element("tr", { class: "more" }, cell);
  }

  // The address remembers the filter, so that it can be sent to somebody

  function remember() {
    const saved = new URLSearchParams();
    for (const name of [...fields, "sort"]) if (state[name]) saved.set(name, state[name]);
    if (state.down) saved.set("down", "1");
    if (state.page) saved.set("page", String(state.page + 1));
    if (state.cell) saved.set("cell", JSON.stringify(state.cell));
    const text = saved.toString(), hash = text ? `#?${text}` : location.hash.startsWith("#?") ? "#" : location.hash;
    try { history.replaceState(null, "", hash || location.pathname); } catch { /* a page without an address of its own */ }
  }

  function recall() {
    if (!location.hash.startsWith("#?")) return;
    const saved = new URLSearchParams(location.hash.slice(2));
    for (const name of fields) $(name).value = state[name] = saved.get(name) || "";
    state.sort = Object.hasOwn(keys, saved.get("sort")) ? saved.get("sort") : "";
    state.down = saved.has("down");
    state.page = Math.max(0, (Number.parseInt(saved.get("page"), 10) || 1) - 1);
    try {
      const { experiment, point, from, to } = JSON.parse(saved.get("cell"));
      state.cell = { experiment, point, from, to };
    } catch { state.cell = null; }
  }

  function choose(change) {
    Object.assign(state, { page: 0 }, change);
    for (const name of fields) $(name).value = state[name];
    update();
  }

  function goToList() {
    $("scenarios").scrollIntoView();
    $("status").tabIndex = -1;
    $("status").focus({ preventScroll: true });
  }

  // Wiring

  const used = (column, texts) => [...new Set(data.rows.map((row) => row[column]))].map((number) => texts[number]).filter(Boolean);
  const words = { verdict: used(VERDICT, data.verdicts.map(([name]) => name)), experiment: used(EXPERIMENT, data.experiment), finding: used(FINDING, data.finding) };
  for (const [name, options] of Object.entries(words)) $(name).append(...options.map((option) => element("option", { value: option }, option)));
  $("filters").addEventListener("input", () => choose(Object.fromEntries(fields.map((name) => [name, $(name).value]))));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    choose({ q: "", verdict: "", experiment: "", finding: "", cell: null, sort: "", down: false });
  });
  $("cell-filter").addEventListener("click", () => { choose({ cell: null }); $("q").focus(); });
  $("previous").addEventListener("click", () => { state.page -= 1; update(); goToList(); });
  $("next").addEventListener("click", () => { state.page += 1; update(); goToList(); });
  list.tHead.addEventListener("click", (event) => {
    const sort = event.target.closest("[data-sort]")?.dataset.sort;
    if (sort) choose({ sort, down: state.sort === sort ? !state.down : false });
  });
  document.addEventListener("click", (event) => {
    const finding = event.target.closest("[data-finding]"), copy = event.target.closest(".copy");
    if (finding) {
      choose({ q: "", verdict: "", experiment: "", cell: null, finding: finding.dataset.finding });
      goToList();
    }
    if (copy) copyText(copy);
  });

  async function copyText(button) {
    const text = button.previousElementSibling;
    getSelection().selectAllChildren(text);
    try { await navigator.clipboard.writeText(text.textContent); } catch { if (!document.execCommand("copy")) return; }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // The matrix: one stop for the tab key each, arrow keys within

  const tip = $("tip");
  for (const grid of document.querySelectorAll("[role=grid]")) {
    const rows = [...grid.tBodies[0].rows];
    const cellAt = (row, column) => rows[row]?.cells[column + 1];
    rows[0]?.cells[1]?.setAttribute("tabindex", "0");
    const place = (cell) => ({
      experiment: grid.dataset.experiment, point: cell.parentElement.cells[0].textContent,
      from: Number(cell.dataset.from), to: Number(cell.dataset.to),
    });
    const pick = (cell) => {
      if (!cell || !cell.dataset.from) return;
      choose({ q: "", verdict: "", experiment: "", finding: "", cell: place(cell) });
      goToList();
    };
    grid.addEventListener("click", (event) => pick(event.target.closest("td")));
    grid.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td");
      if (!cell) return;
      const row = rows.indexOf(cell.parentElement), column = cell.cellIndex - 1, last = cell.parentElement.cells.length - 2;
      const to = {
        ArrowRight: [row, column + 1], ArrowLeft: [row, Math.max(0, column - 1)], ArrowDown: [row + 1, column],
        ArrowUp: [Math.max(0, row - 1), column], Home: [event.ctrlKey ? 0 : row, 0], End: [event.ctrlKey ? rows.length - 1 : row, last],
      }[event.key];
      if (to) {
        cellAt(...to)?.focus();
        event.preventDefault();
      } else if (event.key === "Enter" || event.key === " ") {
        pick(cell);
        event.preventDefault();
      }
    });
    grid.addEventListener("focusin", (event) => {
      const cell = event.target.closest("td");
      if (!cell) return;
      grid.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
      cell.setAttribute("tabindex", "0");
      tell(cell);
    });
    grid.addEventListener("mouseover", (event) => tell(event.target.closest("td")));
    for (const gone of ["mouseleave", "focusout"]) grid.addEventListener(gone, () => { tip.hidden = true; });
    const tell = (cell) => {
      tip.hidden = !cell?.dataset.from;
      if (tip.hidden) return;
      const { point, from, to } = place(cell), box = cell.getBoundingClientRect();
      tip.replaceChildren(element("b", {}, `${point} @ ${from}${to > from ? ` to ${to}` : ""}`), cell.getAttribute("aria-label"));
      tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
      tip.style.top = `${box.bottom + tip.offsetHeight + 10 > innerHeight ? box.top - tip.offsetHeight - 8 : box.bottom + 8}px`;
    };
  }

  addEventListener("hashchange", () => { if (location.hash.startsWith("#?")) { recall(); update(); } });
  $("filters").hidden = list.hidden = document.querySelector(".pager").hidden = false;
  recall();
  update();
})();
