/* One job: where its scores lie, what a threshold makes of them, and its result card. */

/* The confusion matrix and what follows from it, at any threshold; null where undefined, as in `evaluate`. */
function measure(scores, labels, threshold) {
  let tp = 0, fp = 0, tn = 0, fn = 0;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] > threshold) labels[i] ? tp++ : fp++;
    else labels[i] ? fn++ : tn++;
  }
  const ratio = (part, whole) => (whole ? part / whole : null);
  const recall = ratio(tp, tp + fn), specificity = ratio(tn, tn + fp);
  return {
    tp, fp, tn, fn, recall, specificity,
    balanced_accuracy: known(recall) && known(specificity) ? (recall + specificity) / 2 : null,
    precision: ratio(tp, tp + fp), f1: ratio(2 * tp, 2 * tp + fp + fn), accuracy: ratio(tp + tn, scores.length),
  };
}

const LIVE = { balanced_accuracy: "balanced accuracy", precision: "precision", recall: "recall", specificity: "specificity", f1: "F1", accuracy: "accuracy" };
const STEPS = 1000;

/* The best job of the leader; of a floor only if no other job has scores to show. */
function bestJob() {
  const found = jobs().filter((job) => job.status === "ok"), order = ranked(rows()).map((row) => row.method);
  const key = (job) => [job.test ? 0 : 1, job.kind === "floor" ? 1 : 0, order.indexOf(job.method) + 1 || Infinity, -(job.metrics[DATA.ranking] ?? -1)];
  const before = (a, b) => key(a).map((part, i) => part - key(b)[i]).find((difference) => difference) ?? 0;
  return [...found].sort(before)[0] ?? null;
}

function chooseJob(job) {
  Object.assign(state, { job, threshold: job?.threshold ?? null, verdict: "", defect: "", order: "", tiles: 0 });
}

const jobName = (job) => [job.method, job.category, job.fold && `fold ${job.fold}`, jobs().some((other) => other.seed !== job.seed) && `seed ${job.seed}`].filter(Boolean).join(" · ");

function drawJob() {
  $("job-name").textContent = state.job ? short(jobName(state.job), 120) : "";
  const found = jobs().filter((job) => job.status === "ok");
  const job = state.job;
  const list = found.includes(job) || !job ? found : [job, ...found];
  const box = el("select", { id: "job-choice", onchange: () => { chooseJob(list[box.selectedIndex]); drawJob(); $("job-choice").focus(); } },
    list.map((one) => el("option", { selected: one === job, title: jobName(one) }, short(jobName(one), 80))));
  $("job-tools").replaceChildren(...(list.length ? [el("label", { class: "stacked" }, "job", box)] : []));
  if (!job) {
    $("job-body").replaceChildren(el("p", { class: "muted" }, "No finished job here."));
    drawGallery();
    return;
  }
  $("job-body").replaceChildren(
    ...job.notes.map((note) => el("p", { class: "notice" }, note)),
    job.test ? panels(job) : el("p", { class: "notice" }, "The raw scores of this job cannot be read; the result card below is all there is."),
    card(job));
  if (job.test) moveThreshold(state.threshold ?? range(job)[1]);
  else drawGallery();
}

function range(job) {
  const all = [...job.test.score, ...job.calibration.score, job.threshold].filter(known);
  if (!all.length) return [0, 1];
  const low = Math.min(...all), high = Math.max(...all), pad = (high - low) * 0.02 || Math.abs(high) * 0.01 || 1;
  return [low - pad, high + pad];
}

