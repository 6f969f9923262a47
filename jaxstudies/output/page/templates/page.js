// What follows the reader: verdicts at other levels, margins, numbers of seeds and by other readings; rows shown, and their order.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const form = document.querySelector("form.controls");
const body = document.querySelector("table.claims tbody");
const rows = [...body.rows];
const WIDTH = 240;
const shown = (number) => {
  if (number === null || Number.isNaN(number)) return "–";
  if (!Number.isFinite(number)) return number < 0 ? "−inf" : "inf";
  return String(Number(number.toPrecision(4))).replace("-", "−");
};
data.studies.forEach((study) => { if (study.packed !== undefined) study.ends = unpacked(study.packed); });

/** Return what the controls say: null is each claim's own level, and all seeds. */
function setting() {
  const [level, seeds] = [Number($("level").value), Number($("seeds").value)];
  return { level: data.levels[level - 1] ?? null, seeds: data.seeds[seeds] ?? null,
    margin: data.margins[Number($("margin").value)], unit: $("unit").value, reading: $("reading")?.value ?? "" };
}

/** Say beside each slider where it stands. */
function say({ level, seeds, margin }) {
  const words = { level: level === null ? "each claim’s own" : `${shown(100 * level)} %`,
    seeds: seeds === null ? "all" : `the first ${seeds.toLocaleString("en")}`, margin: shown(margin) };
  for (const [id, text] of Object.entries(words)) {
    document.querySelector(`output[for="${id}"]`).value = text;
    $(id).setAttribute("aria-valuetext", text);
  }
}

/** Judge every claim by a setting; null where a study cannot be judged here. */
function judgedBy({ unit, margin, ...others }) {
  const settingOf = (claim) => ({ ...others, margin: !unit || claim.unit === unit ? margin : 0 });
  return data.studies.map((study) => (study.ends ? judgedAll(study, settingOf) : null));
}

/** Move the marks of a drawing. */
function redraw(strip, { low, high, effect, region }) {
  const [from, to] = strip.dataset.domain.split(" ").map(Number);
  const place = (number) => WIDTH * Math.min(Math.max((number - from) / (to - from), 0), 1);
  const set = (name, values) => Object.entries(values).forEach(([key, value]) =>
    strip.querySelector(name)?.setAttribute(key, value));
  const width = Math.max(place(region[1]) - place(region[0]), 0.8);
  set(".region", { x: place(region[0]), width: region[0] > region[1] ? 0 : width });
  if (!Number.isNaN(low)) set(".interval", { x1: place(low), x2: place(high) });
  if (effect !== null) set(".effect", { cx: place(effect) });
  strip.setAttribute("aria-label", `effect ${shown(effect)}, interval ${shown(low)} to ${shown(high)}`);
}

/** Write a verdict into the row of its claim. */
function write(row, found) {
  const was = row.dataset.first;
  row.dataset.verdict = found.kind;
  row.classList.toggle("changed", found.kind !== was);
  row.querySelector(".verdict strong").textContent = found.kind;
  const family = found.family && found.family !== found.kind ? `as one of a family: ${found.family}` : "";
  const read = found.isRead ? `by the rule ${$("reading").selectedOptions[0].textContent}` : "";
  row.querySelector(".family").textContent = [found.kind !== was ? `was ${was}` : "", family, read].filter(Boolean).join("; ");
  row.querySelector(".numbers").textContent = `${shown(found.effect)} [${shown(found.low)}, ${shown(found.high)}]`;
  row.querySelector(".n").textContent = found.n.toLocaleString("en");
  const strip = row.querySelector(".strip");
  if (strip) redraw(strip, found);
}

/** Judge anew, and write what has changed. */
function judge() {
  const now = setting();
  say(now);
  const isFirst = now.level === null && now.seeds === null && now.margin === 0 && !now.reading;
  const found = judgedBy(now);
  for (const row of rows) {
    const one = found[row.dataset.study]?.[row.dataset.claim];
    row.dataset.follows = Boolean(one?.asked);
    row.dataset.read = Boolean(one?.isRead);
    if (!one) continue;
    if (isFirst) restore(row);
    else write(row, one);
    const item = document.querySelector(`.verdicts a[href="#${CSS.escape(row.id)}"]`)?.parentElement;
    if (item) {
      item.dataset.verdict = row.dataset.verdict;
      item.querySelector("strong").textContent = row.dataset.verdict;
    }
  }
  show();
}

/** Show the row as it was judged. */
function restore(row) {
  const first = originals.get(row);
  row.dataset.verdict = row.dataset.first;
  row.classList.remove("changed");
  for (const [name, nodes] of Object.entries(first)) row.querySelector(name).replaceChildren(...nodes.map((n) => n.cloneNode(true)));
}

