// The linked explorer: the charts of the search and the table of all trials share a filter and the trial pointed at.
"use strict";

const TRIALS = DATA.trials, SCORED = TRIALS.filter((trial) => trial.here !== null);
const SCORES = range(SCORED.map((trial) => trial.here), 0);
const shareOf = (trial) => Math.max(0, Math.min(1, (trial.here - SCORES[0]) / (SCORES[1] - SCORES[0] || 1)));
const shade = (trial) => (trial.number === DATA.best ? colour("orange") : mixed(colour("low"), colour("high"), shareOf(trial)));
const LONGEST = TRIALS.reduce((most, trial) => Math.max(most, trial.rung), 0);
const ROWS = 100;

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? (Math.abs(value) >= 1e5 ? value.toLocaleString("en") : String(value)) : String(+value.toPrecision(3));
}

const COLUMNS = [
  {name: "trial", of: (t) => t.number},
  {name: "state", of: (t) => t.state, text: true},
  {name: "rung", of: (t) => t.rung},
  {name: "score", of: (t) => t.score, show: percent},
  {name: "expected", of: (t) => t.expected, show: percent},
  ...DATA.costs.map((cost, at) => ({name: cost.name, of: (t) => t.costs[at]})),
  ...DATA.axes.map((axis, at) => ({name: axis.key, of: (t) => t.values[at], axis: true})),
  {name: "epochs", of: (t) => t.epochs},
  {name: "seconds", of: (t) => t.seconds},
  {name: "cause", of: (t) => t.cause, text: true},
].filter((column) => column.name !== "cause" || TRIALS.some((trial) => trial.cause));

const Explorer = {
  lit: null,
  kept: new Set(TRIALS.map((trial) => trial.number)),
  brushes: new Map(), // from an axis's place to the ends of what is kept, 0 to 1
  words: "",
  sorted: {column: COLUMNS[3], down: true},
  rows: ROWS,
  pending: false,

  light(trial, event) {
    const tip = byId("tip");
    tip.hidden = !(trial && event);
    if (trial && event) {
      const score = trial.score === null ? "" : ` · ${percent(trial.score)} at ${trial.rung} epochs`;
      tip.textContent = `trial ${trial.number}, ${trial.state}${score}`;
      const changed = DATA.axes.map((axis, at) => [axis.name, trial.values[at]]).filter(([, value]) => value !== null);
      tip.append(make("br"), changed.map(([name, value]) => `${name} ${shown(value)}`).join(", "));
      placeTip(event);
    }
    if (trial === this.lit) return;
    this.lit = trial;
    for (const chart of CHARTS) chart.show(trial);
    for (const row of byId("all").querySelectorAll("tr.lit")) row.classList.remove("lit");
    const row = trial && byId("all").querySelector(`tr[data-trial="${trial.number}"]`);
    if (row) row.classList.add("lit");
  },

  filter() {
    const tests = this.words.split(/[\s,]+/).filter(Boolean).map(testOf);
    const passes = (trial) =>
      [...this.brushes].every(([at, [low, high]]) => {
        const place = at === DATA.axes.length ? (trial.here === null ? null : shareOf(trial)) : trial.places[at];
        return place !== null && place >= low && place <= high;
      }) && tests.every((test) => test(trial));
    this.kept = new Set(TRIALS.filter(passes).map((trial) => trial.number));
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  },

  draw() {
    for (const chart of CHARTS) chart.draw();
    byId("count").textContent = `${this.kept.size} of ${TRIALS.length} trials`;
    byId("reset").hidden = this.kept.size === TRIALS.length && !this.brushes.size && !this.words;
    this.fill();
  },

  list() {
    const {column, down} = this.sorted, sign = down ? -1 : 1;
    const rank = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true}));
    return TRIALS.filter((trial) => this.kept.has(trial.number)).sort((a, b) => {
      const [one, other] = [column.of(a), column.of(b)], [no, nor] = [one, other].map((v) => v === null || v === "");
      return no || nor ? no - nor || a.number - b.number : sign * rank(one, other) || a.number - b.number;
    });
  },

  fill() {
    const listed = this.list(), body = make("tbody");
    for (const trial of listed.slice(0, this.rows)) {
      const row = body.appendChild(make("tr", null, [trial === this.lit && "lit", trial.number === DATA.best && "best"].filter(Boolean).join(" ")));
      row.dataset.trial = trial.number;
      row.tabIndex = 0;
      for (const column of COLUMNS) {
        const cell = make("td", (column.show || shown)(column.of(trial)), column.text ? column.name : "n");
        if (column.name === "cause") cell.title = trial.cause;
        row.append(cell);
      }
    }
    byId("all").tBodies[0].replaceWith(body);
    byId("more").hidden = listed.length <= this.rows;
    byId("more").textContent = `Show all ${listed.length} rows`;
  },

  head() {
    const row = make("tr");
    for (const column of COLUMNS) {
      const cell = row.appendChild(make("th", null, column.text ? "" : "n")), here = this.sorted.column === column;
      const button = cell.appendChild(make("button", column.name + (here ? (this.sorted.down ? " ↓" : " ↑") : "")));
      cell.scope = "col";
      button.type = "button";
      if (here) cell.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending");
      button.addEventListener("click", () => {
        this.sorted = {column, down: here ? !this.sorted.down : ["score", "expected"].includes(column.name)};
        this.head();
        this.fill();
        byId("all").tHead.querySelectorAll("button")[COLUMNS.indexOf(column)].focus();
      });
    }
    byId("all").tHead.replaceChildren(row);
  },

  // The details of a trial, below the table.
  open(trial) {
    const box = byId("details"), score = trial.score === null ? "" : `, ${percent(trial.score)} at ${trial.rung} epochs`;
    box.replaceChildren(make("h3", `Trial ${trial.number}: ${trial.state}${score}${trial.default ? "; the default" : ""}`));
    if (trial.cause) box.append(make("p", trial.cause));
    const values = DATA.axes.map((axis, at) => [axis.name, trial.values[at]]).filter(([, value]) => value !== null);
    const list = box.appendChild(make("dl"));
    for (const [name, value] of values) {
      const row = list.appendChild(make("div"));
      row.append(make("dt", name), make("dd", shown(value)));
    }
    const set = (pairs) => pairs.map(([name, value]) => `--set ${quoted(`${name}=${asYaml(value)}`)}`).join(" ");
    const all = [...Object.entries(DATA.fixed).filter(([name]) => !values.some(([other]) => other === name)), ...values];
    const yaml = all.map(([name, value]) => `${name}: ${asYaml(value)}\n`).join("");
    const buttons = box.appendChild(make("p", null, "buttons"));
    const train = DATA.train ? [["Copy the command that trains it", `${DATA.train} ${set(values)}`]] : [];
    for (const [label, text] of [["Copy as YAML", yaml], ["Copy as --set", set(values)], ...train]) {
      const button = buttons.appendChild(make("button", label, "copy"));
      button.type = "button";
      button.dataset.copy = text;
    }
    box.scrollIntoView({block: "nearest"});
  },
};