function panels(job) {
  const [low, high] = range(job);
  const slider = el("input", {
    type: "range", id: "threshold", min: 0, max: STEPS, step: 1, "aria-label": "threshold",
    oninput: () => setThreshold(low + ((high - low) * Number(slider.value)) / STEPS), onchange: drawGallery,
  });
  const exact = el("input", { type: "number", id: "threshold-exact", step: "any", onchange: () => { if (exact.value !== "" && Number.isFinite(Number(exact.value))) moveThreshold(Number(exact.value)); } });
  const jump = (name, value) => (known(value) ? el("button", { type: "button", "data-jump": name, onclick: () => moveThreshold(value) }, `${name} ${brief(value)}`) : null);
  return el("div", { class: "panels" },
    el("div", { class: "panel" }, el("h3", {}, "Scores and threshold"), el("div", { id: "histogram" }), slider,
      el("div", { class: "marks" }, el("label", { class: "stacked" }, "threshold", exact), jump("calibrated", job.threshold), jump("oracle", job.metrics.oracle_threshold)),
      el("p", { class: "muted small" }, `${known(job.threshold) ? "" : "No threshold was recorded. "}Rule: ${job.rule ?? "unknown"}, fitted on ${job.calibration.score.length} calibration images. The oracle is picked on the test images: a bound, not a result.`),
      el("dl", { class: "scores", id: "live" })),
    el("div", { class: "panel" }, el("h3", {}, "ROC curve, test images"), el("div", { id: "roc" })),
    el("div", { class: "panel" }, el("h3", {}, "Accuracy by defect type"), el("div", { class: "scroll" }, el("table", { id: "by-defect" }))),
    el("div", { class: "panel" }, el("h3", {}, "Confusion matrix, test images"), el("table", { class: "confusion", id: "confusion" })),
    ...(job.use ? [el("div", { class: "panel whole" }, el("h3", {}, "Put it to work"), el("pre", { id: "use" }, job.use))] : []),
    el("div", { class: "panel whole" }, el("h3", {}, "Reproduce"), el("pre", { id: "command" }, job.command),
      el("p", { class: "muted small" }, "All settings in full, so that later defaults change nothing; of a protocol with folds, all folds run.")));
}

/* Everything that depends on the threshold; the images only once the slider rests. */
function moveThreshold(threshold) {
  setThreshold(threshold);
  drawGallery();
}

function setThreshold(threshold) {
  const job = state.job, [low, high] = range(job);
  state.threshold = threshold;
  const now = measure(job.test.score, job.test.label, threshold);
  const then = known(job.threshold) ? measure(job.test.score, job.test.label, job.threshold) : {};
  $("threshold").value = Math.round(((threshold - low) / (high - low)) * STEPS);
  $("threshold").setAttribute("aria-valuetext", brief(threshold));
  $("threshold-exact").value = String(threshold);
  $("live").replaceChildren(...Object.entries(LIVE).map(([name, label]) => el("div", {}, el("dt", {}, label),
    el("dd", { "data-metric": name, "data-value": now[name] ?? "" }, fixed(now[name]), el("small", {}, `calibrated ${fixed(then[name])}`)))));
  const cell = (name, right) => el("td", { "data-metric": name, "data-value": now[name], class: right ? "right" : "wrong" }, now[name], el("small", {}, name.toUpperCase()));
  $("confusion").replaceChildren(el("tbody", {},
    el("tr", {}, el("th"), el("th", { scope: "col" }, "called normal"), el("th", { scope: "col" }, "called anomalous")),
    el("tr", {}, el("th", { scope: "row" }, "is normal"), cell("tn", true), cell("fp", false)),
    el("tr", {}, el("th", { scope: "row" }, "is anomalous"), cell("fn", false), cell("tp", true))));
  drawHistogram(job, threshold, low, high);
  drawRoc(job, now, then);
  drawByDefect(job, threshold);
}

function drawByDefect(job, threshold) {
  const groups = new Map();
  job.test.image.forEach((image, i) => {
    const entry = groups.get(DATA.images[image].defect) ?? { n: 0, right: 0 };
    entry.n++;
    entry.right += (job.test.score[i] > threshold) === (job.test.label[i] === 1);
    groups.set(DATA.images[image].defect, entry);
  });
  const bar = (share) => {
    const inner = el("i");
    inner.style.width = `${share * 100}%`;
    return el("span", { class: "share", "aria-hidden": "true" }, inner);
  };
  $("by-defect").replaceChildren(
    el("thead", {}, el("tr", {}, ["defect type", "images", "judged right", ""].map((text, i) => el("th", { scope: "col", class: i && i < 3 ? "number" : null }, text)))),
    el("tbody", {}, [...groups].sort().map(([name, { n, right }]) => el("tr", {}, el("th", { scope: "row" }, short(name, 60)),
      el("td", { class: "number" }, n), el("td", { class: "number" }, fixed(right / n)), el("td", { class: "bar-cell" }, bar(right / n))))));
}

