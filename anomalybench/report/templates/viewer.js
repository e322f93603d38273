/* One image large, as up to four methods see it. */

const MOST_PANES = 4;
const look = { place: null, blend: 50, outline: true, boxes: true, methods: null };

/* Inferno, as in the figures: dark to bright in even steps, also for eyes that see fewer colours. */
const INFERNO = ["000004", "0b0724", "210c4a", "3d0965", "57106e", "71196e", "8a226a", "a32c61", "bc3754", "d24644",
  "e45a31", "f1731d", "f98e09", "fcac11", "f9cb35", "f2ea69", "fcffa4"].map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
const PALETTE = Array.from({ length: 256 }, (_, value) => {
  const place = (value / 255) * (INFERNO.length - 1), low = Math.min(INFERNO.length - 2, Math.floor(place));
  return INFERNO[low].map((from, i) => Math.round(from + (INFERNO[low + 1][i] - from) * (place - low)));
});

/* Jobs that test the image under the same protocol, fold and seed: the chosen one, then those with a map, then the best. */
function rivals(place) {
  const job = state.job;
  return DATA.jobs.filter((other) => other.test && other.dataset === job.dataset && other.protocol === job.protocol
    && other.category === job.category && other.fold === job.fold && other.seed === job.seed && other.test.image.includes(place))
    .sort((a, b) => (b === job) - (a === job) || Boolean(b.maps?.[place]) - Boolean(a.maps?.[place]) || (a.kind === "floor") - (b.kind === "floor") || (b.metrics[DATA.ranking] ?? 0) - (a.metrics[DATA.ranking] ?? 0));
}

function openViewer(place) {
  look.place = place;
  drawViewer();
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").querySelector("[data-step='1']").focus();
}

function step(by) {
  const list = gallery(), at = list.findIndex((one) => one.place === look.place);
  look.place = list[(at + by + list.length) % list.length].place;
  drawViewer();
  $("viewer").querySelector(`[data-step='${by}']`)?.focus();
}

function drawViewer() {
  const image = DATA.images[look.place], list = gallery(), all = rivals(look.place);
  look.methods = (look.methods ?? []).filter((name) => all.some((job) => job.method === name));
  if (!look.methods.includes(state.job.method)) look.methods = all.slice(0, innerWidth < 768 ? 2 : MOST_PANES).map((job) => job.method);
  const shown = all.filter((job) => look.methods.includes(job.method));
  const at = list.findIndex((one) => one.place === look.place);
  $("viewer").replaceChildren(
    el("div", { class: "viewer-head" },
      el("h2", { id: "viewer-title" }, image.path, el("div", { class: "muted small" }, `${image.label ? "anomalous" : "normal"} · ${image.defect} · ${at + 1} of ${list.length}`)),
      el("div", {},
        el("button", { type: "button", "data-step": "-1", onclick: () => step(-1), "aria-label": "previous image" }, "← back"),
        el("button", { type: "button", "data-step": "1", onclick: () => step(1), "aria-label": "next image" }, "next →"),
        el("button", { type: "button", onclick: () => $("viewer").close() }, "close"))),
    viewerTools(image, all, shown),
    el("div", { class: "panes" }, shown.map((job) => pane(job, image))),
    el("p", { class: "muted small" }, `Colours run from the ${DATA.range} of each job; nothing is scaled per image. Arrow keys: next and previous image.`));
  blend();
}

function viewerTools(image, all, shown) {
  const check = (name, label) => el("label", {}, el("input", { type: "checkbox", value: name, checked: look[name], onchange: () => { look[name] = !look[name]; drawViewer(); $("viewer").querySelector(`input[value=${name}]`).focus(); } }), ` ${label}`);
  const slider = el("input", { type: "range", id: "blend", min: 0, max: 100, value: look.blend, oninput: () => { look.blend = Number(slider.value); blend(); } });
  const methods = all.map((job) => el("label", {}, el("input", {
    type: "checkbox", value: job.method, checked: shown.includes(job),
    disabled: (job === state.job || (!shown.includes(job) && shown.length >= MOST_PANES)),
    onchange: (event) => {
      look.methods = event.target.checked ? [...look.methods, job.method] : look.methods.filter((name) => name !== job.method);
      drawViewer();
      [...$("viewer").querySelectorAll("fieldset input")].find((input) => input.value === job.method)?.focus();
    },
  }), ` ${short(job.method, 40)}`));
  return el("div", { class: "viewer-tools" },
    el("label", { class: "blend" }, "image", slider, "heat"),
    image.outline ? check("outline", "true defect (blue line)") : null, check("boxes", "found boxes (white frame)"),
    el("fieldset", {}, el("legend", {}, `methods, up to ${MOST_PANES}`), methods));
}

function pane(job, image) {
  const i = job.test.image.indexOf(look.place), score = job.test.score[i];
  const threshold = job === state.job ? state.threshold : job.threshold, verdict = verdictOf(job.test.label[i], score, threshold);
  const map = job.maps?.[look.place], boxes = job.boxes?.[look.place] ?? [];
  const [width, height] = image.size ?? [1, 1], picture = image.large ?? image.thumb;
  const stage = el("div", { class: "stage" },
    picture ? el("img", { src: `data:image/webp;base64,${picture}`, alt: `${image.defect} image`, width, height }) : null,
    map ? heat(map, job.method) : null,
    image.outline && look.outline ? el("img", { src: `data:image/webp;base64,${image.outline}`, alt: "outline of the true defect", width, height }) : null,
    look.boxes && boxes.length ? svg("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", role: "img", "aria-label": `${boxes.length} found` },
      boxes.flatMap(([left, top, right, bottom]) => ["halo", ""].map((name) => svg("rect", { class: name, x: left, y: top, width: right - left, height: bottom - top })))) : null);
  stage.style.aspectRatio = `${width} / ${height}`;
  const lacking = image.missing ? image.missing : !image.large ? "No large view was stored; “--max-images” takes more in." : !map ? "This method has no heat map." : null;
  return el("figure", { class: "pane", "data-method": job.method }, stage,
    el("figcaption", {}, el("b", {}, short(job.method, 60)), el("div", {}, `score ${brief(score, 4)}, ${known(threshold) ? `threshold ${brief(threshold, 4)}` : "no threshold"}`),
      !known(threshold) ? null : el("span", { class: `verdict ${isWrong(verdict) ? "wrong" : "right"}` }, isWrong(verdict) ? "✗ " : "✓ ", VERDICTS[verdict].slice(0, -1)),
      map ? el("div", { class: "muted small" }, `colours from ${brief(job.colours[0])} to ${brief(job.colours[1])}; ${plural(map.beyond, "pixel")} of ${map.n} beyond`) : null,
      lacking ? el("div", { class: "muted" }, lacking) : null));
}

function heat(map, method) {
  const [width, height] = map.size, bytes = atob(map.bytes);
  const canvas = el("canvas", { width, height, role: "img", "aria-label": `heat map of ${method}` });
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let i = 0; i < bytes.length; i++) pixels.data.set([...PALETTE[bytes.charCodeAt(i)], 255], 4 * i);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function blend() {
  for (const canvas of $("viewer").querySelectorAll("canvas")) canvas.style.opacity = look.blend / 100;
}

$("viewer").addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.target.type === "range") return;
  event.preventDefault();
  step(by);
});
$("viewer").addEventListener("click", (event) => { if (event.target === $("viewer")) $("viewer").close(); });