// "margin=0.3", "score>0.4", or words that stand anywhere in the row.
function testOf(word) {
  const [, name, sign, wanted] = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(word) || [];
  const column = COLUMNS.find((other) => other.name === name);
  if (!column) return (trial) => COLUMNS.some((other) => shown(other.of(trial)).toLowerCase().includes(word.toLowerCase()));
  return (trial) => {
    const value = column.of(trial), limit = Number(wanted);
    if (value === null) return false;
    if (sign === "=") return shown(value) === wanted || (typeof value === "number" && value === limit);
    return sign[0] === "<" ? value < limit || (sign === "<=" && value === limit) : value > limit || (sign === ">=" && value === limit);
  };
}

// A plain value as YAML has it on one line; page_verdict.py writes it in the same way.
function asYaml(value) {
  const words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
  if (typeof value === "string" && /^[A-Za-z_][\w./-]*$/.test(value) && !words.includes(value.toLowerCase())) return value;
  const text = JSON.stringify(value);
  return typeof value === "number" && text.includes("e") && !text.includes(".") ? text.replace("e", ".0e") : text;
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

function csv() {
  const cell = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const raw = (value) => (value === null || value === undefined ? "" : String(value));
  const lines = [COLUMNS.map((column) => column.name), ...Explorer.list().map((trial) => COLUMNS.map((column) => raw(column.of(trial))))];
  return lines.map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}

function placeTip(event) {
  const tip = byId("tip"), right = event.clientX + tip.offsetWidth + 24 > innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX - tip.offsetWidth - 14 : event.clientX + 14)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 6))}px`;
}

function startExplorer() {
  progressChart();
  curvesChart();
  if (SCORED.length && DATA.axes.length) [parallelChart, slicesChart].forEach((make) => make());
  else for (const id of ["parallel", "slices"]) byId(id).closest("figure").hidden = true;
  importanceRows();
  frontChart();
  const table = byId("all"), trialOf = (event) => TRIALS.find((t) => String(t.number) === event.target.closest("tbody tr")?.dataset.trial);
  for (const name of ["pointerover", "focusin"]) table.addEventListener(name, (event) => Explorer.light(trialOf(event) || null));
  table.addEventListener("pointerleave", () => Explorer.light(null));
  table.addEventListener("click", (event) => trialOf(event) && Explorer.open(trialOf(event)));
  table.addEventListener("keydown", (event) => event.key === "Enter" && trialOf(event) && Explorer.open(trialOf(event)));
  byId("find").addEventListener("input", (event) => {
    Explorer.words = event.target.value;
    Explorer.filter();
  });
  byId("reset").addEventListener("click", () => {
    Explorer.brushes.clear();
    Explorer.words = byId("find").value = "";
    Explorer.filter();
  });
  byId("more").addEventListener("click", () => {
    Explorer.rows = Infinity;
    Explorer.fill();
  });
  byId("csv").addEventListener("click", () => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv"}));
    link.download = "trials.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  Explorer.head();
  Explorer.draw();
  const again = () => requestAnimationFrame(() => CHARTS.forEach((chart) => chart.draw()));
  window.addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

if (TRIALS.length) startExplorer();
