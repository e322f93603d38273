/* Scales, axes and marks. */

const chartWidth = (id) => Math.max(280, Math.min(900, $(id).clientWidth));

function linear(low, high, from, to) {
  const scale = (value) => from + ((value - low) / (high - low || 1)) * (to - from);
  scale.ticks = () => {
    const rough = (high - low) / 5 || 1;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((k) => k >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  };
  return scale;
}

function logarithmic(low, high, from, to) {
  const inner = linear(Math.log10(low), Math.log10(high), from, to);
  const scale = (value) => inner(Math.log10(value));
  const tens = [];
  for (let k = Math.ceil(Math.log10(low)); k <= Math.log10(high); k++) tens.push(10 ** k);
  const fine = tens.length > 1 ? tens : [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7].flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k)).filter((v) => v >= low && v <= high);
  scale.ticks = () => fine;
  return scale;
}

function axisX(scale, y, from, to, label, format = brief) {
  return [
    svg("line", { class: "axis", x1: from, x2: to, y1: y, y2: y }),
    scale.ticks().flatMap((tick) => [
      svg("line", { class: "axis", x1: scale(tick), x2: scale(tick), y1: y, y2: y + 5 }),
      svg("text", { class: "soft", x: scale(tick), y: y + 18, "text-anchor": "middle" }, format(Number(tick.toPrecision(6)))),
    ]),
    svg("text", { class: "soft", x: (from + to) / 2, y: y + 36, "text-anchor": "middle" }, label),
  ];
}

function axisY(scale, x, from, to, label, format = brief) {
  return [
    scale.ticks().flatMap((tick) => [
      svg("line", { class: "axis", x1: x, x2: to, y1: scale(tick), y2: scale(tick) }),
      svg("text", { class: "soft", x: x - 6, y: scale(tick) + 4, "text-anchor": "end" }, format(Number(tick.toPrecision(6)))),
    ]),
    svg("text", { class: "soft", x, y: from - 8, "text-anchor": "start" }, label),
  ];
}

/* Ours a disc, floors a hollow square, external tools a triangle, published numbers a diamond. */
function mark(kind, x, y, r = 5) {
  const attributes = { class: `mark-${kind}`, "stroke-width": 2 };
  if (kind === "ours") return svg("circle", { ...attributes, cx: x, cy: y, r });
  if (kind === "floor") return svg("rect", { ...attributes, x: x - r + 1, y: y - r + 1, width: 2 * r - 2, height: 2 * r - 2 });
  const points = kind === "external"
    ? [[x, y - r], [x + r, y + r - 1], [x - r, y + r - 1]] : [[x, y - r], [x + r, y], [x, y + r], [x - r, y]];
  return svg("polygon", { ...attributes, points: points.map((p) => p.join(",")).join(" ") });
}

/* Value and interval on a scale that all rows share. */
function intervalBar(row, metric, low) {
  const width = 200, height = 26, scale = linear(low, 1, 8, width - 8), middle = height / 2;
  const value = row.values[metric], limits = row.intervals[metric];
  const published = row.published.filter((p) => p.metric === metric);
  const said = `${metricLabel(metric)} ${fixed(value)}${limits && known(limits[0]) ? `, 95 % interval ${fixed(limits[0])} to ${fixed(limits[1])}` : ""}`;
  const clipped = (x) => scale(Math.max(low, x));
  return drawing(width, height, said + published.map((p) => `; published ${fixed(p.value)}`).join(""),
    svg("line", { class: "axis", x1: 8, x2: width - 8, y1: middle, y2: middle }),
    low < 0.5 ? svg("line", { class: "axis", x1: scale(0.5), x2: scale(0.5), y1: 2, y2: height - 2 }) : null,
    limits && known(limits[0]) ? svg("line", { class: `mark-${row.kind}`, "stroke-width": 4, "stroke-opacity": 0.45, x1: clipped(limits[0]), x2: clipped(limits[1]), y1: middle, y2: middle }) : null,
    published.map((p) => fill(mark("published", clipped(p.value), middle, 7), {}, [svg("title", {}, `published ${fixed(p.value)}: ${p.source}`)])),
    known(value) ? mark(row.kind, clipped(value), middle) : null);
}

/* Cheap and good: no other point is at least as good for at most the cost. */
function paretoFront(points) {
  const sorted = [...points].sort((a, b) => a.cost - b.cost || b.value - a.value);
  let best = -Infinity;
  return sorted.filter((point) => point.value > best && ((best = point.value), true));
}

