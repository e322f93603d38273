/* Test images of the job as tiles, judged by the threshold that is set. */

const VERDICTS = { "": "all", fp: "false positives", fn: "false negatives", tp: "true positives", tn: "true negatives" };
const ORDERS = { doubtful: "worst mistakes first", high: "highest score first", low: "lowest score first", near: "nearest to the threshold" };
const AT_ONCE = innerWidth < 768 ? 24 : 48;

function verdictOf(label, score, threshold) {
  return score > threshold ? (label ? "tp" : "fp") : label ? "fn" : "tn";
}

const isWrong = (verdict) => verdict === "fp" || verdict === "fn";

/* Every test image of the job: image, score, verdict. */
function judged(job = state.job, threshold = state.threshold) {
  if (!job?.test) return [];
  return job.test.image.map((place, i) => ({
    place, image: DATA.images[place], score: job.test.score[i], verdict: verdictOf(job.test.label[i], job.test.score[i], threshold),
  }));
}

/* What the filters leave, in order. */
function gallery() {
  const far = (one) => Math.abs(one.score - state.threshold);
  const orders = {
    doubtful: (a, b) => isWrong(b.verdict) - isWrong(a.verdict) || far(b) - far(a),
    high: (a, b) => b.score - a.score, low: (a, b) => a.score - b.score, near: (a, b) => far(a) - far(b),
  };
  return judged().filter((one) => (!state.verdict || one.verdict === state.verdict) && (!state.defect || one.image.defect === state.defect))
    .sort((a, b) => orders[state.order](a, b) || (a.image.path < b.image.path ? -1 : 1));
}

/* Without a defective image there are no mistakes to begin with, but there are unusual images. */
const onlyGood = (job) => !job.test.label.some(Boolean);

function drawGallery() {
  $("gallery").hidden = !state.job?.test;
  if (!state.job?.test) return;
  state.order ||= onlyGood(state.job) ? "high" : "doubtful";
  const all = judged(), found = gallery();
  const focused = document.activeElement?.dataset?.verdict;
  const choose = (name) => (value) => { state[name] = value; state.tiles = 0; drawGallery(); $("gallery-tools").querySelector(`[data-name=${name}] select`).focus(); };
  const defects = unique(all.map((one) => one.image.defect)).sort();
  const boxes = [
    select("defect type", [["", "any"], ...defects.map((name) => [name, name])], state.defect, choose("defect")),
    select("order", Object.entries(ORDERS), state.order, choose("order"))];
  boxes.forEach((box, i) => { box.dataset.name = ["defect", "order"][i]; });
  $("gallery-tools").replaceChildren(...Object.entries(VERDICTS).map(([name, text]) => el("button", {
    type: "button", "aria-pressed": String(state.verdict === name), "data-verdict": name || "all",
    onclick: () => { state.verdict = name; state.tiles = 0; drawGallery(); },
  }, `${text} ${name ? all.filter((one) => one.verdict === name).length : all.length}`)), ...boxes);
  if (focused) $("gallery-tools").querySelector(`[data-verdict=${focused}]`).focus();
  const shown = Math.max(state.tiles, AT_ONCE), without = found.filter((one) => !one.image.thumb && !one.image.missing).length;
  $("gallery-count").textContent = `${jobName(state.job)}: ${found.length} of ${plural(all.length, "image")}, judged at threshold ${brief(state.threshold)}.`
    + (without ? ` ${without} of them are here by name only; “--max-images” takes more in.` : "");
  $("tiles").replaceChildren(...found.slice(0, shown).map((one) => tile(one)));
  $("more-tiles").hidden = found.length <= shown;
  $("more-tiles").onclick = () => { state.tiles = shown + 2 * AT_ONCE; drawGallery(); $("tiles").children[shown].focus(); };
}

const fileName = (path) => path.split("/").at(-1);

function tile(one) {
  const { image, verdict, score } = one, name = `${image.path}, ${image.defect}, ${VERDICTS[verdict].slice(0, -1)}, score ${brief(score)}`;
  return el("button", { type: "button", class: `tile ${isWrong(verdict) ? "wrong" : "right"}`, "data-verdict-is": verdict, "data-defect": image.defect, title: image.path, "aria-label": name, onclick: () => openViewer(one.place) },
    el("span", { class: "frame" }, image.thumb
      ? el("img", { src: `data:image/webp;base64,${image.thumb}`, alt: "", width: 112, height: 112, decoding: "async" })
      : el("span", {}, image.missing ? "image not found" : "no picture stored")),
    el("span", { class: "about" },
      el("span", { class: `verdict ${isWrong(verdict) ? "wrong" : "right"}` }, isWrong(verdict) ? "✗ " : "✓ ", VERDICTS[verdict].slice(0, -1)), " ", el("b", {}, brief(score)),
      el("span", { class: "name" }, image.defect), el("span", { class: "name" }, fileName(image.path))));
}