/** Show the rows that are asked for, and say how many they are. */
function show() {
  const text = $("text").value.trim().toLowerCase();
  const asked = { study: $("study").value, source: $("source").value, verdict: $("verdict").value };
  for (const row of rows) {
    const fits = Object.entries(asked).every(([name, value]) => !value || row.dataset[name] === value);
    row.hidden = !(fits && row.textContent.toLowerCase().includes(text));
  }
  const seen = rows.filter((row) => !row.hidden);
  const changed = rows.filter((row) => row.dataset.verdict !== row.dataset.first).length;
  const stay = rows.filter((row) => row.dataset.follows === "false").length;
  const read = rows.filter((row) => row.dataset.read === "true").length;
  form.querySelector(".state").textContent = [`${seen.length} of ${rows.length} claims shown`,
    `${changed} of ${rows.length} verdicts changed`, ...(stay ? [`${stay} do not follow this level`] : []),
    ...(read ? [`${read} are read by this rule, the others as they were`] : [])].join("; ");
  for (const count of document.querySelectorAll(".count")) {
    count.querySelector("b").textContent = rows.filter((row) => row.dataset.verdict === count.dataset.verdict).length;
  }
}

/** Sort by a column; once more, the other way round. Rows without a number are the last either way. */
function sort(head) {
  const column = head.cellIndex, falls = head.getAttribute("aria-sort") === "ascending";
  const key = (row) => row.cells[column].textContent.trim().replace("−", "-");
  const number = (row) => {
    const value = parseFloat(key(row).replaceAll(",", ""));
    return Number.isNaN(value) ? (falls ? -Infinity : Infinity) : value;
  };
  const isNumber = column >= 4;
  const compare = (a, b) => (isNumber
    ? number(a) - number(b) || 0
    : key(a).localeCompare(key(b), "en", { numeric: true }));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  body.append(...[...rows].sort((a, b) => (falls ? -compare(a, b) : compare(a, b))));
}

/** Open the claim that an address names, and show it whatever is filtered. */
function follow() {
  const row = $(decodeURIComponent(location.hash.slice(1)));
  if (!row || !rows.includes(row)) return;
  row.hidden = false;
  row.querySelector("details").open = true;
  row.scrollIntoView({ block: "center" });
}

/** Show the runs of a cell beside the commands that replay them. */
function closer(cells, mark) {
  const cell = cells?.querySelector(`.cell[data-mark="${mark}"]`);
  if (!cell) return;
  const made = (name, text, ...inside) => {
    const element = document.createElement(name);
    element.append(text, ...inside);
    return element;
  };
  const said = (part) => part.querySelector("title").textContent;
  const runs = [...cell.querySelectorAll("path")].map((path) => made("li", `${said(path)} `, made("code", path.dataset.replay)));
  const panel = cells.querySelector(".closer");
  panel.replaceChildren(made("p", said(cell)), cell.cloneNode(true), made("ul", "", ...runs));
  panel.hidden = false;
}

/** Let the marks of a chart answer the pointer and, once it has the focus, the arrow keys. */
function answer(chart) {
  const [svg, readout] = [chart.querySelector("svg"), chart.querySelector(".readout")];
  const marks = [...svg.querySelectorAll(".mark")];
  let at = -1;
  const pick = (place) => {
    marks[at]?.classList.remove("here");
    at = Math.min(Math.max(place, 0), marks.length - 1);
    marks[at].classList.add("here");
    readout.textContent = marks[at].querySelector("title").textContent;
  };
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", ({ target }) => {
    const place = marks.indexOf(target.closest(".mark"));
    if (place >= 0) pick(place);
  });
  svg.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    pick(at + steps[event.key]);
  });
  const look = () => { if (at >= 0) closer(chart.nextElementSibling, at); };
  svg.addEventListener("click", look);
  svg.addEventListener("keydown", ({ key }) => { if (key === "Enter") look(); });
  chart.querySelectorAll(".script").forEach((part) => { part.hidden = false; });
}

const KEPT = [".verdict", ".numbers", ".n"];
const originals = new Map(rows.map((row) => {
  row.dataset.first = row.dataset.verdict;
  const kept = row.querySelector(".strip") ? [...KEPT, ".strip"] : KEPT;
  return [row, Object.fromEntries(kept.map((name) => [name, [...row.querySelector(name).childNodes].map((n) => n.cloneNode(true))]))];
}));
for (const head of document.querySelectorAll("table.claims thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}
for (const id of ["level", "seeds", "margin", "unit", "reading"]) $(id)?.addEventListener("input", judge);
for (const id of ["study", "source", "verdict", "text"]) $(id).addEventListener("input", show);
form.addEventListener("reset", () => setTimeout(judge));
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", follow);
document.querySelectorAll(".chart").forEach(answer);
form.hidden = false;
judge();
follow();
