/* What all parts of the page use: data, state, elements made of text only, numbers in words. */

const DATA = JSON.parse(document.getElementById("data").textContent);

const state = {
  dataset: "", protocol: "", category: "", supervision: "", metric: DATA.ranking,
  sort: { key: "metric", descending: true }, moreColumns: false, cost: "predict_ms_per_image",
  job: null, threshold: null, verdict: "", defect: "", order: "", tiles: 0,
};

/* Sections as their scripts name them: `draw` after every change of a filter, `start` once; `ofWidth`: also when the
   window's width changes. */
const SECTIONS = [];
const section = (functions) => SECTIONS.push(functions);

const $ = (id) => document.getElementById(id);

/* An element; children that are text become text nodes, so nothing in the data is ever read as markup. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child != null).map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

/* A drawing with a text alternative. */
function drawing(width, height, label, ...children) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...children);
}

function select(label, options, chosen, onchange) {
  const box = el("select", { onchange: () => onchange(box.value) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen, title: text }, short(text, 70))));
  return el("label", { class: "stacked" }, label, box);
}

const known = (value) => value !== null && value !== undefined;

/* As Python rounds, so that page and tables agree: an exact half goes to the even digit. */
function fixed(value, digits = 3) {
  if (!known(value)) return "–";
  const half = (Math.abs(value) * 2 ** (digits + 1)) % 2 === 1, unit = 10 ** digits;
  return (half ? (2 * Math.round((value * unit) / 2)) / unit : value).toFixed(digits);
}

const short = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const unique = (values) => [...new Set(values)];
const metricLabel = (name) => DATA.metrics.find((metric) => metric.name === name).label;
const plural = (n, noun) => `${n} ${n === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;

/* At most so many digits that count: 0.0123, 1.23, 12.3, 1230. */
function brief(value, digits = 3) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 10 ** digits) return String(Math.round(value));
  return size >= 1e-3 ? String(Number(value.toPrecision(digits))) : value.toExponential(1);
}

const COSTS = {
  predict_ms_per_image: { label: "time per image", unit: "ms", text: (v) => `${brief(v)} ms` },
  latency_p50_ms: { label: "latency of one image, median", unit: "ms", text: (v) => `${brief(v)} ms` },
  latency_p95_ms: { label: "latency of one image, 95 %", unit: "ms", text: (v) => `${brief(v)} ms` },
  fit_s: { label: "time to fit", unit: "s", text: (v) => (v < 100 ? `${brief(v)} s` : `${brief(v / 60)} min`) },
  peak_memory_mb: { label: "peak memory", unit: "MB", text: (v) => (v < 1000 ? `${brief(v)} MB` : `${brief(v / 1000)} GB`) },
  params_m: { label: "fitted values", unit: "millions", text: (v) => `${brief(v)} M` },
};
const costText = (name, value) => (known(value) ? COSTS[name].text(value) : "–");

const KINDS = {
  ours: { badge: null, text: "method of this project" },
  floor: { badge: "floor", text: "floor: a trivial method; what is worth its cost must beat it" },
  external: { badge: "external", text: "external: another tool's scores, measured here" },
};
const kindBadge = (kind) => (KINDS[kind].badge ? el("span", { class: `badge ${kind}`, title: KINDS[kind].text }, KINDS[kind].badge) : null);

/* Rows of the leaderboard under the filters. */
function rows(category = state.category, supervision = state.supervision) {
  return DATA.rows.filter((row) => row.dataset === state.dataset && row.protocol === state.protocol
    && row.category === category && (!supervision || row.supervision === supervision));
}

/* Jobs on the chosen ground. */
function jobs() {
  return DATA.jobs.filter((job) => job.dataset === state.dataset && job.protocol === state.protocol
    && (!state.category || job.category === state.category) && (!state.supervision || job.supervision === state.supervision));
}
