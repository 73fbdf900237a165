// The page: images come in by file, camera or pen; answers go out as bars.

import { openModel, predict, selfTest } from "./model.js";
import { channelsOf, decode, fitted, pixelsOf } from "./pixels.js";

const MOST_BARS = 5;
// Width of the pen in pixels of the model, and at least a part of the square. Of 100 drawn digits a
// model of 8 x 8 pixels named 98 with 1.25 pixels, 90 with 1.75, 41 with 2.25.
const PEN = { pixels: 1.25, part: 1 / 12 };
const part = (id) => document.getElementById(id);
const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
let model;

/** Run an action of the user's; say in one line what is wrong with it. */
async function tell(action) {
  part("trouble").hidden = true;
  try {
    await action();
  } catch (error) {
    part("trouble").textContent = error.message;
    part("trouble").hidden = false;
  }
}

async function start() {
  model = await openModel("model.onnx");
  const { classes, input, bytes } = model;
  const kind = input.channels === 1 ? "grey" : "colour";
  part("facts").textContent =
    `It knows ${classes.length} classes. It sees ${kind} images of ${input.width} × ${input.height} pixels;`
    + ` others are ${input.fit === "pad" ? "scaled and put on black" : "cropped at the centre and scaled"}.`
    + ` Its file has ${Math.round(bytes / 1000).toLocaleString("en")} kB.`;
  part("main").hidden = false;
  if (input.channels === 1) startDrawing();
  const tested = await selfTest(model, "golden");
  part("self-test").textContent = `Self-test: ${tested?.told ?? "there are no golden images beside the model"}.`;
  part("self-test").classList.toggle("wrong", tested?.wrong > 0);
}

/** Classify the pixels of a drawing, a file or a picture and show the answer. */
async function classify(image) {
  const { input } = model;
  const seen = fitted(image, input.width, input.height, input.fit);
  const pixels = channelsOf(seen, input.channels);
  show(pixels, await predict(model, pixels));
}

async function classifyFile(file) {
  const image = await decode(file).catch(() => {
    throw new Error(`${file.name || "This"}: this browser cannot read it as an image; try PNG or JPEG.`);
  });
  await classify(image);
  part("result").scrollIntoView({ block: "nearest" });
}

function show(pixels, ranked) {
  const { input, calibration } = model;
  const [[best, probability]] = ranked;
  const limit = calibration?.unsure_below ?? null;
  const unsure = limit !== null && probability < limit;
  const name = document.createElement("bdi");
  name.textContent = best;
  part("answer").replaceChildren(unsure ? "Perhaps none of the classes; likeliest: " : "", name);
  part("answer").classList.toggle("unsure", unsure);
  part("bars").replaceChildren(...ranked.slice(0, MOST_BARS).map(([one, value]) => bar(one, value, limit)));
  part("trust").textContent = calibration
    ? "The probabilities are calibrated: of answers with 80 %, about 8 in 10 are right on images like those of the data set."
      + (limit === null ? "" : ` If no class has ${percent(limit)} (the mark), the image may show none of them.`)
    : "The probabilities are not calibrated: they may be too high.";
  const canvas = part("seen");
  Object.assign(canvas, { width: input.width, height: input.height });
  const shown = canvas.getContext("2d").createImageData(input.width, input.height);
  for (let at = 0; at < shown.data.length; at++) {
    const [pixel, channel] = [at >> 2, at & 3];
    shown.data[at] = channel === 3 ? 255 : pixels[pixel * input.channels + (input.channels === 1 ? 0 : channel)];
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
  part("result").hidden = false;
}

function bar(name, value, limit) {
  const row = document.createElement("li");
  const [label, track, fill, number] = ["bdi", "span", "i", "b"].map((kind) => document.createElement(kind));
  label.textContent = name;
  number.textContent = percent(value);
  fill.style.width = `${100 * value}%`;
  track.append(fill);
  if (limit !== null) {
    const mark = document.createElement("u");
    mark.style.left = `${100 * limit}%`;
    track.append(mark);
  }
  row.append(label, track, number);
  return row;
}

/** Let the user draw, in the colours of the training images: a light pen if these are dark. */
function startDrawing() {
  const canvas = part("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [paper, pen] = model.mean[0] < 0.5 ? ["black", "white"] : ["white", "black"];
  const wipe = () => {
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
  };
  const lineWidth = canvas.width * Math.max(PEN.part, PEN.pixels / model.input.width);
  Object.assign(context, { strokeStyle: pen, lineWidth, lineCap: "round", lineJoin: "round" });
  let last = null;
  const place = (event) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top].map((one) => (one * canvas.width) / width);
  };
  const line = (event) => {
    const here = place(event);
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...here);
    context.stroke();
    last = here;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    line(event);
  });
  canvas.addEventListener("pointermove", (event) => last && line(event));
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (last) tell(() => classify(pixelsOf(canvas, canvas.width, canvas.height)));
      last = null;
    });
  }
  part("clear").addEventListener("click", () => {
    wipe();
    part("result").hidden = true;
  });
  wipe();
  part("drawing").hidden = false;
}

async function startCamera() {
  const camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch((error) => {
    throw new Error(`The camera cannot be used (${error.message || error.name}).`);
  });
  part("video").srcObject = camera;
  await part("video").play();
  part("live").hidden = false;
  part("drop").hidden = true;
}

function stopCamera() {
  for (const track of part("video").srcObject.getTracks()) track.stop();
  part("video").srcObject = null;
  part("live").hidden = true;
  part("drop").hidden = false;
}

async function takePicture() {
  const { videoWidth, videoHeight } = part("video");
  const image = pixelsOf(part("video"), videoWidth, videoHeight);
  stopCamera();
  await classify(image);
  part("result").scrollIntoView({ block: "nearest" });
}

part("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) tell(() => classifyFile(file)).then(() => (target.value = ""));
});
part("camera").addEventListener("click", () => tell(startCamera));
part("take").addEventListener("click", () => tell(takePicture));
part("stop").addEventListener("click", stopCamera);
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file && model) tell(() => classifyFile(file));
});
tell(start);