function scatter(points, cost, metric, width) {
  const height = Math.round(Math.min(420, Math.max(280, width * 0.55)));
  const left = 46, right = width - 16, top = 34, bottom = height - 48;
  const costs = points.map((p) => p.cost), values = points.map((p) => p.value);
  const x = logarithmic(Math.min(...costs) / 1.6, Math.max(...costs) * 1.6, left, right);
  const low = Math.min(...values), pad = Math.max(0.02, (Math.max(...values) - low) * 0.08);
  const y = linear(Math.max(0, low - pad), Math.min(1, Math.max(...values) + pad), bottom, top);
  const front = paretoFront(points);
  const path = front.map((p, i) => (i ? `H${x(p.cost)}V${y(p.value)}` : `M${x(p.cost)} ${y(p.value)}`)).join("");
  const taken = points.map((p) => [x(p.cost) - 7, y(p.value) - 7, x(p.cost) + 7, y(p.value) + 7]);
  front.forEach((p, i) => {
    const next = front[i + 1], end = next ? x(next.cost) : right;
    taken.push([x(p.cost), y(p.value) - 1, end, y(p.value) + 1]);
    if (next) taken.push([end - 1, y(next.value), end + 1, y(p.value)]);
  });
  const label = `${metricLabel(metric)} against ${COSTS[cost].label}. Best for their cost: ${front.map((p) => p.row.method).join(", ")}.`;
  return drawing(width, height, label,
    axisX(x, bottom, left, right, `${COSTS[cost].label} in ${COSTS[cost].unit}, log scale`),
    axisY(y, left, top, right, metricLabel(metric)),
    svg("path", { class: "front", d: `${path}H${right}` }),
    points.map((p) => fill(mark(p.row.kind, x(p.cost), y(p.value), 6), {}, [
      svg("title", {}, `${p.row.method}: ${fixed(p.value)}, ${costText(cost, p.cost)}`)])),
    points.map((p) => pointLabel(short(p.row.method, 26), x(p.cost), y(p.value), taken, left, right, bottom, front.includes(p))));
}

/* A name beside its point, where it covers neither points nor other names. */
function pointLabel(text, x, y, taken, left, right, bottom, bold) {
  const width = text.length * (bold ? 7.2 : 6.7), height = 14;
  const shift = { start: 0, middle: -width / 2, end: -width };
  const places = [[x + 10, y + 4, "start"], [x - 10, y + 4, "end"], [x, y - 11, "middle"], [x, y + 21, "middle"],
    [x + 8, y - 9, "start"], [x + 8, y + 18, "start"], [x - 8, y - 9, "end"], [x - 8, y + 18, "end"]];
  const box = ([bx, by, anchor]) => [bx + shift[anchor] - 2, by - height + 3, bx + shift[anchor] + width + 2, by + 3];
  const free = (place) => {
    const b = box(place);
    return b[0] >= left && b[2] <= right + 12 && b[3] < bottom && taken.every((t) => b[2] <= t[0] || b[0] >= t[2] || b[3] <= t[1] || b[1] >= t[3]);
  };
  const place = places.find(free) || places[x > (left + right) / 2 ? 1 : 0];
  taken.push(box(place));
  return svg("text", { class: bold ? "heavy" : null, x: place[0], y: place[1], "text-anchor": place[2] }, text);
}

/* Mean ranks on a line; bars join what cannot be told apart (Demsar 2006). */
function criticalDifference(found, width) {
  const n = found.methods.length, half = Math.ceil(n / 2);
  const name = width < 520 ? 12 : 30, longest = Math.max(...found.methods.map((method) => Math.min(name, method.length)));
  const side = Math.min(width * 0.4, (longest + 5) * 7 + 16);
  const x = linear(1, n, width - side, side), roomy = x(1) - x(2) > 16, line = 34, step = 22, bars = 12 * found.cliques.length;
  const height = line + bars + half * step + 24;
  const spots = found.methods.map((method, i) => {
    const best = i < half, level = line + bars + 8 + ((best ? i : n - 1 - i) + 1) * step, end = best ? width - side + 10 : side - 10;
    return [
      svg("polyline", { class: "strong", points: `${x(found.ranks[i])},${line} ${x(found.ranks[i])},${level} ${end},${level}` }),
      svg("text", { x: end + (best ? 5 : -5), y: level + 4, "text-anchor": best ? "start" : "end" }, `${short(method, name)} ${fixed(found.ranks[i], 2)}`),
    ];
  });
  const rank = Object.fromEntries(found.methods.map((method, i) => [method, found.ranks[i]]));
  return drawing(width, height, `Mean ranks over ${found.n_categories} categories: ${found.methods.map((m, i) => `${m} ${fixed(found.ranks[i], 2)}`).join(", ")}`,
    svg("line", { class: "strong", x1: x(1), x2: x(n), y1: line, y2: line }),
    found.methods.map((_, i) => [
      svg("line", { class: "strong", x1: x(i + 1), x2: x(i + 1), y1: line - 5, y2: line }),
      roomy || i === 0 || i === n - 1 ? svg("text", { class: "soft", x: x(i + 1), y: line - 10, "text-anchor": "middle" }, i + 1) : null]),
    spots,
    found.cliques.map((clique, i) => svg("line", { class: "clique", x1: x(rank[clique[0]]) + 4, x2: x(rank[clique.at(-1)]) - 4, y1: line + 9 + 12 * i, y2: line + 9 + 12 * i })));
}