function drawHistogram(job, threshold, low, high) {
  const width = Math.max(260, Math.min(680, $("histogram").clientWidth)), part = 112, left = 34, right = width - 8, bins = width < 420 ? 24 : 40;
  const x = linear(low, high, left, right), parts = Object.entries({ test: job.test, calibration: job.calibration }).filter(([, p]) => p.score.length);
  const height = parts.length * part + 46;
  const line = (value, dash, name) => (known(value) && value >= low && value <= high ? svg("line", { class: "strong", "stroke-dasharray": dash, "stroke-width": name === "now" ? 2.5 : 1.5, x1: x(value), x2: x(value), y1: 14, y2: parts.length * part }, svg("title", {}, `${name} ${brief(value)}`)) : null);
  const drawn = parts.map(([name, { score, label }], row) => {
    const counts = Array.from({ length: bins }, () => [0, 0]);
    score.forEach((s, i) => counts[Math.min(bins - 1, Math.floor(((s - low) / (high - low)) * bins))][label[i]]++);
    const most = Math.max(...counts.map(([a, b]) => a + b)), bottom = (row + 1) * part, y = linear(0, most, bottom, bottom - part + 34);
    const rect = (i, from, to, kind) => (to > from ? svg("rect", { class: kind, x: left + ((right - left) * i) / bins + 0.5, width: (right - left) / bins - 1, y: y(to), height: y(from) - y(to) }) : null);
    return [
      counts.map(([normal, anomalous], i) => [rect(i, 0, normal, "normal"), rect(i, normal, normal + anomalous, "anomalous")]),
      svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
      svg("text", { class: "soft", x: left - 5, y: y(most) + 4, "text-anchor": "end" }, most),
    ];
  });
  const names = parts.map(([name, { score }], row) => svg("text", { class: "soft", x: left, y: row * part + 24 }, `${name}, ${plural(score.length, "image")}`));
  const key = (kind, text) => el("span", {}, el("i", { class: `swatch ${kind}` }), text);
  $("histogram").replaceChildren(
    drawing(width, height, `Histogram of test and calibration scores; threshold ${brief(threshold)}`, drawn,
      axisX(x, parts.length * part, left, right, "image score"),
      line(job.threshold, "6 4", "calibrated"), line(job.metrics.oracle_threshold, "2 3", "oracle"), line(threshold, null, "now"), names),
    el("div", { class: "legend" }, key("normal", "normal"), key("anomalous", "anomalous"), el("span", {}, "lines: now ——, calibrated – –, oracle ···")));
}

function drawRoc(job, now, then) {
  const width = Math.max(220, Math.min(440, $("roc").clientWidth)), left = 40, right = width - 12, top = 26, bottom = width - 46;
  const x = linear(0, 1, left, right), y = linear(0, 1, bottom, top), { score, label } = job.test;
  const order = score.map((_, i) => i).sort((a, b) => score[b] - score[a]);
  const positive = label.filter(Boolean).length, negative = label.length - positive;
  let tp = 0, fp = 0, path = `M${x(0)} ${y(0)}`;
  order.forEach((i, k) => {
    label[i] ? tp++ : fp++;
    if (k === order.length - 1 || score[order[k + 1]] !== score[i]) path += `L${x(fp / negative)} ${y(tp / positive)}`;
  });
  const point = (m, kind, r) => (known(m?.recall) && known(m?.specificity) ? mark(kind, x(1 - m.specificity), y(m.recall), r) : null);
  $("roc").replaceChildren(positive && negative ? drawing(width, width, `ROC curve, area ${fixed(job.metrics.auroc)}; at the threshold recall ${fixed(now.recall)}, false positive rate ${fixed(known(now.specificity) ? 1 - now.specificity : null)}`,
    axisX(x, bottom, left, right, "false positive rate"), axisY(y, left, top, right, "recall (true positive rate)"),
    svg("line", { class: "axis", "stroke-dasharray": "3 3", x1: left, y1: bottom, x2: right, y2: top }),
    svg("path", { class: "curve", d: path }), point(then, "published", 8), point(now, "ours", 5),
    svg("text", { x: right - 4, y: bottom - 42, "text-anchor": "end", class: "heavy" }, `area ${fixed(job.metrics.auroc)}`),
    svg("text", { class: "soft", x: right - 4, y: bottom - 26, "text-anchor": "end" }, "● now"),
    svg("text", { class: "soft", x: right - 4, y: bottom - 10, "text-anchor": "end" }, "◇ calibrated")) : el("p", { class: "muted" }, "One class only: no curve."));
}

function card(job) {
  return el("details", { id: "card" }, el("summary", {}, "Result card: settings, versions, data, all numbers"),
    el("div", { class: "card" }, job.card.map(([title, values]) => el("section", {}, el("h3", {}, title),
      el("table", {}, el("tbody", {}, values.map(([name, value, limits]) => el("tr", {}, el("th", { scope: "row" }, name),
        el("td", {}, value, limits ? el("span", { class: "muted" }, ` (${limits})`) : null)))))))));
}

section({ draw: drawJob, ofWidth: true });
